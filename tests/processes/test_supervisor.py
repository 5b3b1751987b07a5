"""What keeps processes running, and several web processes behind one port: shared, drained and ended together."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from flash.local.embedded import EmbeddedValkey, leftovers
from flash.processes.supervisor import (
    QUICK_DEATH_SECONDS,
    QUICK_DEATHS_MAX,
    CrashLoop,
    Supervisor,
    explain,
    keep_running,
)
from flash.testing.client import Client
from flash.testing.cluster import Cluster, Process, running_cluster, until

LISTENING = r"listening on (http://\S+)"


async def start_two(cluster: Cluster) -> tuple[Process, str]:
    """One `flash web` of two processes, both serving, and their address."""
    process = await cluster.start("web", WEB_CONCURRENCY="2")
    first = await process.wait_for(LISTENING)
    await process.wait_for(LISTENING, after=first.end())
    return process, first.group(1)


def started(process: Process) -> list[int]:
    """The pids of the web processes, in the order in which they were started."""
    return [int(pid) for pid in re.findall(r"web process \d started \(pid (\d+)\)", process.log)]


async def wait_gone(pid: int) -> None:
    """Until that web process has ended. It is not our child, so nothing announces that."""
    await until(lambda: not leftovers.has_argument(pid, "flash web"), seconds=10)


async def test_two_processes_share_a_port_and_a_dead_one_is_replaced_while_the_other_serves(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    async with running_cluster(postgres, valkey.url, inventory=1) as (cluster, _):
        process, address = await start_two(cluster)
        os.kill(started(process)[0], signal.SIGKILL)
        heard = len(process.log)
        statuses = set()
        with trio.move_on_after(20) as waiting:
            while not re.search(LISTENING, process.log[heard:]):
                with suppress(OSError):
                    async with Client(address) as client:
                        statuses.add((await client.get("/livez")).status)
        assert not waiting.cancelled_caught, process.log
        assert statuses == {200}
        assert "ended with exit code -9" in process.log
        assert len(started(process)) == 3
        process.terminate()
        assert await process.wait() == 0
        with pytest.raises(OSError, match=r"refused|all attempts to connect"):
            await Client(address).get("/livez")


async def test_the_processes_end_when_their_supervisor_is_killed(postgres: str, valkey: EmbeddedValkey) -> None:
    async with running_cluster(postgres, valkey.url) as (cluster, _):
        process, _ = await start_two(cluster)
        children = started(process)
        assert len(children) == 2
        process.kill()
        for child in children:
            await wait_gone(child)


async def test_the_processes_end_with_their_supervisor_while_they_wait_for_postgresql(
    valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    async with running_cluster(f"postgresql://x@/x?host={tmp_path}", valkey.url) as (cluster, _):
        process = await cluster.start("web", WEB_CONCURRENCY="2")
        first = await process.wait_for("waiting for PostgreSQL")
        await process.wait_for("waiting for PostgreSQL", after=first.end())
        process.kill()
        for child in started(process):
            await wait_gone(child)


async def test_the_processes_see_the_environment_of_their_supervisor(postgres: str, valkey: EmbeddedValkey) -> None:
    nobody = postgres.replace("flash@", "")
    assert nobody != postgres
    async with running_cluster(nobody, valkey.url) as (cluster, _):
        process = await cluster.start("web", WEB_CONCURRENCY="2", PGUSER="flash")
        await process.wait_for(LISTENING)


async def test_a_crash_loop_ends_with_a_message_that_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('the disk is on fire')"]
    supervisor = Supervisor("web", command, 2, (), stop_seconds=2, backoff_seconds=0.001)
    with pytest.raises(ExceptionGroup) as caught:
        await supervisor.run(trio.Event())
    for error in caught.value.exceptions:  # of one copy, or of both at once
        assert isinstance(error, CrashLoop)
        assert re.search("web process . keeps dying right after its start .*: its messages above say why", str(error))
    assert capfd.readouterr().err.count("the disk is on fire") >= QUICK_DEATHS_MAX


class Lives:
    """A process that lives for as long as the next of `seconds`, then ends with exit code 7."""

    def __init__(self, seconds: Sequence[float]) -> None:
        self._seconds = iter(seconds)
        self.started_at: list[float] = []

    async def run(self) -> int:
        self.started_at.append(trio.current_time())
        await trio.sleep(next(self._seconds))
        return 7


async def test_the_pause_before_a_restart_doubles_with_each_quick_death_until_that_is_a_crash_loop(
    autojump_clock: MockClock,
) -> None:
    lives, reports = Lives([1] * QUICK_DEATHS_MAX), list[str]()
    with pytest.raises(
        CrashLoop, match=r"it keeps dying .*5 times in a row, the last one ended with exit code 7.*: why"
    ):
        await keep_running("it", lives.run, trio.Event(), report=reports.append, why=lambda: "why")
    began = lives.started_at[0]
    assert [at - began for at in lives.started_at] == pytest.approx([0, 1.4, 3.2, 5.8, 8.8])
    assert reports[0] == "it ended with exit code 7 after 1.0 s; starting it again in 0.4 s"
    assert len(reports) == QUICK_DEATHS_MAX - 1


async def test_a_life_that_is_long_enough_starts_the_count_anew(autojump_clock: MockClock) -> None:
    lives = Lives([1, 1, 1, 1, QUICK_DEATH_SECONDS, 1, 1, 1, 1, 1])
    with pytest.raises(CrashLoop):
        await keep_running("it", lives.run, trio.Event(), report=lambda _: None)
    assert len(lives.started_at) == 10


async def test_a_death_after_the_stop_is_neither_reported_nor_followed_by_another_life(
    autojump_clock: MockClock,
) -> None:
    lives, reports, stop = Lives([60]), list[str](), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(keep_running, "it", lives.run, stop, report=reports.append))
        await trio.sleep(30)
        stop.set()
    assert (len(lives.started_at), reports) == (1, [])


@pytest.mark.parametrize(("code", "text"), [(7, "7"), (0, "0"), (-9, "-9 (SIGKILL)"), (-200, "-200")])
def test_an_exit_code_is_explained(code: int, text: str) -> None:
    assert explain(code) == text


async def test_a_process_that_does_not_stop_is_killed() -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(99)"
    read_end, write_end = os.pipe()
    code = f"import os; os.dup2({write_end}, 1); {deaf}"
    supervisor = Supervisor("web", [sys.executable, "-c", code], 1, (write_end,), stop_seconds=0.1)
    stop = trio.Event()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run, stop)
            await trio.lowlevel.wait_readable(read_end)
            stop.set()
    finally:
        os.close(read_end)
        os.close(write_end)
