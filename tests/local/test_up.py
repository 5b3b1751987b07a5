"""`flash up` as a person uses it: a real process with real stores, mostly over a stand-in for the service."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flash.config import environment
from flash.local.procfile import PACKAGED, PROJECT
from flash.local.runner import pid_file
from flash.testing.stores import private_directory

STUB = Path(__file__).with_name("stub_service.py")
GONE_SECONDS = 4.0
PATIENCE_SECONDS = 90.0
STORE_PID_FILES = {"PostgreSQL": "postgres/postmaster.pid", "Valkey": "valkey/valkey.pid"}


@dataclass
class Up:
    """A running `flash up`, its output so far, and the processes that it has started."""

    process: subprocess.Popen[str]
    data_dir: Path
    lines: list[str] = field(default_factory=list)

    def read_until(self, pattern: str, *, after: int = 0) -> re.Match[str]:
        """The first line from number `after` on that matches; reads on until there is one."""
        assert self.process.stdout is not None
        for line in self.lines[after:]:
            if found := re.search(pattern, line):
                return found
        for line in self.process.stdout:
            self.lines.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"{pattern!r} never came:\n{self.output}")

    def finish(self) -> int:
        """Read the rest; the exit code."""
        assert self.process.stdout is not None
        self.lines += self.process.stdout.readlines()
        return self.process.wait()

    def stop(self, how: signal.Signals) -> float:
        """Ask it to stop and check that it ends well; the seconds that took."""
        began = time.monotonic()
        self.process.send_signal(how)
        assert self.finish() == 0, self.output
        return time.monotonic() - began

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def store_pid(self, name: str) -> int:
        return int((self.data_dir / STORE_PID_FILES[name]).read_text().split()[0])

    def left_over(self) -> list[str]:
        """The command lines of whatever still runs on behalf of this data directory."""
        return [line for _, line in our_processes(self.data_dir)]


def our_processes(data_dir: Path) -> list[tuple[int, str]]:
    """Everything that runs with `data_dir` in its command line or environment, except `flash up` itself."""
    listed = subprocess.run(["ps", "axeww", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    pairs = (line.strip().partition(" ") for line in listed.splitlines())
    return [(int(pid), args) for pid, _, args in pairs if f"{data_dir}/" in args and "flash up" not in args]


def wait_nothing_left(up: Up) -> None:
    """These are not our children, so nothing announces their end."""
    deadline = time.monotonic() + 20
    while up.left_over() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert up.left_over() == []


def procfile(folder: Path, **kinds: str) -> Path:
    """A Procfile whose entries are stand-ins: name=kind."""
    path = folder / "Procfile"
    path.write_text("".join(f"{name}: exec python {STUB} {kind}\n" for name, kind in kinds.items()))
    return path


@contextlib.contextmanager
def flash_up(
    data_dir: Path, *arguments: str | Path, cwd: Path | None = None, stdout: int = subprocess.PIPE, **settings: str
) -> Iterator[Up]:
    """Start `flash up`; whatever happens, nothing of it is left at the end."""
    inherited = {name: environment().get(name, "") for name in ("PATH", "HOME")}
    env = {**inherited, "PYTHONPATH": str(PROJECT), "FLASH_DATA_DIR": str(data_dir), "PORT": "0", **settings}
    with subprocess.Popen(
        [sys.executable, "-m", "flash", "up", *arguments],
        cwd=cwd,
        env=env,
        stdout=stdout,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        guard = threading.Timer(PATIENCE_SECONDS, process.kill)  # a test that hangs fails instead
        guard.start()
        try:
            yield Up(process, data_dir)
        finally:
            guard.cancel()
            process.kill()
            for pid, _ in our_processes(data_dir):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def folder() -> Iterator[Path]:
    with private_directory() as path:
        yield path


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_serves_prints_how_to_buy_and_is_gone_in_time(folder: Path, how: signal.Signals) -> None:
    stubs = procfile(folder, web="web", inventory="inventory")
    with flash_up(folder / "data", "-f", stubs, "-c", "web=2,inventory=1") as up:
        port = int(up.read_until(r"serving +http://localhost:(\d+) ").group(1))
        assert f"http://localhost:{port + 1}" in up.read_until("serving").string
        checkout = f"curl -sX POST 'http://localhost:{port}/checkout?user_id=me&id=70001'"
        assert up.read_until("^  checkout ").string == f"  checkout  {checkout}\n"
        assert up.read_until("^  purchase ").string == (
            f"""  purchase  curl -sX POST "http://localhost:{port}/purchase?code=$({checkout} | cut -d'"' -f4)"\n"""
        )
        assert str(folder / "data") in up.read_until("^  data ").string
        assert "Ctrl-C" in up.read_until("^  stop ").string
        assert len(up.left_over()) >= 5  # two stores, three stand-ins
        assert up.stop(how) < GONE_SECONDS
        assert "Traceback" not in up.output
        assert up.left_over() == []


