"""The loop of the load generator: many clients on one thread, each waiting for one answer at a time.

Nothing is repeated but what was answered 503 and what a lost connection left unanswered; the wait counts as latency.
"""

from __future__ import annotations

import heapq
import json
import re
import sys
import time
from array import array
from collections import Counter
from collections.abc import Iterator

from benchmarks.scripts import PURCHASE, Script, Wish
from benchmarks.sockets import Poller, connect, content_length, problem_code
from benchmarks.stats import Arrivals

RETRY_SECONDS_MAX = 5.0
LOST_MAX = 1_000
"""Lost connections after which the server is taken for dead."""
_TICK_SECONDS = 0.25
_CONNECTS_AT_ONCE = 32
_CONNECTS_PAUSE_SECONDS = 0.02
_RETRY = re.compile(rb"\r\nretry-after:[ \t]*(\d+)", re.IGNORECASE)


class Client:
    """One buyer on one connection. `started` is when the present request was first meant to be sent."""

    __slots__ = ("address", "buffer", "is_waiting", "kind", "number", "request", "sock", "started")

    def __init__(self, number: int, address: tuple[str, int]) -> None:
        self.number = number
        self.address = address
        self.sock = connect(address)
        self.buffer = b""
        self.kind = 0
        self.request = b""
        self.is_waiting = False  # a request is under way
        self.started = 0.0


