"""The sections of `scripts/bench`: native clients on real stores, the arithmetic of a budget, and tiny runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks.budget import budget_table
from benchmarks.idle import CHECKOUT, LIVEZ, PURCHASE
from benchmarks.load import Buyers, Plan, generate_load, purchase
from benchmarks.machine import ROOT
from benchmarks.native import RECORDER, NativePostgres, NativeRedis, redis_command, statement_of
from flash.config import environment
from flash.errors import OperatorError
from flash.local.embedded import EmbeddedValkey
from flash.testing.stores import private_directory
from tests.benchmarks.test_load import HostileServer
from tests.benchmarks.test_load import hostile as hostile  # a fixture


def test_the_native_client_sends_every_kind_of_argument_as_the_driver_would(postgres: str) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 678, UTC)
    client = NativePostgres(
        postgres,
        "SELECT 1 WHERE $1::bigint = 7 AND $2::text[] = ARRAY['a\"b', 'c\\d', NULL, 'e,f'] AND $3::bytea = '\\x00ff'"
        " AND $4::bytea[] = ARRAY['\\x5c22'::bytea, NULL] AND $5::timestamptz = '2026-01-02 03:04:05.000678+00'"
        " AND $6::text IS NULL",
    )
    args = (7, ['a"b', "c\\d", None, "e,f"], b"\x00\xff", (b'\\"', None), at, None)
    client.run(client.encode(args))
    client.run(client.encode(args))
    with pytest.raises(OperatorError, match="no row"):
        client.run(client.encode((8, *args[1:])))
    client.close()


def test_the_native_client_tells_an_error_from_an_answer(postgres: str) -> None:
    with pytest.raises(OperatorError, match="no_such_table"):
        NativePostgres(postgres, "SELECT * FROM no_such_table")
    client = NativePostgres(postgres, "SELECT 1 / $1::int")
    with pytest.raises(OperatorError, match="division by zero"):
        client.run(client.encode((0,)))
    client.run(client.encode((1,)))
    client.close()


def test_the_native_redis_client_hears_answers_and_errors(valkey: EmbeddedValkey) -> None:
    client = NativeRedis(valkey.url)
    assert client.run(redis_command(b"SET", b"k", b"a\r\nb")) == b"+OK\r\n"
    assert client.run(redis_command(b"GET", b"k")) == b"$4\r\na\r\nb\r\n"
    with pytest.raises(OperatorError, match="WRONGTYPE"):
        client.run(redis_command(b"XADD", b"k", b"*", b"f", b"v"))
    client.close()


def test_a_statement_is_taken_from_the_store_that_sends_it() -> None:
    statement = statement_of(RECORDER.write("SELECT $1", 5))
    assert (statement.sql, statement.args) == ("SELECT $1", (5,))


def test_a_budget_adds_the_hops_of_each_request_and_says_who_missed_one() -> None:
    hops = (("read", ">feed"), ("decided", "<decide"), ("written", "<send"))
    stamps = [(1_000, ">feed"), (2_000, ">other"), (4_000, "<decide"), (9_500, "<send"), (21_000, ">feed")]
    table = budget_table("one", hops, [(0, 9_000), (20_000, 30_000)], stamps)
    assert [row[1] for row in table.rows] == [1.0, 3.0, 5.0, 0.0, 9.0]
    assert table.rows[-2][2] == 9.0
    assert table.rows[-1][0] == "measured end to end (1 of 2 met all hops)"


def test_an_impatient_buyer_does_not_repeat_what_was_rejected(hostile: HostileServer) -> None:
    hostile.has_dropped = True
    requests = [purchase(b"c", "k")]
    plan = Plan(Buyers(requests), [hostile.listener.getsockname()], clients=1, repeats_rejected=False)
    result = generate_load(plan)
    assert (result.is_finished, result.rejected, result.responses, hostile.keys) == (True, 1, 1, [b"k"])


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose path leaves room for sockets below it."""
    with private_directory() as folder:
        yield folder


