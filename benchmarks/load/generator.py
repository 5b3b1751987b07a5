"""The loop of the load generator: many clients on one thread, each waiting for one response at a time.

Only two things are repeated: what was answered 503, and what a lost connection left unanswered. The wait is latency.
"""

from __future__ import annotations

import gc
import heapq
import os
import re
import resource
import selectors
import socket
import time
from array import array
from collections import Counter

from benchmarks.load.buyers import KINDS, PURCHASE, Request
from benchmarks.load.messages import Address, LoadResult, Plan, Refusal
from benchmarks.stats import Arrivals, curve, summary
from benchmarks.usage import memory_peak_bytes

RETRY_SECONDS_MAX = 5.0
CONNECT_SECONDS = 20.0
LOST_MAX = 1_000
"""After this many lost connections, the server is treated as down."""
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_RETRY = re.compile(rb"\r\nretry-after:[ \t]*(\d+)", re.IGNORECASE)


def generate_load(plan: Plan) -> LoadResult:
    """Carry out `plan` in this process, which should have nothing else to do."""
    raise_file_limit()
    generator = LoadGenerator(plan)
    gc.freeze()  # what was imported is never garbage
    return generator.run()


class Client:
    """One buyer on one connection. `due` is when the present request was first meant to be sent."""

    __slots__ = ("address", "buffer", "due", "is_waiting", "kind", "number", "request", "sock")

    def __init__(self, number: int, address: Address) -> None:
        self.number = number
        self.address = address
        self.sock = connect(address)
        self.buffer = b""
        self.kind = 0
        self.request = b""
        self.is_waiting = False  # a request is in flight
        self.due = 0.0


