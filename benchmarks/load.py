"""The load generator: many clients on raw sockets and one thread, in a process of its own. It knows nothing of flash.

A visit begins with one request, and its response may lead to another. Only two things are repeated: what was answered
503, and what a lost connection left unanswered. The wait is latency.
"""

from __future__ import annotations

import gc
import heapq
import math
import os
import random
import re
import selectors
import socket
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks.machine import memory_peak_bytes
from benchmarks.stats import Latency, curve, summary

CHECKOUT, PURCHASE = 0, 1
KINDS = ("checkout", "purchase")
RETRY_SECONDS_MAX, CONNECT_SECONDS, LOST_MAX = 5.0, 20.0, 1_000
"""After this many lost connections, the server is treated as down."""
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_RETRY = re.compile(rb"\r\nretry-after:[ \t]*(\d+)", re.IGNORECASE)
Address = tuple[str, int]


class Request(NamedTuple):
    """CHECKOUT or PURCHASE, and the bytes to send. A purchase carries its Idempotency-Key from the start."""

    kind: int
    data: bytes


def checkout(user: str, item: int) -> Request:
    head = b"POST /checkout?user_id=%b&id=%d HTTP/1.1\r\nHost: localhost\r\n\r\n"
    return Request(CHECKOUT, head % (user.encode(), item))


def purchase(code: bytes, key: str) -> Request:
    head = b"POST /purchase?code=%b HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: %b\r\n\r\n"
    return Request(PURCHASE, head % (code, key.encode()))


def read(path: str) -> Request:
    """A GET, counted as a checkout: any 200 is what is wanted."""
    return Request(CHECKOUT, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())


