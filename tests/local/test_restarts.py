"""What dies under `flash up` is started again, up to a limit; a killed `flash up` leaves nothing that lasts."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flash.config import environment
from flash.local.ports import any_port
from flash.local.runner import pid_file
from tests.local.running import (
    STORE_PID_FILES,
    STUB,
    flash_up,
    our_processes,
    procfile,
    wait_gone,
    wait_nothing_left,
)


def test_a_process_that_dies_is_started_again_and_nothing_else_is(folder: Path) -> None:
    stubs = procfile(folder, web="web", inventory="inventory")
    with flash_up(folder / "data", "-f", stubs, "-c", "web=1,inventory=1") as up:
        pid = int(up.read_until(r"inventory pid=(\d+)").group(1))
        up.read_until("stop +Ctrl-C")
        heard = len(up.lines)
        os.kill(pid, signal.SIGUSR1)
        up.read_until(r"system +[|] inventory.1 ended with exit code 7 after .* starting it again in", after=heard)
        assert int(up.read_until(r"inventory pid=(\d+)", after=heard).group(1)) != pid
        up.stop(signal.SIGTERM)
        assert len(re.findall(r"system +[|] web.1 started", up.output)) == 1
        assert up.left_over() == []


def test_what_a_dead_process_has_started_is_stopped_before_it_is_started_again(folder: Path) -> None:
    path = folder / "Procfile"
    quoted = shlex.quote(str(STUB))
    path.write_text(f"web: exec python {quoted} web\njob: python {quoted} inventory; echo never\n")  # without `exec`
    with flash_up(folder / "data", "-f", path, "-c", "web=1,job=1") as up:
        shell = int(up.read_until(r"job.1 started \(pid=(\d+)\)").group(1))
        started = int(up.read_until(r"inventory pid=(\d+)").group(1))
        up.read_until("stop +Ctrl-C")
        heard = len(up.lines)
        os.kill(shell, signal.SIGKILL)
        up.read_until("job.1 started", after=heard)
        assert started not in [pid for pid, _ in our_processes(folder / "data")]
        up.stop(signal.SIGTERM)
        assert up.left_over() == []


def test_a_process_that_keeps_dying_ends_everything_and_is_named(folder: Path) -> None:
    stubs = procfile(folder, web="web", inventory="broken")
    with flash_up(folder / "data", "-f", stubs, "-c", "web=1,inventory=1") as up:
        assert up.finish() == 1
        assert "inventory.1 | the disk is on fire" in up.output
        assert re.search(
            r"^flash: inventory.1 keeps dying right after its start \(5 times in a row, "
            r"the last one ended with exit code 3\): its messages above say why$",
            up.output,
            re.MULTILINE,
        )
        assert "Traceback" not in up.output
        assert up.left_over() == []


@pytest.mark.parametrize("name", STORE_PID_FILES)
def test_a_store_that_dies_is_started_again(folder: Path, name: str) -> None:
    stubs = procfile(folder, web="web")
    with flash_up(folder / "data", "-f", stubs, "-c", "web=1") as up:
        up.read_until("stop +Ctrl-C")
        os.kill(up.store_pid(name), signal.SIGKILL)
        up.read_until(rf"system +[|] {name} ended with exit code -9 \(SIGKILL\) after")
        pid = int(up.read_until(rf"system +[|] {name} is back \(pid (\d+)\)").group(1))
        assert pid == up.store_pid(name)
        up.stop(signal.SIGTERM)
        assert up.left_over() == []


def test_a_store_that_keeps_dying_ends_everything_with_the_reason_from_its_log(folder: Path) -> None:
    stubs = procfile(folder, web="web")
    with flash_up(folder / "data", "-f", stubs, "-c", "web=1") as up:
        up.read_until("stop +Ctrl-C")
        (folder / "data" / "postgres" / "global" / "pg_control").unlink()
        os.kill(up.store_pid("PostgreSQL"), signal.SIGKILL)
        assert up.finish() == 1
        assert re.search(
            r"^flash: PostgreSQL keeps dying right after its start .*: .*pg_control.* \(see .*postgresql\.log\)$",
            up.output,
            re.MULTILINE,
        )
        assert up.left_over() == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends children with their parent")
def test_killing_flash_up_leaves_nothing_and_the_next_start_works(folder: Path) -> None:
    stubs = procfile(folder, web="web")
    with flash_up(folder / "data", "-f", stubs, "-c", "web=1") as up:
        up.read_until("stop +Ctrl-C")
        up.process.kill()
        up.process.wait()
        wait_nothing_left(up)
    with flash_up(folder / "data", "-f", stubs, "-c", "web=1") as up:
        up.read_until("stop +Ctrl-C")
        up.stop(signal.SIGTERM)


def test_a_process_that_a_killed_run_left_behind_is_ended_by_the_next_start(folder: Path) -> None:
    port = str(any_port("127.0.0.1"))  # what is left behind holds the port that the next start needs
    with flash_up(folder / "data", "-f", procfile(folder, web="deaf-web"), "-c", "web=1", PORT=port) as up:
        deaf = int(up.read_until(r"deaf-web pid=(\d+)").group(1))
        up.read_until("stop +Ctrl-C")
        up.process.kill()
        up.process.wait()
        with flash_up(folder / "data", "-f", procfile(folder, web="web"), "-c", "web=1", PORT=port) as following:
            following.read_until("stop +Ctrl-C")
            assert deaf not in [pid for pid, _ in our_processes(folder / "data")]
            following.stop(signal.SIGTERM)
        assert not pid_file(folder / "data").exists()


def test_what_a_killed_run_left_behind_is_ended_though_its_shell_is_gone(folder: Path) -> None:
    path = folder / "Procfile"
    quoted = shlex.quote(str(STUB))
    path.write_text(f"web: exec python {quoted} web\njob: python {quoted} inventory; echo never\n")  # without `exec`
    with flash_up(folder / "data", "-f", path, "-c", "web=1,job=1") as up:
        shell = int(up.read_until(r"job.1 started \(pid=(\d+)\)").group(1))
        started = int(up.read_until(r"inventory pid=(\d+)").group(1))
        up.read_until("stop +Ctrl-C")
        up.process.kill()
        up.process.wait()
        wait_gone(up, shell)
        assert started in [pid for pid, _ in our_processes(folder / "data")]
        with flash_up(folder / "data", "-f", procfile(folder, web="web"), "-c", "web=1") as following:
            following.read_until("stop +Ctrl-C")
            assert started not in [pid for pid, _ in our_processes(folder / "data")]
            following.stop(signal.SIGTERM)


def test_a_process_of_somebody_else_whose_number_was_used_again_is_left_alone(folder: Path) -> None:
    (folder / "data" / "log").mkdir(parents=True, mode=0o700)
    with subprocess.Popen([sys.executable, STUB, "inventory"], env=environment(DATABASE_URL="")) as other:
        try:
            pid_file(folder / "data").write_text(f"{other.pid} web.1\n")
            with flash_up(folder / "data", "-f", procfile(folder, web="web"), "-c", "web=1") as up:
                up.read_until("stop +Ctrl-C")
                up.stop(signal.SIGTERM)
            assert other.poll() is None
        finally:
            other.kill()
