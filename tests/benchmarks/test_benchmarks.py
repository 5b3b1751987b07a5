"""`flash bench`: its arithmetic as pure tables, then a tiny run as a real process, held against its own report."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from benchmarks import checks
from benchmarks.load import perform
from benchmarks.proc import usage
from benchmarks.scripts import CHECKOUT, PURCHASE, Sale
from benchmarks.sockets import content_length, problem_code
from benchmarks.stats import Arrivals, curve, percentile, summary
from flash.config import environment
from flash.local.procfile import PROJECT
from flash.testing.stores import private_directory

TINY = ("--size", "200", "--clients", "4,16", "--ceiling-seconds", "0.1", "--timeout", "180")


# arithmetic


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
    assert found == {"count": 4, "mean_ms": 251.5, "max_ms": 1000.0, "p50_ms": 2.0, "p95_ms": 1000.0, "p99_ms": 1000.0}
    assert summary([]) == {"count": 0}


def test_a_curve_keeps_its_ends_and_never_goes_back() -> None:
    points = curve([n / 1000 for n in range(1, 10_002)], points_max=100)
    assert points[0] == (0.0, 0)
    assert points[-1] == (10.001, 10_001)
    assert len(points) <= 102
    assert points == sorted(points)
    assert curve([]) == [(0.0, 0)]


def test_an_open_loop_starts_on_schedule_whatever_became_of_the_earlier_ones() -> None:
    arrivals = Arrivals(rate=10, count=5)
    arrivals.collect(0.25)
    assert arrivals.late == [0.0, 0.1, 0.2]
    assert arrivals.next_at() == pytest.approx(0.3)
    arrivals.collect(9.0)
    assert arrivals.late == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert arrivals.next_at() is None
    assert not arrivals.is_over
    arrivals.late.clear()
    assert arrivals.is_over


@pytest.mark.parametrize(
    "head", ["content-length: 12", "Content-Length: 12", "CONTENT-LENGTH:12", "Content-length:  12"]
)
def test_the_length_of_a_body_is_read_however_it_is_spelled(head: str) -> None:
    data = f"HTTP/1.1 200 OK\r\n{head}\r\nx: y\r\n\r\n".encode()
    assert content_length(data, data.index(b"\r\n\r\n")) == 12


def test_the_code_of_a_problem_is_read() -> None:
    assert problem_code(b'{"type":"/problems/item_sold","code":"item_sold"}') == "item_sold"
    assert problem_code(b"<html>") == ""


# what buyers do


def test_buyers_ask_for_every_item_once_then_at_random_until_it_is_sold_out() -> None:
    script = Sale([(1, 2), (7, 1)], "run", until_sold_out=True)
    asked = [script.begin(0) for _ in range(3)]
    assert [re.findall(rb"id=(\d+) ", wish[1]) for wish in asked if wish] == [[b"1"], [b"2"], [b"7"]]
    wish = script.follow(0, CHECKOUT, 200, b'{"code":"abc"}')
    assert wish is not None
    assert wish[0] == PURCHASE
    assert b"code=abc " in wish[1]
    assert b"Idempotency-Key: run-1\r\n" in wish[1]
    assert script.begin(0) is not None
    assert script.follow(0, CHECKOUT, 410, b"") is None
    assert script.begin(0) is None


# the generator against a server that misbehaves on purpose


def answer(status: int, body: bytes, *headers: str) -> bytes:
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body


class Moody:
    """Sheds each purchase once, drops one connection unanswered, and closes after each checkout."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.keys: list[bytes] = []
        self.has_dropped = False

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            while request := sock.recv(65536):
                if request.startswith(b"POST /checkout"):
                    sock.sendall(answer(200, b'{"code":"c"}', "connection: close"))
                    return
                if not self.has_dropped:
                    self.has_dropped = True
                    return
                key = re.findall(rb"Idempotency-Key: (\S+)", request)[0]
                self.keys.append(key)
                is_first = self.keys.count(key) == 1
                sock.sendall(answer(503, b"{}", "Retry-After: 0") if is_first else answer(200, b'{"message":""}'))


