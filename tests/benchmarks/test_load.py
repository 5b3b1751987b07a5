"""The load generator: its arithmetic as tables, its buyers without a socket, and its loop against a hostile server."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from benchmarks.load import CHECKOUT, PURCHASE, Buyers, Plan, checkouts, content_length, generate_load, problem_code
from benchmarks.stats import Latency, curve, percentile, summary


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [
        *((1, 0.5, 1), (1, 0.99, 1), (2, 0.5, 1), (3, 0.5, 2), (4, 0.5, 2), (20, 0.95, 19), (100, 0.99, 99)),
        *((101, 0.99, 100), (10, 0.0, 1), (10, 1.0, 10), (1000, 0.999, 999)),
    ],
)
def test_a_percentile_is_the_smallest_sample_that_the_share_does_not_exceed(
    count: int, share: float, expected: int
) -> None:
    assert percentile([float(n) for n in range(1, count + 1)], share) == expected


def test_a_summary_is_in_milliseconds_and_of_all_samples() -> None:
    found = summary([0.003, 0.001, 0.002, 1.0])
    assert (found.count, found.mean_ms, found.max_ms) == (4, 251.5, 1000.0)
    assert (found.p50_ms, found.p95_ms, found.p99_ms) == (2.0, 1000.0, 1000.0)
    assert found.distribution[-1] == (1.0, 1000.0)
    assert summary([]) == Latency(count=0)


def test_a_curve_keeps_its_ends_and_never_goes_back() -> None:
    points = curve([n / 1000 for n in range(1, 10_002)], points_max=100)
    assert points[0] == (0.0, 0)
    assert points[-1] == (10.001, 10_001)
    assert len(points) <= 102
    assert points == sorted(points)
    assert curve([]) == [(0.0, 0)]


@pytest.mark.parametrize(
    "head", ["content-length: 12", "Content-Length: 12", "CONTENT-LENGTH:12", "Content-length:  12"]
)
def test_the_length_of_a_body_is_read_however_it_is_spelled(head: str) -> None:
    data = f"HTTP/1.1 200 OK\r\n{head}\r\nx: y\r\n\r\n".encode()
    assert content_length(data, data.index(b"\r\n\r\n")) == 12


def test_the_code_of_a_problem_is_read() -> None:
    assert problem_code(b'{"type":"/problems/item_sold","code":"item_sold"}') == "item_sold"
    assert problem_code(b"<html>") == ""


def test_buyers_ask_for_every_item_once_then_at_random_until_it_is_sold_out() -> None:
    buyers = Buyers(checkouts([1, 2, 7], "run"), "run", repeats=True)
    asked = [buyers.begin() for _ in range(3)]
    assert [re.findall(rb"id=(\d+) ", request.data) for request in asked if request] == [[b"1"], [b"2"], [b"7"]]
    request = buyers.follow(CHECKOUT, 200, b'{"code":"abc"}')
    assert request is not None
    assert request.kind == PURCHASE
    assert b"code=abc " in request.data
    assert b"Idempotency-Key: run-1\r\n" in request.data
    assert buyers.begin() is not None
    assert buyers.follow(CHECKOUT, 410, b"") is None
    assert buyers.begin() is None


def response(status: int, body: bytes, *headers: str) -> bytes:
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body


class HostileServer:
    """Answers each purchase 503 once, drops one connection unanswered, and closes after each checkout."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.keys: list[bytes] = []
        self.has_dropped = False

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                threading.Thread(target=self._answer, args=(sock,), daemon=True).start()

    def _answer(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            while request := sock.recv(65536):
                if request.startswith(b"POST /checkout"):
                    sock.sendall(response(200, b'{"code":"c"}', "connection: close"))
                    return
                if not self.has_dropped:
                    self.has_dropped = True
                    return
                key = re.findall(rb"Idempotency-Key: (\S+)", request)[0]
                self.keys.append(key)
                is_first = self.keys.count(key) == 1
                sock.sendall(response(503, b"{}", "Retry-After: 0") if is_first else response(200, b'{"message":""}'))


@pytest.fixture
def hostile() -> Iterator[HostileServer]:
    server = HostileServer()
    threading.Thread(target=server.serve, daemon=True).start()
    yield server
    server.listener.close()


@pytest.mark.parametrize("rate", [None, 1000.0])
def test_the_generator_repeats_what_was_rejected_under_the_same_key_and_reconnects(
    hostile: HostileServer, rate: float | None
) -> None:
    buyers = Buyers(checkouts(range(1, 11), "r"), "r")
    result = generate_load(Plan(buyers, [hostile.listener.getsockname()], clients=3, rate=rate))
    assert result.is_finished
    assert (result.accepted["checkout"].count, result.accepted["purchase"].count) == (10, 10)
    assert (result.rejected, result.lost, result.refusals) == (10, 1, [])
    assert sorted(hostile.keys) == sorted([f"r-{n}".encode() for n in range(1, 11)] * 2)
    assert result.sold_over_time[-1][1] == 10


def test_an_open_loop_counts_latency_from_when_a_visit_was_due_whatever_became_of_the_earlier_ones() -> None:
    """One client, served one at a time in at least 20 ms, and all five visits due within the first 4 ms."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                while sock.recv(65536):
                    time.sleep(0.02)
                    sock.sendall(response(410, b"{}"))

        threading.Thread(target=serve, daemon=True).start()
        buyers = Buyers(checkouts(range(5), "r"), "r")
        result = generate_load(Plan(buyers, [listener.getsockname()], clients=1, rate=1000.0))
    heard = result.refused["checkout"]
    assert heard.count == 5
    assert heard.max_ms is not None
    assert heard.max_ms >= 5 * 20 - 4


def test_an_open_loop_never_starts_before_a_visit_is_due(hostile: HostileServer) -> None:
    hostile.has_dropped = True
    buyers = Buyers(checkouts(range(1, 11), "r"))
    result = generate_load(Plan(buyers, [hostile.listener.getsockname()], clients=10, rate=100.0))
    assert result.accepted["checkout"].count == 10
    assert result.seconds >= 0.09