def test_the_second_start_finds_the_data_of_the_first(folder: Path) -> None:
    stubs = procfile(folder, web="web")
    made = []
    for _ in range(2):
        with flash_up(folder / "data", "-f", stubs, "-c", "web=1") as up:
            up.read_until("stop +Ctrl-C")
            cluster = folder / "data" / "postgres" / "global" / "pg_control"
            made.append(cluster.stat().st_ino)
            up.stop(signal.SIGTERM)
    assert made[0] == made[1]


def test_a_second_signal_does_not_break_the_cleanup(folder: Path) -> None:
    stubs = procfile(folder, web="web", inventory="deaf")
    with flash_up(folder / "data", "-f", stubs, "-c", "web=1,inventory=1") as up:
        up.read_until("stop +Ctrl-C")
        up.read_until("deaf pid=")
        began = time.monotonic()
        up.process.send_signal(signal.SIGINT)
        up.read_until("web.1 stopped")
        up.process.send_signal(signal.SIGINT)
        assert up.finish() == 0, up.output
        assert time.monotonic() - began < GONE_SECONDS + 1  # killing it takes most of the time: room for a busy machine
        assert re.search(r"inventory.1 did not stop within \S+ s and was killed", up.output)
        assert up.left_over() == []


def test_a_signal_during_the_start_stops_everything(folder: Path) -> None:
    stubs = procfile(folder, web="web")
    with flash_up(folder / "data", "-f", stubs, "-c", "web=2") as up:
        up.read_until("system +[|] web.. started")
        assert up.stop(signal.SIGTERM) < GONE_SECONDS
        assert up.left_over() == []


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
    path.write_text(f"web: exec python {STUB} web\njob: python {STUB} inventory; echo never\n")  # without `exec`
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
    with flash_up(folder / "data", "-f", procfile(folder, web="web", inventory="deaf"), "-c", "web=1") as up:
        deaf = int(up.read_until(r"deaf pid=(\d+)").group(1))
        up.read_until("stop +Ctrl-C")
        up.process.kill()
        up.process.wait()
        with flash_up(folder / "data", "-f", procfile(folder, web="web"), "-c", "web=1") as following:
            following.read_until("stop +Ctrl-C")
            assert deaf not in [pid for pid, _ in our_processes(folder / "data")]
            following.stop(signal.SIGTERM)
        assert not pid_file(folder / "data").exists()


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


def test_nobody_reading_its_output_is_no_reason_to_stop(folder: Path) -> None:
    read_end, write_end = os.pipe()
    with flash_up(folder / "data", "-f", procfile(folder, web="web"), "-c", "web=1", stdout=write_end) as up:
        os.close(write_end)
        with open(read_end) as output:
            up.process.stdout = output
            pid = int(up.read_until(r"web pid=(\d+)").group(1))
            up.read_until("stop +Ctrl-C")
        up.process.stdout = None
        os.kill(pid, signal.SIGUSR1)
        deadline = time.monotonic() + 20
        while (
            not re.search(r"web\.1", pid_file(up.data_dir).read_text())
            or str(pid) in up.data_dir.joinpath("log", "processes.pid").read_text()
        ):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        up.process.terminate()
        assert up.process.wait() == 0
        assert up.left_over() == []


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_gets_colours_unless_they_are_unwanted(folder: Path, no_color: str, coloured: bool) -> None:
    ours, theirs = pty.openpty()
    stubs = procfile(folder, web="web")
    with flash_up(folder / "data", "-f", stubs, "-c", "web=1", stdout=theirs, NO_COLOR=no_color) as up:
        os.close(theirs)
        text = b""
        while b"Ctrl-C" not in text:
            text += os.read(ours, 4096)
        assert (b"\x1b[36m" in text) is coloured
        up.process.terminate()
        with contextlib.suppress(OSError):  # that is how a terminal says that nobody writes any more
            while os.read(ours, 4096):
                pass
        assert up.process.wait() == 0
        os.close(ours)