class Load:
    """Runs `script` with closed-loop clients, or with `arrivals` as an open loop. Times are of one monotonic clock."""

    def __init__(
        self,
        addresses: list[tuple[str, int]],
        clients: int,
        script: Script,
        *,
        seconds: float | None = None,
        warm_seconds: float = 0.0,
        arrivals: Arrivals | None = None,
        deadline_seconds: float = 600.0,
    ) -> None:
        self._script = script
        self._seconds = seconds
        self._warm_seconds = warm_seconds
        self._arrivals = arrivals
        self._deadline_seconds = deadline_seconds
        self._poller: Poller[Client] = Poller()
        self._clients = list(_connected(addresses, clients))
        self._idle: list[Client] = []
        self._retries: list[tuple[float, int]] = []
        self._active = 0
        self.accepted = (array("d"), array("d"))
        self.refused = (array("d"), array("d"))
        self.sold_at = array("d")
        self.answers: Counter[tuple[int, int, str]] = Counter()
        self.sheds = self.lost = self.requests = self.warm_requests = 0
        self.is_finished = True
        self.seconds = self.cpu_seconds = 0.0

    def run(self) -> None:
        """Until every client is done, `seconds` have passed, or the deadline has (then `is_finished` is false)."""
        self._cpu_before = time.process_time()
        self._begun = self._last_answer = time.perf_counter()
        self._until = self._begun + self._warm_seconds + self._seconds if self._seconds else float("inf")
        self._warm_at = self._begun + self._warm_seconds if self._warm_seconds else float("inf")
        self._tick_at = self._begun + _TICK_SECONDS
        for client in self._clients:
            self._poller.add(client.sock, client)
        for client in self._clients:
            self._next_visit(client, self._begun)
        deadline = self._begun + self._deadline_seconds
        while self._active or (self._arrivals and not self._arrivals.is_over):
            self._turn()
            if time.perf_counter() > deadline or self.lost > LOST_MAX:
                self.is_finished = False
                break
        for client in self._clients:
            client.sock.close()
        self.seconds = self._last_answer - self._begun
        self.cpu_seconds = time.process_time() - self._cpu_before

    def _turn(self) -> None:
        for client in self._poller.wait(self._patience()):
            self._receive(client)
        now = time.perf_counter()
        while self._retries and self._retries[0][0] <= now:
            self._send(self._clients[heapq.heappop(self._retries)[1]])
        if self._arrivals:
            self._arrivals.collect(now - self._begun)
            while self._idle and self._arrivals.late:
                self._visit(self._idle.pop(), self._begun + self._arrivals.late.pop(0))
        if now >= self._warm_at:
            self._forget(now)
        if now >= self._tick_at:
            self._tick_at = now + _TICK_SECONDS
            say({"progress": len(self.sold_at), "requests": self.requests, "sheds": self.sheds})

    def _forget(self, now: float) -> None:
        """The warm-up is over: count from here."""
        self._warm_at = float("inf")
        self._begun, self._cpu_before = now, time.process_time()
        self.warm_requests = self.requests
        self.requests = self.sheds = self.lost = 0
        for latencies in (*self.accepted, *self.refused):
            del latencies[:]

    def _patience(self) -> float:
        wake_at = self._tick_at
        if self._retries:
            wake_at = min(wake_at, self._retries[0][0])
        if self._arrivals and self._idle and (arrival := self._arrivals.next_at()) is not None:
            wake_at = min(wake_at, self._begun + arrival)
        return max(0.0, wake_at - time.perf_counter())

    def _receive(self, client: Client) -> None:
        """Take what has come; an answer that is complete ends the request."""
        try:
            data = client.sock.recv(65536)
        except OSError:
            data = b""
        if not data:
            return self._reconnect(client)
        if client.buffer:
            data = client.buffer + data
        end = data.find(b"\r\n\r\n")
        if end < 0 or len(data) < (size := end + 4 + content_length(data, end)):
            client.buffer = data
            return None
        client.buffer = b""
        client.is_waiting = False
        return self._answered(client, data[:end], data[end + 4 : size])

    def _answered(self, client: Client, head: bytes, body: bytes) -> None:
        self._last_answer = now = time.perf_counter()
        self.requests += 1
        if b"onnection: close" in head:
            self._replace(client)
        status = int(head[9:12])
        kind = client.kind
        if status == 503:
            self.sheds += 1
            found = _RETRY.search(head)
            return self._later(client, min(float(found[1]) if found else 1.0, RETRY_SECONDS_MAX))
        self._active -= 1
        if status == 200:
            self.accepted[kind].append(now - client.started)
            if kind == PURCHASE:
                self.sold_at.append(now - self._begun)
        else:
            self.refused[kind].append(now - client.started)
            self.answers[kind, status, problem_code(body)] += 1
        wish = self._script.follow(client.number, kind, status, body)
        if wish is None:
            return self._next_visit(client, now)
        return self._ask(client, wish, now)

    def _next_visit(self, client: Client, now: float) -> None:
        if self._arrivals:
            self._idle.append(client)
        elif now < self._until:
            self._visit(client, now)

    def _visit(self, client: Client, started: float) -> None:
        wish = self._script.begin(client.number)
        if wish is not None:
            self._ask(client, wish, started)

    def _ask(self, client: Client, wish: Wish, started: float) -> None:
        client.kind, client.request = wish
        client.started = started
        self._active += 1
        self._send(client)

    def _send(self, client: Client) -> None:
        client.is_waiting = True
        try:
            client.sock.sendall(client.request)
        except OSError:
            self._reconnect(client)

    def _later(self, client: Client, seconds: float) -> None:
        heapq.heappush(self._retries, (time.perf_counter() + seconds, client.number))

    def _reconnect(self, client: Client) -> None:
        """The server has closed. Whoever waited for an answer repeats the request in a moment."""
        self._replace(client)
        if client.is_waiting:
            client.is_waiting = False
            self.lost += 1
            self._later(client, 0.1)

    def _replace(self, client: Client) -> None:
        self._poller.remove(client.sock)
        client.sock.close()
        client.buffer = b""
        client.sock = connect(client.address)
        self._poller.add(client.sock, client)


def _connected(addresses: list[tuple[str, int]], clients: int) -> Iterator[Client]:
    """Slowly enough for a server with a short backlog, whose overflow would be resets later on."""
    for number in range(clients):
        if number % _CONNECTS_AT_ONCE == _CONNECTS_AT_ONCE - 1:
            time.sleep(_CONNECTS_PAUSE_SECONDS)
        yield Client(number, addresses[number % len(addresses)])


def say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()
