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

from flash.local.announcement import flash_command
from flash.local.embedded import leftovers
from flash.local.ports import any_port
from flash.local.procfile import PACKAGED, PROJECT
from flash.local.runner import pid_file
from tests.certificates import make_certificate
from tests.local.running import (
    GONE_SECONDS,
    Up,
    flash_up,
    procfile,
)


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
        while leftovers.read_pids(pid_file(up.data_dir)) in ([], [pid]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        up.process.terminate()
        assert up.process.wait() == 0
        assert up.left_over() == []


def test_a_character_that_its_stdout_cannot_encode_is_no_reason_to_stop(folder: Path) -> None:
    path = procfile(folder, web="web")
    with path.open("a") as file:
        file.write(r"job: printf '\303\251t\303\251\n'; exec sleep 1000")  # "été" in UTF-8
    with flash_up(folder / "data", "-f", path, "-c", "web=1,job=1", PYTHONIOENCODING="ascii") as up:
        up.read_until(r"job\.1 +[|] \\xe9t\\xe9$")
        up.read_until("stop +Ctrl-C")
        up.stop(signal.SIGTERM)


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
        assert len(up.lines) == 1
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
        assert '"Purchase successful"' in buy(up)
        up.stop(signal.SIGTERM)


def test_variables_meant_for_another_postgresql_do_not_disturb_the_embedded_one(folder: Path) -> None:
    with flash_up(
        folder / "data", "-c", "web=1,inventory=1",
        PGHOST="elsewhere", PGPORT="1", PGUSER="nobody", PGDATABASE="none", PGSSLMODE="require",
    ) as up:  # fmt: skip
        assert '"Purchase successful"' in buy(up)
        up.stop(signal.SIGTERM)


def buy(up: Up) -> str:
    """What the printed purchase command answers."""
    command = up.read_until("purchase +(curl .*)").group(1)
    up.read_until("stop +Ctrl-C")
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout


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
        assert '"Purchase successful"' in buy(up)
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
        up.read_until(r"serving +https://localhost:\d+$")
        assert '"Purchase successful"' in buy(up)
        assert up.stop(signal.SIGTERM) < GONE_SECONDS


def test_the_printed_audit_uses_the_console_script_where_there_is_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder / "with space"
    place.mkdir()
    monkeypatch.setattr("sys.executable", str(place / "python"))
    assert flash_command() == f"'{place}/python' -m flash"
    (place / "flash").touch()
    assert flash_command() == f"'{place}/flash'"


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
    assert any(line["message"].startswith("web.1 started (pid=") for line in objects)
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
    assert b"web.1 started (pid=" in seen