class LoadGenerator:
    """Carries out one plan. All times are of one monotonic clock."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._buyers = plan.buyers
        self._arrivals = Arrivals(plan.rate, plan.visits) if plan.rate else None
        self._selector = selectors.DefaultSelector()
        self._clients: list[Client] = []
        self._idle: list[Client] = []
        self._retries: list[tuple[float, int]] = []
        self._active = 0
        self._accepted = (array("d"), array("d"))
        self._refused = (array("d"), array("d"))
        self._sold_at = array("d")
        self._refusals: Counter[tuple[int, int, str]] = Counter()
        self._rejected = self._lost = self._responses = 0

    def run(self) -> LoadResult:
        """Unfinished if too many connections were lost."""
        for number in range(self._plan.clients):
            if number % 32 == 31:  # overflowing a short backlog would cause resets later on
                time.sleep(0.02)
            self._clients.append(Client(number, self._plan.addresses[number % len(self._plan.addresses)]))
            self._selector.register(self._clients[-1].sock, selectors.EVENT_READ, self._clients[-1])
        cpu_before = time.process_time()
        self._begun = self._last_response = time.perf_counter()
        for client in self._clients:
            self._next_visit(client, self._begun)
        while self._lost <= LOST_MAX and (self._active or (self._arrivals and not self._arrivals.is_over)):
            self._turn()
        return self._result(time.process_time() - cpu_before)

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._patience()):
            self._receive(key.data)
        while self._retries and self._retries[0][0] <= time.perf_counter():
            self._send(self._clients[heapq.heappop(self._retries)[1]])
        if self._arrivals:
            self._arrivals.collect(time.perf_counter() - self._begun)
            while self._idle and self._arrivals.late:
                self._visit(self._idle.pop(), self._begun + self._arrivals.late.popleft())

    def _patience(self) -> float | None:
        wake_at = self._retries[0][0] if self._retries else float("inf")
        if self._arrivals and self._idle and (arrival := self._arrivals.next_at()) is not None:
            wake_at = min(wake_at, self._begun + arrival)
        return None if wake_at == float("inf") else max(0.0, wake_at - time.perf_counter())

    def _receive(self, client: Client) -> None:
        """Take what has come; a complete response ends the request."""
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
        self._last_response = now = time.perf_counter()
        self._responses += 1
        if b"onnection: close" in head:
            self._replace(client)
        status = int(head[9:12])
        if status == 503:
            self._rejected += 1
            found = _RETRY.search(head)
            return self._retry(client, min(float(found[1]) if found else 1.0, RETRY_SECONDS_MAX))
        self._active -= 1
        self._note(client, now, status, body)
        request = self._buyers.follow(client.kind, status, body)
        return self._next_visit(client, now) if request is None else self._ask(client, request, now)

    def _note(self, client: Client, now: float, status: int, body: bytes) -> None:
        kind = client.kind
        if status != 200:
            self._refused[kind].append(now - client.due)
            self._refusals[kind, status, problem_code(body)] += 1
            return
        self._accepted[kind].append(now - client.due)
        if kind == PURCHASE:
            self._sold_at.append(now - self._begun)

    def _next_visit(self, client: Client, now: float) -> None:
        if self._arrivals:
            self._idle.append(client)
        elif now - self._begun < self._plan.seconds:
            self._visit(client, now)

    def _visit(self, client: Client, due: float) -> None:
        request = self._buyers.begin()
        if request is not None:
            self._ask(client, request, due)

    def _ask(self, client: Client, request: Request, due: float) -> None:
        client.kind, client.request = request
        client.due = due
        self._active += 1
        self._send(client)

    def _send(self, client: Client) -> None:
        client.is_waiting = True
        try:
            client.sock.sendall(client.request)
        except OSError:
            self._reconnect(client)

    def _retry(self, client: Client, seconds: float) -> None:
        heapq.heappush(self._retries, (time.perf_counter() + seconds, client.number))

    def _reconnect(self, client: Client) -> None:
        """The server has closed. A client that waited for a response repeats its request in a moment."""
        self._replace(client)
        if client.is_waiting:
            client.is_waiting = False
            self._lost += 1
            self._retry(client, 0.1)

    def _replace(self, client: Client) -> None:
        self._selector.unregister(client.sock)
        client.sock.close()
        client.buffer = b""
        client.sock = connect(client.address)
        self._selector.register(client.sock, selectors.EVENT_READ, client)

    def _result(self, cpu_seconds: float) -> LoadResult:
        seconds, sold = self._last_response - self._begun, self._sold_at
        return LoadResult(
            is_finished=self._lost <= LOST_MAX,
            seconds=seconds,
            sold_seconds=sold[-1] if sold else None,
            responses=self._responses,
            accepted={name: summary(self._accepted[kind]) for kind, name in enumerate(KINDS)},
            refused={name: summary(self._refused[kind]) for kind, name in enumerate(KINDS)},
            refusals=[Refusal(KINDS[kind], status, code, n) for (kind, status, code), n in self._refusals.items()],
            rejected=self._rejected,
            lost=self._lost,
            # the buyers went on asking after the last item was sold
            sold_over_time=[*curve(sold), (seconds, len(sold))],
            cpu_seconds=cpu_seconds,
            memory_peak_bytes=memory_peak_bytes(os.getpid()),
            codes=self._buyers.codes,
        )


def connect(address: Address) -> socket.socket:
    """A connection. Raises the last `OSError` if `CONNECT_SECONDS` of trying brought none."""
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            sock = socket.create_connection(address, timeout=CONNECT_SECONDS)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    sock.settimeout(None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def content_length(data: bytes, end: int) -> int:
    """The length of the body of the response whose head ends at `end`; 0 if the head does not say."""
    at = data.find(b"content-length: ", 0, end)  # as the service spells it: the expression takes 1 µs more
    if at >= 0:
        return int(data[at + 16 : data.index(b"\r", at)])
    found = _LENGTH.search(data, 0, end)
    return int(found[1]) if found else 0


def problem_code(body: bytes) -> str:
    """The `code` member of a problem; empty if there is none."""
    at = body.find(b'"code":"') + 8
    return body[at : body.index(b'"', at)].decode() if at >= 8 else ""


def raise_file_limit() -> None:
    """Allow as many descriptors as this user may have: 1,024 clients need more than the usual soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(65_536, hard) if hard != resource.RLIM_INFINITY else 65_536
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