@pytest.fixture
def moody() -> Iterator[Moody]:
    server = Moody()
    threading.Thread(target=server.serve, daemon=True).start()
    yield server
    server.listener.close()


@pytest.mark.parametrize("rate", [None, 1000.0])
def test_the_generator_repeats_what_was_shed_under_the_same_key_and_reconnects(
    moody: Moody, rate: float | None
) -> None:
    found = perform(
        {
            "script": "sale",
            "arguments": {"items": [(1, 10)], "run": "r", "until_sold_out": False},
            "addresses": [moody.listener.getsockname()],
            "clients": 3,
            "rate": rate,
            "count": 10,
            "deadline_seconds": 20,
        }
    )
    assert found["is_finished"]
    assert (found["accepted"]["checkout"]["count"], found["accepted"]["purchase"]["count"]) == (10, 10)
    assert (found["sheds"], found["lost"], found["answers"]) == (10, 1, [])
    assert sorted(moody.keys) == sorted([f"r-{n}".encode() for n in range(1, 11)] * 2)
    assert found["sold_over_time"][-1][1] == 10


# what must be true of a sale


HEARD: dict[str, Any] = {
    "is_finished": True,
    "seconds": 1.0,
    "accepted": {"checkout": {"count": 12}, "purchase": {"count": 10}},
    "answers": [("checkout", 410, "sold_out", 3), ("purchase", 409, "item_sold", 2)],
    "sheds": 0,
    "lost": 0,
}
TRUTH: dict[str, Any] = {"sold": 10, "purchases": 10, "stock": 10, "attempts": {"issued": 12, "sold_out": 3}}


def test_a_sale_in_which_everything_is_true_has_nothing_wrong() -> None:
    assert list(checks.of_sale(HEARD, TRUTH)) == []


@pytest.mark.parametrize(
    ("heard", "truth", "complaint"),
    [
        ({"is_finished": False}, {}, "unfinished"),
        ({"answers": [("purchase", 500, "internal_error", 1)]}, {}, "answered 500 internal_error"),
        ({}, {"purchases": 11}, "11 purchases of a stock of 10"),
        ({}, {"sold": 9}, "only 9 of 10 were sold"),
        ({}, {"purchases": 9}, "database has only 9 purchases"),
        ({}, {"attempts": {"issued": 12}}, "3 checkouts heard sold_out, the database has 0"),
        ({}, {"attempts": {"issued": 13, "sold_out": 3}}, "12 checkouts heard issued, the database has 13"),
    ],
)
def test_whatever_contradicts_the_buyers_is_named(heard: Any, truth: Any, complaint: str) -> None:
    assert any(complaint in text for text in checks.of_sale({**HEARD, **heard}, {**TRUTH, **truth}))


def test_a_checkout_answered_503_may_have_been_recorded_or_not() -> None:
    truth = {**TRUTH, "attempts": {"issued": 13, "sold_out": 3}}
    assert list(checks.of_sale({**HEARD, "sheds": 1}, truth)) == []


# the command


def bench(*arguments: str, **settings: str) -> subprocess.Popen[str]:
    inherited = {name: environment().get(name, "") for name in ("PATH", "HOME", "TMPDIR")}
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks", *arguments],
        env={**inherited, "PYTHONPATH": str(PROJECT), **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    "url",
    ["http://192.0.2.1:8080", "http://example.com", "http://127.0.0.1.example.com", "http://0.0.0.0:8080", "8080"],
)
def test_only_a_loopback_address_may_be_measured(url: str) -> None:
    done = bench("--url", url)
    _, stderr = done.communicate(timeout=60)
    assert done.returncode == 2
    assert "only a loopback address may be measured" in stderr


