"""The asked process's end of the board: reads what has come since it was last asked, and keeps five minutes of it.

Nobody pays who does not ask: the first question after a start reads the whole stream, page by page, and each later one
what is new. However many ask, the board is read at most once in `_FRESH_SECONDS`.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import trio

from flash.board.history import History
from flash.board.messages import KEPT_SECONDS, Card, card_key, decode_card, decode_sample, stream_key
from flash.deployment import Deployment
from flash.errors import OutcomeUnknown
from flash.purchase_rpc.stream_link import StreamLink
from flash.stores.redis_link import Entries, ms_of, streams_of
from flash.telemetry import ThrottledLogger

log = logging.getLogger(__name__)

_FRESH_SECONDS = 0.5
_PAGE_ENTRIES = 500
_BREATH_ENTRIES = 50
"""After so many entries, half a millisecond, whoever else is ready gets a turn."""
_SILENT_MS = 5_000
"""Our own samples come once a second. After such a silence the stream is taken to have begun anew."""
_CARDS_MS = 12_000
_CARDS_MAX = 512


@dataclass(frozen=True, slots=True)
class BoardView:
    """The board at Redis's time `now_ms`. `cards` by the names of the processes, those that are there now."""

    now_ms: float
    history: History
    cards: dict[str, Card]


class BoardReader:
    """Whoever reads shares `link`, which blocks nobody for long."""

    def __init__(self, deployment: Deployment, link: StreamLink) -> None:
        self._deployment = deployment
        self._link = link
        self._key = stream_key(deployment)
        self._turn = trio.Lock()
        self._history = History()
        self._last: bytes | None = None
        self._labels: dict[str, str] = {}
        self._read_at = -math.inf
        self._view = BoardView(0.0, self._history, {})
        self._warn = ThrottledLogger(log)

    async def read(self) -> BoardView:
        """The board as it is, or was half a second ago. Raises `Unavailable` or `OutcomeUnknown`."""
        async with self._turn:
            if trio.current_time() - self._read_at >= _FRESH_SECONDS:
                self._view = await self._read()
                self._read_at = trio.current_time()
        return self._view

    def label(self, name: str) -> str:
        """What a process is called for people, if its card was ever read here."""
        return self._labels.get(name, "a process")

    async def _read(self) -> BoardView:
        now_ms = await self._redis_ms()
        if self._last is None or self._is_behind(now_ms):
            self._history, self._last = History(), b"%d-0" % max(0, now_ms - KEPT_SECONDS * 1e3)
        while entries := await self._read_page(self._last):
            await self._add(entries)
            self._last = entries[-1][0]
            if len(entries) < _PAGE_ENTRIES:
                break
        self._history.forget(now_ms)
        return BoardView(now_ms, self._history, await self._read_cards(now_ms))

    def _is_behind(self, now_ms: float) -> bool:
        """Whether a Redis that has lost its data, or another one, may give lower ids than the last that was read."""
        assert self._last is not None
        return abs(now_ms - int(self._last.partition(b"-")[0])) > _SILENT_MS and bool(self._history.processes)

    async def _redis_ms(self) -> float:
        (answer,) = await self._link.execute(("TIME",))
        return ms_of(answer)

    async def _read_page(self, after: bytes) -> Entries:
        (answer,) = await self._link.execute(("XREAD", "COUNT", _PAGE_ENTRIES, "STREAMS", self._key, after))
        streams = streams_of(answer)
        return streams[0][1] if streams else []

    async def _add(self, entries: Entries) -> None:
        for number, (entry_id, fields) in enumerate(entries):
            try:
                sample = decode_sample(self._deployment, fields)
            except (ValueError, TypeError, KeyError) as error:
                self._warn("dropped an entry of the status board: %s", error)
                continue
            self._history.add(int(entry_id.partition(b"-")[0]), sample)
            if number % _BREATH_ENTRIES == 0:
                await trio.lowlevel.checkpoint()

    async def _read_cards(self, now_ms: float) -> dict[str, Card]:
        """The cards of the processes that were heard lately: who has stopped has none any more."""
        processes = self._history.processes
        names = [name for name in processes if now_ms - processes[name].heard_ms < _CARDS_MS][-_CARDS_MAX:]
        if not names:
            return {}
        (texts,) = await self._link.execute(("MGET", *(card_key(self._deployment, name) for name in names)))
        if type(texts) is not list or len(texts) != len(names):
            raise OutcomeUnknown(f"Redis answered something else than {len(names)} cards")
        cards: dict[str, Card] = {}
        for name, text in zip(names, texts, strict=True):
            if text is not None:
                try:
                    cards[name] = decode_card(self._deployment, name, text)
                except (ValueError, TypeError, KeyError) as error:
                    self._warn("dropped a card of the status board: %s", error)
        self._labels = {name: self._labels[name] for name in self._labels if name in processes}
        self._labels.update((name, card.label) for name, card in cards.items())
        return cards
