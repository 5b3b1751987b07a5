"""What must be true of a measured sale as a table, then tiny runs as real processes, held against their own report."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.findings import Counts
from benchmarks.load import LoadResult, Refusal
from benchmarks.machine import ROOT
from benchmarks.oracle import wrong_with
from benchmarks.report import BEGIN, END
from benchmarks.stats import Latency
from flash.config import environment
from flash.testing.stores import private_directory

TINY = ("--size", "100", "--clients", "4,16", "--ceiling-seconds", "0.1", "--timeout", "180")

HEARD = LoadResult(
    is_finished=True,
    seconds=1.0,
    sold_seconds=1.0,
    responses=25,
    accepted={"checkout": Latency(12), "purchase": Latency(10)},
    refused={"checkout": Latency(3), "purchase": Latency(2)},
    refusals=[Refusal("checkout", 410, "sold_out", 3), Refusal("purchase", 409, "item_sold", 2)],
)
COUNTS = Counts(sold=10, purchases=10, stock=10, attempts={"issued": 12, "sold_out": 3})
ERROR = [Refusal("purchase", 500, "internal_error", 1)]


def test_a_sale_in_which_everything_is_true_has_nothing_wrong() -> None:
    assert list(wrong_with(HEARD, COUNTS)) == []


@pytest.mark.parametrize(
    ("heard", "counts", "complaint"),
    [
        (replace(HEARD, is_finished=False), COUNTS, "unfinished"),
        (replace(HEARD, refusals=ERROR), COUNTS, "answered 500 internal_error"),
        (HEARD, replace(COUNTS, purchases=11), "11 purchases of a stock of 10"),
        (HEARD, replace(COUNTS, sold=9), "only 9 of 10 were sold"),
        (HEARD, replace(COUNTS, purchases=9), "buyers heard of 10 purchases, the service counts 9 more purchases"),
        (HEARD, replace(COUNTS, attempts={"issued": 12}), "3 checkouts heard sold_out, the database has 0"),
        (
            HEARD,
            replace(COUNTS, attempts={"issued": 13, "sold_out": 3}),
            "12 checkouts heard issued, the database has 13",
        ),
    ],
)
def test_whatever_contradicts_the_buyers_is_named(heard: LoadResult, counts: Counts, complaint: str) -> None:
    assert any(complaint in text for text in wrong_with(heard, counts))


def test_a_checkout_answered_503_may_have_been_recorded_or_not() -> None:
    counts = replace(COUNTS, attempts={"issued": 13, "sold_out": 3})
    assert list(wrong_with(replace(HEARD, rejected=1), counts)) == []


def test_others_may_buy_at_an_external_target_but_what_our_buyers_heard_of_must_be_there() -> None:
    counts = Counts(sold=30, purchases=30, stock=100)
    assert list(wrong_with(HEARD, counts, is_alone=False, sold_before=15)) == []
    assert len(list(wrong_with(HEARD, counts, is_alone=False, sold_before=21))) == 2


def bench(*arguments: str, **settings: str) -> subprocess.Popen[str]:
    inherited = {name: environment().get(name, "") for name in ("PATH", "HOME", "TMPDIR")}
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks", *arguments],
        env={**inherited, "PYTHONPATH": str(ROOT), **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    "url",
    ["http://192.0.2.1:8080", "http://example.com", "http://127.0.0.1.example.com", "http://0.0.0.0:8080", "8080"],
)
def test_only_a_loopback_address_may_be_measured(url: str) -> None:
    process = bench("--url", url)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "only a loopback address may be measured" in stderr


def test_a_report_that_could_not_be_written_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    process = bench("--json", str(tmp_path / "missing" / "x.json"))
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
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
    docs = tmp_path / "benchmarks.md"
    docs.write_text(f"Before.\n\n{BEGIN}\nold\n{END}\n\nAfter.\n")
    arguments = ["--web", "1,2", "--sizes", "50", "--rate", "200", "--docs", str(tmp_path)]
    process = bench(*TINY, *arguments, "--json", str(files[0]), "--html", str(files[1]), TMPDIR=str(short))
    stdout, stderr = process.communicate(timeout=200)
    assert process.returncode == 0, stderr + stdout
    assert "audit clean" in stdout
    found = json.loads(files[0].read_text())
    assert found["wrong"] == []
    check_sales(found["sales"])
    check_limits(found)
    check_page(files[1].read_text())
    check_docs(docs.read_text(), tmp_path)
    assert list(short.iterdir()) == []


def check_sales(sales: list[dict[str, Any]]) -> None:
    places = [(sale["web"], sale["clients"], sale["size"], sale["rate"]) for sale in sales]
    assert places == [
        *((1, clients, 100, None) for clients in (4, 16)),
        *((2, clients, 100, None) for clients in (4, 16)),
        *((2, 16, 100, 200.0), (2, 16, 50, None)),
    ]
    for sale in sales:
        counts = sale["counts"]
        assert sale["sales"] == counts["sold"] == counts["purchases"] == counts["stock"] == sale["size"]
        assert sale["load"]["sold_over_time"][-1][1] == sale["size"]
        assert counts["attempts"]["issued"] >= sale["size"]
        assert 0 < counts["purchase_commits"] <= sale["size"]
        assert set(sale["ratios"]) == {"handler", "stock"}
        assert {used["name"] for used in sale["processes"]} >= {"web.1", "PostgreSQL", "Valkey", "load generator"}


def check_limits(found: dict[str, Any]) -> None:
    outcomes = [[refusal["code"] for refusal in row["load"]["refusals"]] for row in found["request_costs"]]
    assert outcomes[:3] == [[], [], []]
    assert outcomes[3:5] == [["item_sold"], ["item_sold"]]
    assert all(set(codes) <= {"item_sold", "sold_out"} and codes for codes in outcomes[5:])
    assert {row["latency"]["count"] for row in found["request_costs"]} == {100}
    assert {row["batch"] for row in found["commits"]} == {1, 10, 50, 200, 500, 1000}
    assert all(latency["count"] > 0 for latency in found["round_trips"].values())
    assert found["audit"].startswith("audit clean")


def check_page(html: str) -> None:
    page = Page()
    page.feed(html)
    page.close()
    assert page.open == []
    assert page.references == []
    assert "http:" not in html.replace("http://www.w3.org", "")
    assert "prefers-color-scheme: dark" in html
    for plot in ("Items sold over time", "Latency of accepted requests", "Throughput next to the baseline servers"):
        assert plot in page.plots
    assert "Where the CPU time of a sale goes" in page.plots
    assert "100 items, never crossed" in html
    assert "this service, 2 web" in html
    assert "not measured: more than one host" in html


def check_docs(text: str, folder: Path) -> None:
    assert text.startswith("Before.")
    assert text.endswith("After.\n")
    assert "\nold\n" not in text
    assert "### Whole sales" in text
    pictures = sorted(path.name for path in (folder / "benchmarks").glob("*.svg"))
    assert pictures == ["cpu.svg", "latency.svg", "refusals.svg", "sold.svg", "throughput.svg"]
    assert all((folder / "benchmarks" / name).stat().st_size < 60_000 for name in pictures)
    assert all(f"(benchmarks/{name})" in text for name in pictures)


@pytest.mark.parametrize(("how", "step"), [(signal.SIGINT, "baseline"), (signal.SIGTERM, "a sale of")])
def test_an_interrupted_run_leaves_no_process_and_no_file(how: signal.Signals, step: str, short: Path) -> None:
    process = bench(*TINY, TMPDIR=str(short))
    assert process.stderr is not None
    for line in process.stderr:
        if step in line:
            break
    started = psutil.Process(process.pid).children(recursive=True)
    assert started
    process.send_signal(how)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert psutil.wait_procs(started, timeout=10)[1] == []
    assert list(short.iterdir()) == []
