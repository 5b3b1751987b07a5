"""`flash up` as a person uses it: a real process with real stores, mostly over a stand-in for the service."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
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
from flash.errors import OperatorError
from flash.local.procfile import PROJECT, honcho_pid_file
from flash.local.up import any_port, is_free, parse_concurrency
from flash.testing.stores import private_directory

STUB = Path(__file__).with_name("stub_service.py")
GONE_SECONDS = 4.0
PATIENCE_SECONDS = 90.0


@dataclass
class Up:
    """A running `flash up`, its output so far, and the processes that it has started."""

    process: subprocess.Popen[str]
    data_dir: Path
    lines: list[str] = field(default_factory=list)

    def read_until(self, pattern: str) -> re.Match[str]:
        """The first line that matches; reads on until there is one. The processes' lines come in any order."""
        assert self.process.stdout is not None
        for line in self.lines:
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
        """Ask it to stop and see it end well; the seconds that took."""
        began = time.monotonic()
        self.process.send_signal(how)
        assert self.finish() == 0, self.output
        return time.monotonic() - began

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def left_over(self) -> list[str]:
        """The command lines of whatever still runs on behalf of this data directory."""
        return [line for _, line in our_processes(self.data_dir)]


def our_processes(data_dir: Path) -> list[tuple[int, str]]:
    """Everything that runs with `data_dir` in its command line or environment, but `flash up` itself."""
    listed = subprocess.run(["ps", "axeww", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    pairs = (line.strip().partition(" ") for line in listed.splitlines())
    return [(int(pid), args) for pid, _, args in pairs if f"{data_dir}/" in args and "flash up" not in args]


def procfile(folder: Path, **kinds: str) -> Path:
    """A Procfile whose entries are stand-ins: name=kind."""
    path = folder / "Procfile"
    path.write_text("".join(f"{name}: exec python {shlex.quote(str(STUB))} {kind}\n" for name, kind in kinds.items()))
    return path


@contextlib.contextmanager
def flash_up(data_dir: Path, *arguments: str | Path, **settings: str) -> Iterator[Up]:
    """Start `flash up`; whatever happens, nothing of it is left at the end."""
    inherited = {name: environment().get(name, "") for name in ("PATH", "HOME", "COVERAGE_PROCESS_CONFIG")}
    env = {**inherited, "PYTHONPATH": str(PROJECT), "FLASH_DATA_DIR": str(data_dir), "PORT": "0", **settings}
    with subprocess.Popen(
        [sys.executable, "-m", "flash", "up", *arguments],
        env=env,
        stdout=subprocess.PIPE,
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
        assert f"'http://localhost:{port}/checkout?user_id=me&id=70001'" in up.read_until("^  checkout ").string
        assert "CODE=$(curl" in up.read_until("^  purchase ").string
        assert str(folder / "data") in up.read_until("^  data ").string
        assert "Ctrl-C" in up.read_until("^  stop ").string
        assert len(up.left_over()) >= 6  # two stores, honcho, three stand-ins
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
        assert up.left_over() == []


def test_a_signal_during_the_start_stops_everything(folder: Path) -> None:
    stubs = procfile(folder, web="web")
    with flash_up(folder / "data", "-f", stubs, "-c", "web=2") as up:
        up.read_until("system +[|] web.. started")
        assert up.stop(signal.SIGTERM) < GONE_SECONDS
        assert up.left_over() == []


def test_a_process_that_dies_by_itself_stops_the_rest_and_is_named(folder: Path) -> None:
    stubs = procfile(folder, web="web", inventory="inventory")
    with flash_up(folder / "data", "-f", stubs, "-c", "web=1,inventory=1") as up:
        pid = int(up.read_until(r"inventory pid=(\d+)").group(1))
        up.read_until("stop +Ctrl-C")
        os.kill(pid, signal.SIGUSR1)
        assert up.finish() == 1
        assert "flash: inventory.1 has stopped by itself with exit code 7" in up.output
        assert up.left_over() == []


@pytest.mark.parametrize("name", ["postgres", "valkey"])
def test_a_store_that_dies_stops_everything_and_is_named(folder: Path, name: str) -> None:
    stubs = procfile(folder, web="web")
    with flash_up(folder / "data", "-f", stubs, "-c", "web=1") as up:
        up.read_until("stop +Ctrl-C")
        pid_file = {"postgres": "postgres/postmaster.pid", "valkey": "valkey/valkey.pid"}[name]
        os.kill(int((folder / "data" / pid_file).read_text().split()[0]), signal.SIGKILL)
        assert up.finish() == 1
        assert re.search(f"flash: {name}\\w* has died", up.output, re.IGNORECASE)
        assert up.left_over() == []


def test_killing_honcho_leaves_no_orphan(folder: Path) -> None:
    stubs = procfile(folder, web="web")
    with flash_up(folder / "data", "-f", stubs, "-c", "web=1") as up:
        up.read_until("stop +Ctrl-C")
        os.kill(int(honcho_pid_file(folder / "data").read_text()), signal.SIGKILL)
        assert up.finish() == 1
        assert "flash: honcho has stopped by itself" in up.output
        assert up.left_over() == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends children with their parent")
def test_killing_flash_up_leaves_nothing_and_the_next_start_works(folder: Path) -> None:
    stubs = procfile(folder, web="web")
    with flash_up(folder / "data", "-f", stubs, "-c", "web=1") as up:
        up.read_until("stop +Ctrl-C")
        up.process.kill()
        up.process.wait()
        deadline = time.monotonic() + 20
        while up.left_over() and time.monotonic() < deadline:
            time.sleep(0.05)  # these are no children of ours: nothing tells us of their end
        assert up.left_over() == []
    with flash_up(folder / "data", "-f", stubs, "-c", "web=1") as up:
        up.read_until("stop +Ctrl-C")
        up.stop(signal.SIGTERM)


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
            assert f"flash: `flash up` is running here already (pid {first.process.pid}," in second.output


def test_data_of_another_postgresql_version_is_one_sentence_and_exit_code_1(folder: Path) -> None:
    (folder / "postgres").mkdir(0o700)
    (folder / "postgres" / "PG_VERSION").write_text("16\n")
    with flash_up(folder, "-f", procfile(folder, web="web")) as up:
        assert up.finish() == 1
        assert len(up.lines) == 1
        assert "holds data of PostgreSQL 16, the embedded one is 18" in up.output


def test_given_urls_are_used_and_no_store_is_started(folder: Path, postgres: str) -> None:
    stubs = procfile(folder, web="web")
    settings = {"DATABASE_URL": postgres, "REDIS_URL": "redis://h:1/0"}
    with flash_up(folder / "data", "-f", stubs, "-c", "web=1", **settings) as up:
        assert up.read_until("pid=.* database=(.*)").group(1) == postgres
        up.read_until("stop +Ctrl-C")
        up.stop(signal.SIGTERM)
    assert not (folder / "data" / "postgres").exists()


def test_a_dot_env_file_overrides_nothing(folder: Path) -> None:
    (folder / ".env").write_text("DATABASE_URL=postgresql://elsewhere/x\n")
    with flash_up(folder / "data", "-f", procfile(folder, web="web"), "-c", "web=1") as up:
        assert "elsewhere" not in up.read_until("pid=.* database=(.*)").group(1)
        up.read_until("stop +Ctrl-C")
        up.stop(signal.SIGTERM)


def test_the_printed_commands_buy_an_item_of_the_real_service(folder: Path) -> None:
    with flash_up(folder / "data", "-c", "web=1,inventory=1") as up:
        command = up.read_until("purchase +(CODE=.*)").group(1)
        up.read_until("stop +Ctrl-C")
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
        assert '"Purchase successful"' in done.stdout
        assert up.stop(signal.SIGTERM) < GONE_SECONDS
        assert "Traceback" not in up.output
        assert up.left_over() == []


@pytest.mark.parametrize("text", ["web", "web=two", "web=1;inventory=2", "=", ""])
def test_a_concurrency_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(OperatorError, match="expected something like web=1,inventory=2"):
        parse_concurrency(text)


def test_a_free_port_is_told_from_a_taken_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert not is_free("127.0.0.1", taken.getsockname()[1])
    assert is_free("127.0.0.1", any_port("127.0.0.1"))
    with pytest.raises(OperatorError, match="is not an address of this machine"):
        is_free("no.such.host.invalid", 80)
