"""Short drills from the command line, as real processes: a clean one, and one of a service that is wrong on purpose."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

from flash.config import environment
from flash.testing.stores import private_directory

ROOT = Path(__file__).resolve().parents[2]
MAIN_FAULTS = (
    *("kill-leader", "pause-leader", "kill-web", "flush-redis", "freeze-redis", "crash-postgres"),
    *("cut-leader-redis", "lose-answers", "hang-connections"),
)
ONE = ("--web", "1", "--inventory", "1")
TINY = ("--rounds", "1", "--every", "0", "--inventory", "2", "--size", "500", "--seconds", "60", "--seed", "889")
_LINE = re.compile(
    r"\{:index (\d+), :time (\d+), :process (:nemesis|\d+), :type :(\w+), :f :(\S+), :value (.+?)(, :error :\S+)?\}"
)


def drill(folder: Path, *arguments: str, module: str = "drill") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=environment(TMPDIR=str(folder)),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


class Foreign(HTMLParser):
    """Collects whatever a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [f"{tag} {value}" for name, value in attributes if name in ("src", "href") and value != "data:,"]
        self.found += [tag] if tag == "script" else []


def test_a_drill_over_the_main_faults_finds_nothing_wrong() -> None:
    with private_directory() as folder:
        report, history = folder / "drill.html", folder / "drill.edn"
        done = drill(
            folder, "--faults", ",".join(MAIN_FAULTS), *TINY, "--report", str(report), "--history", str(history)
        )
        assert done.returncode == 0, done.stdout + done.stderr
        for name in MAIN_FAULTS:
            assert re.search(rf"^  {name} +1 ", done.stdout, re.M), done.stdout
        for check in ("lost", "unexpected", "false refusals", "audit", "commits of a deposed leader"):
            assert re.search(rf"^  {check} +0$", done.stdout, re.M), done.stdout
        assert re.search(r"[1-9]\d* take-overs", done.stdout)
        page = report.read_text()
        foreign = Foreign()
        foreign.feed(page)
        assert foreign.found == []
        assert page.count('class="fault ') == len(MAIN_FAULTS)
        check_history(history.read_text().splitlines())


def check_history(lines: list[str]) -> None:
    """What Jepsen's `set` checker computes, and what it takes for granted of a history."""
    attempts, added, read, busy, ended = set[str](), set[str](), set[str](), dict[str, str](), set[str]()
    times = []
    for index, line in enumerate(lines):
        found = _LINE.fullmatch(line)
        assert found, line
        assert int(found[1]) == index
        times.append(int(found[2]))
        process, kind, value = found[3], found[4], found[6]
        if process == ":nemesis":
            continue
        if kind == "invoke":
            assert process not in busy.keys() | ended, "one call at a time, and none after an :info"
            busy[process] = value
            attempts.add(value)
        else:
            started = busy.pop(process)
            if found[5] == "add":
                assert started == value
                added |= {value} if kind == "ok" else set()
                ended |= {process} if kind == "info" else set()
            else:
                read = set(value.removeprefix("#{").removesuffix("}").split())
    assert times == sorted(times)
    assert not busy
    assert len(added) > 20
    assert added <= read <= attempts


def test_a_drill_in_which_a_purchase_is_lost_fails_with_the_evidence() -> None:
    with private_directory() as folder:
        evidence = folder / "evidence"
        options = ("--faults", "flush-redis", *TINY, *ONE, "--evidence", str(evidence))
        done = drill(folder, *options, module="tests.drill.broken")
        assert done.returncode == 1, done.stdout + done.stderr
        assert "NOT CLEAN" in done.stdout
        assert "an acknowledged purchase is missing" in done.stdout
        assert re.search(r"^  audit +\d+  WRONG$", done.stdout, re.M)
        kept = {file.name for file in evidence.iterdir()}
        assert {"PostgreSQL.log", "Valkey.log"} <= kept
        assert any(name.startswith("inventory.") for name in kept)


def test_a_drill_of_a_service_without_a_fence_names_who_sold_after_his_term() -> None:
    with private_directory() as folder:
        options = ("--faults", "late-commit", *TINY, "--web", "1", "--evidence", str(folder / "evidence"))
        done = drill(folder, *options, module="tests.drill.broken")
        assert done.returncode == 1, done.stdout + done.stderr
        assert re.search(r"^  commits of a deposed leader +\d+  WRONG$", done.stdout, re.M), done.stdout + done.stderr
        assert re.search(r"inventory\.\d+ sold \d+ items of sale 1 in epoch", done.stdout)
