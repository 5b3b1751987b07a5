"""Viewers of one sale: connections that follow `GET /events`, in a process of its own. It knows nothing of flash.

What most of them hear is only looked through for the end of the sale, to leave the CPU to the service. A few, spread
over all, keep everything with the time when it came.
"""

from __future__ import annotations

import gc
import json
import re
import selectors
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.load import Address, connect

KEEPING = 50
"""About so many viewers keep everything."""
CONNECT_SECONDS = 20.0
_READ_BYTES = 65_536
_GREETING, _END = b"event: state", b"event: sold_out"
_SOLD = re.compile(rb"event: item_sold\n(?:id: .*\n)?data: (.*)")

Heard = list[tuple[float, list[int]]]
"""When one viewer was told that items are sold, in seconds since the epoch, and which."""


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """`viewers` connections that follow `sale_id`. `ready` is made once they have heard how the sale stands.

    It ends when all have heard that the sale is sold out, or `seconds` later.
    """

    address: Address
    sale_id: int
    viewers: int
    ready: Path
    seconds: float


@dataclass(slots=True)
class Watched:
    """`finished` viewers heard of the end, `lost` ones did not, `refused` ones were not let in.

    CPU and bytes count from `ready` on; `heard` is of those that keep everything and have heard the end.
    """

    finished: int = 0
    lost: int = 0
    refused: int = 0
    cpu_seconds: float = 0.0
    received_bytes: int = 0
    heard: list[Heard] = field(default_factory=list)


class Viewer:
    """One connection. `text` is what came last, after the last few bytes of what came before."""

    __slots__ = ("keeps", "pieces", "sock", "text")

    def __init__(self, plan: WatchPlan, *, keeps: bool) -> None:
        self.sock = connect(plan.address)
        self.sock.sendall(b"GET /events?sale=%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % plan.sale_id)
        self.sock.setblocking(False)
        self.keeps, self.text = keeps, b""
        self.pieces: list[tuple[float, bytes]] = []

    def receive(self) -> int:
        """How many bytes have come; 0 if the connection has ended."""
        try:
            data = self.sock.recv(_READ_BYTES)
        except OSError:
            data = b""
        if self.keeps:
            self.pieces.append((time.time(), data))
        self.text = self.text[-len(_END) :] + data
        return len(data)


def watch(plan: WatchPlan) -> Watched:
    """Carry out `plan` in this process, which should have nothing else to do."""
    gc.freeze()
    step = max(1, plan.viewers // KEEPING)
    viewers = [Viewer(plan, keeps=number % step == 0) for number in range(plan.viewers)]
    result = Watched()
    with selectors.DefaultSelector() as selector:
        for viewer in viewers:
            selector.register(viewer.sock, selectors.EVENT_READ, viewer)
        _greet(selector, result)
        plan.ready.touch()
        cpu_before = time.process_time()
        _follow(selector, plan.seconds, result)
        result.cpu_seconds = time.process_time() - cpu_before
    for viewer in viewers:
        viewer.sock.close()
    result.heard = [list(_told(viewer.pieces)) for viewer in viewers if viewer.keeps and _END in viewer.text]
    return result


def _greet(selector: selectors.BaseSelector, result: Watched) -> None:
    waiting: set[Viewer] = {key.data for key in selector.get_map().values()}
    for viewer, size in _arrivals(selector, CONNECT_SECONDS):
        is_refused = viewer.text.startswith(b"HTTP/1.1 503 ")
        if is_refused:
            selector.unregister(viewer.sock)
        result.refused += is_refused or not size
        if is_refused or not size or _GREETING in viewer.text:
            waiting.discard(viewer)
        if not waiting:
            return


def _follow(selector: selectors.BaseSelector, seconds: float, result: Watched) -> None:
    for viewer, size in _arrivals(selector, seconds):
        result.received_bytes += size
        if not size:
            result.lost += 1
        elif _END in viewer.text:
            result.finished += 1
            selector.unregister(viewer.sock)
    result.lost += len(selector.get_map())


def _arrivals(selector: selectors.BaseSelector, seconds: float) -> Iterator[tuple[Viewer, int]]:
    """Who has received how much, for `seconds` at most or until nobody is left. Who is at its end leaves."""
    deadline = time.monotonic() + seconds
    while selector.get_map() and (left := deadline - time.monotonic()) > 0:
        for key, _ in selector.select(left):
            viewer: Viewer = key.data
            size = viewer.receive()
            if not size:
                selector.unregister(viewer.sock)
            yield viewer, size


def _told(pieces: list[tuple[float, bytes]]) -> Iterator[tuple[float, list[int]]]:
    data = b""
    for at, piece in pieces:
        *blocks, data = (data + piece).split(b"\n\n")
        for block in blocks:
            if found := _SOLD.search(block):
                yield at, json.loads(found[1])["items"]
