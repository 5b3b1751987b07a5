"""Keeps the keys of codes as fresh as the database has them, so that they can be rotated while sales go on."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from flash.codes import CodeKeys, Codes
from flash.domain import Code, LegacyCode
from flash.errors import FlashError

log = logging.getLogger(__name__)

_LOOK_AGAIN_SECONDS = 1.0
"""A code with a key that nobody knows costs at most one look at the database in this time. A key signs nothing before
it is older than that."""


class CodeKeyRing:
    """Opens codes with the keys that `read_keys` found last, `seconds` ago at most unless the database is away."""

    def __init__(self, codes: Codes, read_keys: Callable[[], Awaitable[CodeKeys]], *, seconds: float) -> None:
        self.codes = codes
        self._read_keys = read_keys
        self._seconds = seconds
        self._looked_at = trio.current_time()
        self._turn = trio.Lock()

    async def open(self, text: str) -> Code | LegacyCode | None:
        """The code that `text` spells, or None. Asks the database about a key that is new to this process.

        Raises what `read_keys` raises.
        """
        code = self.codes.open(text)
        if code is None and self.codes.has_unknown_key(text):
            async with self._turn:  # or each of a crowd of forgeries would ask while the first look is under way
                if self.codes.has_unknown_key(text) and self._may_look():
                    await self.refresh()
            code = self.codes.open(text)
        return code

    def _may_look(self) -> bool:
        return trio.current_time() >= self._looked_at + _LOOK_AGAIN_SECONDS

    async def refresh(self) -> None:
        """Raises what `read_keys` raises."""
        began_at = trio.current_time()
        self.codes.set_keys(await self._read_keys())
        self._looked_at = began_at  # not before it worked, or the codes of a new key were invalid meanwhile

    async def run(self) -> None:
        """Refresh until cancelled."""
        while True:
            await trio.sleep(self._seconds)
            try:
                await self.refresh()
            except FlashError as error:
                log.warning("cannot read the keys of codes: %s", error)