def measured(short: Path, *arguments: str) -> dict[str, list[list[Any]]]:
    """The tables of a run by their titles' first words."""
    inherited = {name: environment().get(name, "") for name in ("PATH", "HOME")}
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--timeout", "180", "--json", str(short / "found.json"), *arguments],
        env={**inherited, "PYTHONPATH": str(ROOT), "TMPDIR": str(short)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert process.returncode == 0, process.stderr + process.stdout
    assert "audit clean" in process.stdout
    found = json.loads((short / "found.json").read_text())
    assert found["wrong"] == []
    assert [path.name for path in short.iterdir()] == ["found.json"]
    return {table["title"]: table["rows"] for table in found["tables"]}


def test_a_tiny_run_of_idle_and_budget_names_every_hop_and_the_floor(short: Path) -> None:
    tables = measured(short, "--sections", "idle,budget", "--size", "50")
    idle = {row[0]: row[1:] for row in tables.pop("Idle: one client, beside the floor")}
    assert {LIVEZ, CHECKOUT, PURCHASE} < set(idle)
    for name in (CHECKOUT, PURCHASE):
        _, _, floor_us, ratio, goal = idle[name]
        assert floor_us > idle[LIVEZ][0] / 2
        assert ratio > 0
        assert goal
    assert len(tables) == 2
    for rows in tables.values():
        assert len(rows) > 10
        assert all(row[1] >= 0 for row in rows)
        met = re.search(r"\((\d+) of 45 met all hops\)", rows[-1][0])
        assert met
        assert int(met[1]) >= 40, "on a busy machine one or two may meet them in another order"


def test_a_tiny_run_of_the_crowds_has_every_row(short: Path) -> None:
    options = ("--clients", "4,16", "--size", "100", "--sizes", "50", "--beside", "1,5", "--section-seconds", "0.3")
    storm = ("--storms", "outage", "--herd", "50", "--outage", "0.5")
    tables = measured(short, "--sections", "web,reads,overload,storms,cost", *options, *storm)
    web, reads, overload, storms, cost = tables.values()
    assert [row[0] for row in web] == ["1", "2", "2 ÷ 1"]
    assert all(row[1] > 0 for row in reads)
    assert len(reads) == 4
    assert [row[:2] for row in overload] == [["before", 16], ["overload", 160], ["after", 16]]
    ((name, herd, rate, *_, gap_seconds, _, _, _),) = storms
    assert (name, herd) == ("outage", 50)
    assert rate > 0
    assert gap_seconds > 0
    assert [row[:3] for row in cost] == [
        ["100", 4, 0],
        ["100", 16, 0],
        ["50", 16, 0],
        ["100", 16, 1],
        ["100", 16, 5],
    ]


def test_a_tiny_run_with_viewers_says_what_they_cost_and_how_late_they_hear(short: Path) -> None:
    options = ("--clients", "4", "--size", "100", "--viewers", "12")
    buying, watching = measured(short, "--sections", "viewers", *options).values()
    assert [row[0] for row in buying] == ["alone", "with viewers"]
    assert all(row[1] > 0 for row in buying)
    ((_, viewers, kept, _, _, _, megabytes, _, p50_ms, p99_ms, max_ms, lost),) = watching
    assert (viewers, lost) == (12, 0)
    assert kept > 0
    assert megabytes > 0
    assert 0 < p50_ms <= p99_ms <= max_ms < 5_000


def test_another_checkout_is_measured_in_turn_with_this_one(short: Path, tmp_path: Path) -> None:
    """The other one is this one again, reached through links."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    python = tmp_path / ".venv/bin/python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (tmp_path / "flash").symlink_to(ROOT / "flash")
    options = ("--against", str(tmp_path), "--clients", "4", "--size", "20", "--sections", "idle")
    rows = measured(short, *options)["This service and the other one, in turn"]
    assert all(row[2] > 0 and row[3] > 0 for row in rows if "CPU" not in row[0])
    assert len(rows) == 6


def test_a_tree_without_a_service_and_an_unknown_section_are_refused(tmp_path: Path) -> None:
    for wrong in (("--against", str(tmp_path)), ("--sections", "idle,speed")):
        process = subprocess.run(
            [sys.executable, "-m", "benchmarks", *wrong], cwd=ROOT, capture_output=True, timeout=60
        )
        assert process.returncode == 2