def test_a_taken_port_is_one_sentence_and_exit_code_1(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with flash_up(folder / "data", "-f", procfile(folder, web="web"), PORT=str(port)) as up:
            assert up.finish() == 1
            assert (
                up.output
                == f"flash: port {port} is taken on 127.0.0.1: stop what uses it, or set PORT to another one\n"
            )
            assert up.left_over() == []


def test_a_second_one_in_the_same_directory_is_told_who_the_first_is(folder: Path) -> None:
    stubs = procfile(folder, web="web")
    with flash_up(folder / "data", "-f", stubs, "-c", "web=1") as first:
        first.read_until("stop +Ctrl-C")
        with flash_up(folder / "data", "-f", stubs, "-c", "web=1") as second:
            assert second.finish() == 1
            assert f"flash: `flash up` is already running here (pid {first.process.pid}," in second.output


def test_data_of_another_postgresql_version_is_one_sentence_and_exit_code_1(folder: Path) -> None:
    (folder / "postgres").mkdir(0o700)
    (folder / "postgres" / "PG_VERSION").write_text("16\n")
    with flash_up(folder, "-f", procfile(folder, web="web")) as up:
        assert up.finish() == 1
        assert len(up.lines) == 1
        assert "holds data of PostgreSQL 16, the embedded one is 18" in up.output


def test_given_urls_are_used_and_no_store_is_started(folder: Path, postgres: str) -> None:
    stubs = procfile(folder, web="web")
    with flash_up(folder / "data", "-f", stubs, "-c", "web=1", DATABASE_URL=postgres, REDIS_URL="redis://h:1/0") as up:
        assert up.read_until("pid=.* database=(.*)").group(1) == postgres
        up.read_until("stop +Ctrl-C")
        up.stop(signal.SIGTERM)
    assert not (folder / "data" / "postgres").exists()


def test_a_dot_env_file_overrides_nothing(folder: Path) -> None:
    (folder / ".env").write_text("DATABASE_URL=postgresql://elsewhere/x\n")
    stubs = procfile(folder, web="web")
    with flash_up(folder / "data", "-f", stubs, "-c", "web=1", cwd=folder) as up:
        assert "elsewhere" not in up.read_until("pid=.* database=(.*)").group(1)
        up.read_until("stop +Ctrl-C")
        up.stop(signal.SIGTERM)


def test_the_printed_commands_buy_an_item_of_the_real_service_in_an_empty_directory(folder: Path) -> None:
    (folder / "empty").mkdir()
    with flash_up(folder / "data", "-c", "web=1,inventory=1", cwd=folder / "empty") as up:
        command = up.read_until("purchase +(curl .*)").group(1)
        up.read_until("stop +Ctrl-C")
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
        assert '"Purchase successful"' in done.stdout
        assert up.stop(signal.SIGTERM) < GONE_SECONDS
        assert "Traceback" not in up.output
        assert up.left_over() == []


def test_the_procfile_of_the_current_directory_comes_before_the_packaged_one(folder: Path) -> None:
    procfile(folder, web="web")
    with flash_up(folder / "data", "-c", "web=1", cwd=folder) as up:
        up.read_until("web pid=")
        up.read_until("stop +Ctrl-C")
        up.stop(signal.SIGTERM)


def test_the_packaged_procfile_is_the_one_of_the_project() -> None:
    assert PACKAGED.read_bytes() == (PROJECT / "Procfile").read_bytes()


def test_a_concurrency_that_is_wrong_is_wrong_usage(folder: Path) -> None:
    stubs = procfile(folder, web="web")
    cases: list[tuple[tuple[str | Path, ...], str]] = [
        (("-c", "web=x"), "flash: -c web=x: expected something like web=1,inventory=2\n"),
        (("-c", "wbe=1"), f"flash: -c wbe=1: {stubs} has no wbe, only web\n"),
        (("-f", folder / "none"), f"flash: {folder / 'none'} cannot be used: No such file or directory\n"),
    ]
    for arguments, message in cases:
        with flash_up(folder / "data", "-f", stubs, *arguments) as up:
            assert (up.finish(), up.output) == (2, message)