def checkouts(items: Sequence[int], run: str) -> list[Request]:
    """One for each item. A user asks for five, so nobody is near the limit of ten."""
    users = max(1, len(items) // 5)
    return [checkout(f"{run}-{number % users}", item) for number, item in enumerate(items)]


@dataclass(slots=True)
class Buyers:
    """Each visit begins with the next of `requests`. What is issued is bought under keys of `run`; without, it is kept.

    If it `repeats`, it goes on with any of them at random until somebody hears 410, as a crowd would. So the end of a
    sale is contended, and what buyers are told then must be true.
    """

    requests: Sequence[Request]
    run: str = ""
    repeats: bool = False
    codes: list[bytes] = field(default_factory=list)
    _begun: int = 0
    _bought: int = 0

    def begin(self) -> Request | None:
        """The first request of the next visit; None if there is nothing left to do."""
        number = self._begun
        self._begun += 1
        if number < len(self.requests):
            return self.requests[number]
        return random.choice(self.requests) if self.repeats else None

    def follow(self, kind: int, status: int, body: bytes) -> Request | None:
        """The next request of the same visit, or None if this response ends it."""
        if status == 410:
            self.repeats = False
        if kind == PURCHASE or status != 200 or (self.repeats and not self.run):
            return None
        code = body[9:-2]  # {"code":"…"}
        if not self.run:
            self.codes.append(code)
            return None
        self._bought += 1
        return purchase(code, f"{self.run}-{self._bought}")


@dataclass(frozen=True, slots=True)
class Plan:
    """A closed loop of `clients`, or an open loop in which visit i is due `i / rate` seconds after the beginning.

    It ends when the buyers have nothing left to do, or after `seconds`. A 503 ends the visit unless it
    `repeats_rejected`. Clients that gather connect only when they begin, evenly over `gather_seconds`, and that counts.
    """

    buyers: Buyers
    addresses: list[Address]
    clients: int
    seconds: float = math.inf
    rate: float | None = None
    repeats_rejected: bool = True
    gather_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """`count` final answers of one kind that were not 200; `code` is that of the problem."""

    kind: str
    status: int
    code: str
    count: int


@dataclass(slots=True)
class LoadResult:
    """What the buyers heard. `rejected` are answers 503, `lost` requests on connections that the server closed.

    `sold_seconds` runs from the first request to the answer to the last accepted purchase.
    """

    is_finished: bool = False
    seconds: float = 0.0
    sold_seconds: float | None = None
    responses: int = 0
    accepted: dict[str, Latency] = field(default_factory=dict)
    refused: dict[str, Latency] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    rejected: int = 0
    lost: int = 0
    sold_over_time: list[tuple[float, int]] = field(default_factory=list)
    cpu_seconds: float = 0.0
    memory_peak_bytes: int | None = None
    codes: list[bytes] = field(default_factory=list)


def generate_load(plan: Plan) -> LoadResult:
    """Carry out `plan` in this process, which should have nothing else to do."""
    gc.freeze()  # what was imported is never garbage
    return LoadGenerator(plan).run()


class Client:
    """One buyer on one connection. `due` is when the present request was first meant to be sent."""

    __slots__ = ("address", "buffer", "due", "is_connected", "is_waiting", "kind", "number", "request", "sock")

    def __init__(self, number: int, address: Address, *, is_connected: bool) -> None:
        self.number, self.address, self.is_connected = number, address, is_connected
        self.sock = connect(address) if is_connected else connecting(address)
        self.kind, self.request, self.buffer, self.due = 0, b"", b"", 0.0
        self.is_waiting = False  # a request is in flight


class LoadGenerator:
    """Carries out one plan. All times are of one monotonic clock."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._buyers, self._result = plan, plan.buyers, LoadResult()
        self._selector = selectors.DefaultSelector()
        self._clients: list[Client] = []
        self._waiting: list[tuple[float, int]] = []
        self._accepted, self._refused, self._sold_at = [array("d"), array("d")], [array("d"), array("d")], array("d")
        self._refusals: Counter[tuple[int, int, str]] = Counter()
        self._active = self._visits = 0
        self._begun = self._last_response = 0.0

    def run(self) -> LoadResult:
        """Unfinished if too many connections were lost."""
        if not self._plan.gather_seconds:
            self._connect_all()
        cpu_before = time.process_time()
        self._begun = self._last_response = time.perf_counter()
        for client in self._clients:
            self._go_on(client, None, self._begun)
        if self._plan.gather_seconds:
            self._gather()
        while self._active and self._result.lost <= LOST_MAX:
            self._turn(max(0.0, self._waiting[0][0] - time.perf_counter()) if self._waiting else None)
        self._result.cpu_seconds = time.process_time() - cpu_before
        for client in self._clients:
            client.sock.close()
        self._selector.close()
        return self._summed(self._result)

    def _connect_all(self) -> None:
        for number in range(self._plan.clients):
            if number % 32 == 31:  # overflowing a short backlog would cause resets later on
                time.sleep(0.02)
            self._add(number, is_connected=True)

    def _gather(self) -> None:
        for number in range(self._plan.clients):
            due = self._begun + self._plan.gather_seconds * number / self._plan.clients
            while (now := time.perf_counter()) < due:
                self._turn(due - now)
            self._go_on(self._add(number, is_connected=False), None, now)

    def _add(self, number: int, *, is_connected: bool) -> Client:
        address = self._plan.addresses[number % len(self._plan.addresses)]
        client = Client(number, address, is_connected=is_connected)
        self._clients.append(client)
        self._selector.register(client.sock, selectors.EVENT_READ if is_connected else selectors.EVENT_WRITE, client)
        return client

    def _turn(self, patience: float | None) -> None:
        """Handle what comes, and send what is due, after waiting for `patience` seconds at most."""
        for key, events in self._selector.select(patience):
            (self._connected if events & selectors.EVENT_WRITE else self._receive)(key.data)
        while self._waiting and self._waiting[0][0] <= time.perf_counter():
            self._send(self._clients[heapq.heappop(self._waiting)[1]])

    def _connected(self, client: Client) -> None:
        """Send what has waited for the connection, or connect again if there is none."""
        if client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return self._reconnect(client)
        client.is_connected = True
        client.sock.setblocking(True)
        self._selector.modify(client.sock, selectors.EVENT_READ, client)
        return self._send(client) if client.is_waiting else None

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
        self._result.responses += 1
        if b"onnection: close" in head:
            self._reconnect(client)
        kind, status = client.kind, int(head[9:12])
        if status == 503:
            self._result.rejected += 1
            if not self._plan.repeats_rejected:
                self._active -= 1
                return self._go_on(client, None, now)
            found = _RETRY.search(head)
            return self._send_at(client, now + min(float(found[1]) if found else 1.0, RETRY_SECONDS_MAX))
        self._active -= 1
        if status == 200:
            self._accepted[kind].append(now - client.due)
            if kind == PURCHASE:
                self._sold_at.append(now - self._begun)
        else:
            self._refused[kind].append(now - client.due)
            self._refusals[kind, status, problem_code(body)] += 1
        return self._go_on(client, self._buyers.follow(kind, status, body), now)

    def _go_on(self, client: Client, request: Request | None, now: float) -> None:
        """Ask, or begin the next visit. In an open loop it may be due later, or overdue: latency counts from then.

        A generator that waited for responses would leave out the visits that had to wait (coordinated omission).
        """
        due = now
        if request is None:
            request = self._buyers.begin() if now - self._begun < self._plan.seconds else None
            if request is None:
                return None
            if self._plan.rate:
                due = self._begun + self._visits / self._plan.rate
            self._visits += 1
        client.kind, client.request = request
        client.due = due
        self._active += 1
        return self._send(client) if due <= now else self._send_at(client, due)

    def _send(self, client: Client) -> None:
        client.is_waiting = True
        if not client.is_connected:
            return
        try:
            client.sock.sendall(client.request)
        except OSError:
            self._reconnect(client)

    def _send_at(self, client: Client, when: float) -> None:
        heapq.heappush(self._waiting, (when, client.number))

    def _reconnect(self, client: Client) -> None:
        """The server closes, or has closed. A client that waited for a response repeats its request in a moment."""
        self._selector.unregister(client.sock)
        client.sock.close()
        client.buffer, client.is_connected = b"", not self._plan.gather_seconds
        client.sock = connect(client.address) if client.is_connected else connecting(client.address)
        events = selectors.EVENT_READ if client.is_connected else selectors.EVENT_WRITE
        self._selector.register(client.sock, events, client)
        if client.is_waiting:
            client.is_waiting = False
            self._result.lost += 1
            self._send_at(client, time.perf_counter() + 0.1)

    def _summed(self, result: LoadResult) -> LoadResult:
        sold, result.codes = self._sold_at, self._buyers.codes
        result.is_finished = result.lost <= LOST_MAX
        result.seconds = self._last_response - self._begun
        result.sold_seconds = sold[-1] if sold else None
        result.accepted = {name: summary(self._accepted[kind]) for kind, name in enumerate(KINDS)}
        result.refused = {name: summary(self._refused[kind]) for kind, name in enumerate(KINDS)}
        result.refusals = [Refusal(KINDS[kind], status, code, n) for (kind, status, code), n in self._refusals.items()]
        result.sold_over_time = [*curve(sold), (result.seconds, len(sold))]  # buyers went on after the last was sold
        result.memory_peak_bytes = memory_peak_bytes(os.getpid())
        return result


def connect(address: Address) -> socket.socket:
    """A connection. Raises the last `OSError` if `CONNECT_SECONDS` of trying brought none."""
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            sock = socket.create_connection(address, timeout=CONNECT_SECONDS)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            sock.settimeout(None)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock


def connecting(address: Address) -> socket.socket:
    """A connection that becomes writable once it is made, or has failed."""
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)
    sock.connect_ex(address)
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
