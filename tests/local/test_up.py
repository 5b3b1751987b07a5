"""`flash up` as a person uses it: what it prints, how it stops, and what it refuses."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from flash import __version__
from flash.config import environment
from flash.local.announcement import flash_command
from flash.local.ports import any_port
from flash.local.procfile import PACKAGED, PROJECT
from tests.certificates import make_certificate
from tests.local.running import (
    GONE_SECONDS,
    Up,
    flash_up,
    our_processes,
    procfile,
)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_serves_prints_how_to_buy_and_is_gone_in_time(folder: Path, how: signal.Signals) -> None:
    stubs = procfile(folder, web="web", inventory="inventory")
    with flash_up(folder / "data", "-f", stubs, "-c", "web=2,inventory=1") as up:
        up.read_until("^  starting web")
        assert up.lines == [
            f"flash {__version__}\n",
            "  starting PostgreSQL and Valkey\n",
            "  bringing the schema up to date\n",
            "  starting web.1, web.2, inventory.1\n",
        ]
        bought = up.read_until("^  buy +(.*)").group(1)
        address, second = up.read_until(r"^  (http://localhost:\d+)/   (http://localhost:\d+)/$").groups()
        assert bought == f"{flash_command()} buy --user me --url {address}"
        assert json.loads((folder / "data" / "address.json").read_text()) == {"url": address, "certificate": None}
        assert int(second.rpartition(":")[2]) == int(address.rpartition(":")[2]) + 1
        data = folder / "data"
        assert up.read_until("^  audit ").string == f"  audit  FLASH_DATA_DIR={data} {flash_command()} audit\n"
        assert up.read_until("^  data ").string == f"  data   {data}\n"
        assert up.read_until("^  stop ").string == "  stop   Ctrl-C\n"
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


def test_it_stops_when_nobody_reads_its_output_any_more(folder: Path) -> None:
    """As in `flash up | head -1`; no line need be written for that."""
    read_end, write_end = os.pipe()
    with flash_up(folder / "data", "-f", procfile(folder, web="web"), "-c", "web=1", stdout=write_end) as up:
        os.close(write_end)
        with open(read_end) as output:
            up.process.stdout = output
            up.read_until("stop +Ctrl-C")
        up.process.stdout = None
        assert up.process.wait(20) == 0
        assert up.left_over() == []


def test_head_gets_its_line_and_nothing_is_left(folder: Path) -> None:
    stubs = procfile(folder, web="web")
    command = f"{flash_command()} up -f {stubs} -c web=1 2>&1 | head -1; exit ${{PIPESTATUS[0]}}"
    env = environment(FLASH_DATA_DIR=str(folder / "data"), PORT="0", FLASH_LOG_FORMAT="text")
    done = subprocess.run(["bash", "-c", command], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"flash {__version__}\n", "")
    assert our_processes(folder / "data") == []


def test_a_character_that_its_stdout_cannot_encode_is_no_reason_to_stop(folder: Path) -> None:
    path = procfile(folder, web="web")
    with path.open("a") as file:
        file.write(r"job: printf '\303\251t\303\251\n'; exec sleep 1000")  # "été" in UTF-8
    with flash_up(folder / "data", "-f", path, "-c", "web=1,job=1", PYTHONIOENCODING="ascii") as up:
        up.read_until(r"job\.1 +[|] \\xe9t\\xe9$")
        up.read_until("stop +Ctrl-C")
        up.stop(signal.SIGTERM)


@pytest.mark.parametrize(
    ("settings", "coloured"),
    [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_a_terminal_gets_colours_unless_they_are_unwanted(
    folder: Path, settings: dict[str, str], coloured: bool
) -> None:
    ours, theirs = pty.openpty()
    stubs = procfile(folder, web="web")
    with flash_up(folder / "data", "-f", stubs, "-c", "web=1", stdout=theirs, **settings) as up:  # type: ignore[arg-type]
        os.close(theirs)
        text = b""
        while not re.search(rb"http://localhost:\d+/", text.partition(b"Ctrl-C")[2]):
            text += os.read(ours, 4096)
        assert (b"\x1b[1mhttp://localhost:" in text) is coloured
        assert (b"\x1b" in text) is coloured
        assert b"web pid=" not in text  # what the start logs is held back
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
    port = str(any_port("127.0.0.1"))  # the same for both: a taken port is no news to whoever runs it already
    with flash_up(folder / "data", "-f", stubs, "-c", "web=1", PORT=port) as first:
        first.read_until("stop +Ctrl-C")
        with flash_up(folder / "data", "-f", stubs, "-c", "web=1", PORT=port) as second:
            assert second.finish() == 1
            assert f"flash: `flash up` is already running here (pid {first.process.pid}," in second.output


def test_data_of_another_postgresql_version_is_one_sentence_and_exit_code_1(folder: Path) -> None:
    (folder / "postgres").mkdir(0o700)
    (folder / "postgres" / "PG_VERSION").write_text("16\n")
    with flash_up(folder, "-f", procfile(folder, web="web")) as up:
        assert up.finish() == 1
        assert up.lines[1] == "  starting PostgreSQL and Valkey\n"
        assert len(up.lines) == 3
        assert "holds data of PostgreSQL 16, the embedded one is 18" in up.output


def test_given_urls_are_used_and_no_store_is_started(folder: Path, postgres: str) -> None:
    stubs = procfile(folder, web="web")
    with flash_up(folder / "data", "-f", stubs, "-c", "web=1", DATABASE_URL=postgres, REDIS_URL="redis://h:1/0") as up:
        assert up.read_until("pid=.* database=(.*)").group(1) == postgres
        up.read_until("stop +Ctrl-C")
        up.stop(signal.SIGTERM)
    assert not (folder / "data" / "postgres").exists()


def test_what_a_given_url_leaves_out_reaches_the_processes_too(folder: Path, postgres: str) -> None:
    url = postgres.replace("//flash@", "//")
    with flash_up(folder / "data", "-c", "web=1,inventory=1", DATABASE_URL=url, PGUSER="flash") as up:
        assert buy(up).startswith("Bought  ")
        up.stop(signal.SIGTERM)


def test_variables_meant_for_another_postgresql_do_not_disturb_the_embedded_one(folder: Path) -> None:
    with flash_up(
        folder / "data", "-c", "web=1,inventory=1",
        PGHOST="elsewhere", PGPORT="1", PGUSER="nobody", PGDATABASE="none", PGSSLMODE="require",
    ) as up:  # fmt: skip
        assert buy(up).startswith("Bought  ")
        up.stop(signal.SIGTERM)


def buy(up: Up) -> str:
    """What the printed command answers."""
    command = up.read_until("^  buy +(.*)").group(1)
    up.read_until("/$")  # the address, which is last
    done = subprocess.run(["bash", "-c", command], cwd="/", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_dot_env_file_overrides_nothing(folder: Path) -> None:
    (folder / ".env").write_text("DATABASE_URL=postgresql://elsewhere/x\n")
    stubs = procfile(folder, web="web")
    with flash_up(folder / "data", "-f", stubs, "-c", "web=1", cwd=folder) as up:
        assert "elsewhere" not in up.read_until("pid=.* database=(.*)").group(1)
        up.read_until("stop +Ctrl-C")
        up.stop(signal.SIGTERM)


def test_the_printed_command_buys_as_often_as_it_is_pasted(folder: Path) -> None:
    (folder / "empty").mkdir()
    with flash_up(folder / "data", "-c", "web=1,inventory=1", cwd=folder / "empty") as up:
        items = [found.group(1) for _ in range(3) if (found := re.search(r"item +(\d+) of sale 1\n", buy(up)))]
        assert len({*items}) == 3
        assert up.stop(signal.SIGTERM) < GONE_SECONDS
        assert "Traceback" not in up.output
        assert up.left_over() == []


def test_with_a_certificate_the_printed_commands_buy_over_https(folder: Path) -> None:
    place = folder / "with space"
    place.mkdir()
    certificate, key = make_certificate(place)
    with flash_up(
        folder / "data", "-c", "web=1,inventory=1", cwd=place, FLASH_TLS_CERT=certificate.name, FLASH_TLS_KEY=key.name
    ) as up:
        assert buy(up).startswith("Bought  ")
        assert up.stop(signal.SIGTERM) < GONE_SECONDS


def test_the_printed_commands_use_the_console_script_where_there_is_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder / "with space"
    place.mkdir()
    monkeypatch.setattr("sys.executable", str(place / "python"))
    assert flash_command() == f"'{place}/python' -m flash"
    (place / "flash").touch()
    assert flash_command() == f"'{place}/flash'"
    (place / "flash").chmod(0o755)
    monkeypatch.setenv("PATH", str(place))
    assert flash_command() == "flash"


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
        (("-c", "wbe=1"), f"flash: -c wbe=1: {stubs} has only web and no wbe; did you mean web?\n"),
        (("-f", folder / "none"), f"flash: {folder / 'none'} cannot be used: No such file or directory\n"),
    ]
    for arguments, message in cases:
        with flash_up(folder / "data", "-f", stubs, *arguments) as up:
            assert (up.finish(), up.output) == (2, message)


def test_what_it_prints_is_json_for_programs_and_text_on_a_terminal(folder: Path) -> None:
    stubs = procfile(folder, web="web")
    with flash_up(folder / "data", "-f", stubs, "-c", "web=1", FLASH_LOG_FORMAT="auto") as up:
        up.read_until("stop +Ctrl-C")
        up.stop(signal.SIGTERM)
    objects = [json.loads(line) for line in up.lines if line.startswith("{")]
    assert {"system", "web.1"} <= {line["process"] for line in objects}
    messages = [line["message"] for line in objects]
    assert messages[0] == "starting PostgreSQL and Valkey"
    assert any(message.startswith("web.1 started (pid=") for message in messages)
    ours, terminal = pty.openpty()
    with flash_up(folder / "data", "-f", stubs, "-c", "web=1", stdout=terminal, FLASH_LOG_FORMAT="auto") as up:
        os.close(terminal)
        seen = b""
        while b"Ctrl-C" not in seen:
            seen += os.read(ours, 4_096)
        up.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
            while piece := os.read(ours, 4_096):
                seen += piece
        assert up.process.wait() == 0
    os.close(ours)
    assert b'{"time"' not in seen
    assert b"sending SIGTERM to web.1 (pid" in seen