def test_a_report_that_could_not_be_written_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    done = bench("--json", str(tmp_path / "missing" / "x.json"))
    _, stderr = done.communicate(timeout=60)
    assert done.returncode == 1
    assert "there is no directory" in stderr


class Page(HTMLParser):
    """Checks that tags nest, and notes every reference and every plot."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.plots: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)
        self.references += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "data")]
        self.plots += [str(value) for name, value in attrs if name == "aria-label"]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose path leaves room for sockets below it."""
    with private_directory() as folder:
        yield folder


def test_a_tiny_run_reports_what_the_database_holds_and_leaves_nothing_behind(tmp_path: Path, short: Path) -> None:
    files = tmp_path / "found.json", tmp_path / "found.html"
    temporary = short / "t"
    temporary.mkdir()
    arguments = ("--web", "1,2", "--sizes", "50,100", "--rate", "200", "--json", str(files[0]), "--html", str(files[1]))
    running = bench(*TINY, *arguments, TMPDIR=str(temporary))
    stdout, stderr = running.communicate(timeout=200)
    assert running.returncode == 0, stderr + stdout
    assert "audit clean" in stdout
    found = json.loads(files[0].read_text())
    assert found["wrong"] == []
    check_counts(found)
    check_page(files[1].read_text())
    assert list(temporary.iterdir()) == []


def check_counts(found: dict[str, Any]) -> None:
    assert [(sale["web"], sale["clients"], sale["size"], sale["rate"]) for sale in found["sales"]] == [
        *((web, clients, 200, None) for web in (1, 2) for clients in (4, 16)),
        *((2, 16, size, None) for size in (50, 100)),
        (2, 16, 200, 200.0),
    ]
    for sale in found["sales"]:
        truth = sale["database"]
        assert sale["sales"] == truth["sold"] == truth["purchases"] == truth["stock"] == sale["size"]
        assert sale["sold_over_time"][-1][1] == sale["size"]
        assert truth["attempts"]["issued"] >= sale["size"]
        assert set(sale["ratios"]) == {"handler", "stock"}
        assert {process["name"] for process in sale["processes"]} >= {"web.1", "PostgreSQL", "Valkey", "load generator"}
    assert [row["answer"] for row in found["refusals"]] == [
        "issued", "sold", "item_sold", "item_sold", "sold_out", "sold_out",
    ]  # fmt: skip
    assert {row["batch"] for row in found["ceilings"]["postgres"]["bridge"]} == {1, 10, 50, 200, 500, 1000}
    assert found["ceilings"]["valkey"]["ping"]["count"] > 0
    assert found["audit"]["is_clean"]


def check_page(html: str) -> None:
    page = Page()
    page.feed(html)
    page.close()
    assert page.open == []
    assert page.references == []
    assert "http:" not in html.replace("http://www.w3.org", "")
    assert "prefers-color-scheme: dark" in html
    for plot in ("items sold over time", "latency of purchases over clients", "sales a second over web processes"):
        assert plot in page.plots
    assert "CPU by process" in page.plots
    assert "200 items, never crossed" in html
    assert "What was not measured" in html


def descendants(pid: int) -> set[int]:
    """Everything that `pid` has started, and that they have, however far down."""
    parents = {}
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            parents[int(name)] = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(("how", "step"), [(signal.SIGINT, "a constant"), (signal.SIGTERM, "a sale of")])
def test_an_interrupted_run_leaves_no_process_and_no_file(how: signal.Signals, step: str, short: Path) -> None:
    running = bench(*TINY, TMPDIR=str(short))
    assert running.stderr is not None
    for line in running.stderr:
        if step in line:
            break
    started = descendants(running.pid)
    assert started
    running.send_signal(how)
    running.communicate(timeout=30)
    assert running.returncode == 130
    deadline = time.monotonic() + 10
    while usage(started).processes and time.monotonic() < deadline:
        time.sleep(0.02)
    assert usage(started).processes == 0
    assert list(short.iterdir()) == []
