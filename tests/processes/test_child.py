"""One child process: how it is waited for, stopped, and what of its group goes with it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import pytest
import trio

from flash.local.embedded import leftovers
from flash.processes.child import PIPE, Child
from flash.processes.launch import FAILED
from flash.processes.run_as import ourselves
from flash.testing.cluster import until

SLEEPER = "import time; time.sleep(99)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); " + SLEEPER
SECONDS = 10.0


def python(code: str, *, own_session: bool = False) -> Child:
    return Child("test", [sys.executable, "-c", code], stdout=PIPE, own_session=own_session)


async def first_line(child: Child) -> str:
    """What it prints first; its output is not read any further."""
    line = b""
    async with child.output() as output:
        while not line.endswith(b"\n"):  # an unbuffered Python writes text and newline separately
            line += await output.receive_some()
    return line.decode().strip()


@pytest.fixture(params=["pidfd", "thread"])
def each_way_to_wait(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Linux, and as on a system without pidfd_open."""
    if request.param == "thread":
        monkeypatch.delattr(os, "pidfd_open")
    elif not hasattr(os, "pidfd_open"):
        pytest.skip("this system has no pidfd_open")


@pytest.mark.usefixtures("each_way_to_wait")
async def test_any_number_of_tasks_learn_the_exit_code() -> None:
    child = python("input(); raise SystemExit(7)")
    codes = []

    async def wait() -> None:
        codes.append(await child.wait())

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
        assert codes == [1, 1, 1], "stdin is /dev/null"
        assert await child.wait() == child.poll() == 1
    await child.output().aclose()


@pytest.mark.usefixtures("each_way_to_wait")
async def test_a_cancelled_wait_changes_nothing() -> None:
    child = python(SLEEPER)
    with trio.move_on_after(0.05) as waiting:
        await child.wait()
    assert waiting.cancelled_caught
    assert child.is_running()
    child.kill()
    with trio.fail_after(SECONDS):
        assert await child.wait() == -signal.SIGKILL
    await child.output().aclose()


async def test_a_child_stops_at_the_first_signal_that_it_hears() -> None:
    child = python("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); " + SLEEPER)
    assert await first_line(child) == "1"
    assert not await child.stop([(signal.SIGTERM, 0.1), (signal.SIGINT, SECONDS)])
    assert child.poll() not in (None, -signal.SIGKILL)


async def test_a_deaf_child_is_killed_even_if_we_are_cancelled_meanwhile() -> None:
    child = python(DEAF)
    assert await first_line(child) == "deaf"
    with trio.CancelScope() as scope:
        scope.cancel()
        assert await child.stop([(signal.SIGTERM, 0.05)])
    assert child.poll() == -signal.SIGKILL


def test_without_an_event_loop_it_stops_the_same_way() -> None:
    quick, deaf = python(SLEEPER), python(DEAF)
    for child in (quick, deaf):
        assert child.stdout is not None
        if child is deaf:
            assert child.stdout.readline() == b"deaf\n"
        child.stdout.close()
    assert not quick.stop_blocking([(signal.SIGTERM, SECONDS)])
    assert deaf.stop_blocking([(signal.SIGTERM, 0.05)])
    assert (quick.poll(), deaf.poll()) == (-signal.SIGTERM, -signal.SIGKILL)


async def test_stopping_the_group_ends_what_the_child_has_started_even_after_its_own_death() -> None:
    grandchild = f"subprocess.Popen([sys.executable, '-c', {SLEEPER!r}]).pid"
    child = python(f"import subprocess, sys; print({grandchild}, flush=True)", own_session=True)
    pid = int(await first_line(child))
    with trio.fail_after(SECONDS):
        assert await child.wait() == 0
    os.kill(pid, 0)
    assert not await child.stop([(signal.SIGTERM, SECONDS)], to_group=True)
    with pytest.raises(ProcessLookupError):
        os.killpg(child.pid, 0)


async def test_a_paused_child_goes_on_when_it_is_resumed() -> None:
    child = python("print(1, flush=True); input()")
    child.pause()
    child.resume()
    assert await first_line(child) == "1"
    with trio.fail_after(SECONDS):
        assert await child.wait() == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends children with their parent")
async def test_a_death_signal_ends_the_child_with_its_parent() -> None:
    script = (
        "import signal, sys; from pathlib import Path; from flash.processes.child import Child\n"
        f"child = Child('it', [sys.executable, '-c', {SLEEPER!r}], stderr=None, death_signal=signal.SIGTERM)\n"
        "print(child.pid, flush=True); import time; time.sleep(99)"
    )
    parent = python(script)
    pid = int(await first_line(parent))
    parent.kill()
    await parent.wait()
    with trio.fail_after(SECONDS):
        await until(lambda: not leftovers.has_argument(pid, "time.sleep(99)"))


def test_a_child_started_in_a_thread_is_not_tied_to_that_thread() -> None:
    started = []

    def start() -> None:
        started.append(Child("it", [sys.executable, "-c", SLEEPER], death_signal=signal.SIGTERM))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert started[0].wait_blocking(0.2) is None
    started[0].stop_blocking([(signal.SIGKILL, SECONDS)])


def test_the_launcher_enters_the_directory(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import os; os.mkdir('made')"]
    child = Child("it", command, directory=tmp_path, run_as=ourselves())
    assert child.wait_blocking(SECONDS) == 0
    assert (tmp_path / "made").is_dir()


def test_a_program_that_cannot_be_started_is_an_exit_code_and_a_line(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        child = Child("it", [str(tmp_path / "none")], stderr=log, run_as=ourselves())
    assert child.wait_blocking(SECONDS) == FAILED
    assert (tmp_path / "log").read_text().startswith("launch: ")
