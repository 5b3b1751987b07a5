"""`flash top` of a real service: one snapshot for programs, a screen of its own on a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import trio

from flash.config import environment
from flash.local.embedded import EmbeddedValkey
from flash.local.ports import any_port
from flash.local.procfile import PROJECT
from tests.client.test_clients import open_service
from tests.test_cli import flash

ENTER, LEAVE = b"\033[?1049h", b"\033[?1049l"


async def test_it_shows_a_service_once_to_programs_and_on_a_screen_of_its_own_to_people(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    token = "the-token-of-an-operator"
    async with open_service(postgres, valkey.url, FLASH_CONTROL_TOKEN=token) as address:
        long = f"{address}/?{120 * 'x'}"
        done = await trio.to_thread.run_sync(lambda: flash("top", "--url", long))
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"flash top  {long}"), "nothing is cut without a terminal"
        assert "Selling. All stores fine.\n\n0 sold per second" in done.stdout
        assert "\n     1  ────" in done.stdout
        assert "\033" not in done.stdout

        def top_by_token() -> list[subprocess.CompletedProcess[str]]:
            return [flash("top", "--url", address, FLASH_CONTROL_TOKEN=given) for given in (token, token[::-1])]

        by_token = await trio.to_thread.run_sync(top_by_token)
        assert [done.returncode for done in by_token] == [0, 2]
        assert "\nprocess     where" in by_token[0].stdout
        assert by_token[1].stderr.startswith("flash: FLASH_CONTROL_TOKEN: the service does not take it")
        for how in ("q", "Ctrl-C"):
            code, seen = await trio.to_thread.run_sync(on_a_terminal, address, how)
            assert code == (0 if how == "q" else 130)
            assert seen.count(ENTER) == seen.count(LEAVE) == 1
            assert seen.index(ENTER) < seen.index(b"sold per second") < seen.index(LEAVE)
            assert b"Traceback" not in seen


def on_a_terminal(address: str, how: str) -> tuple[int, bytes]:
    """The exit code, and all that was written to the terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "flash", "top", "--url", address]
    env = environment(PYTHONPATH=str(PROJECT), TERM="xterm", COLUMNS="100", LINES="30")
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as process:
        os.close(theirs)
        too_late = threading.Timer(60, process.kill)  # then the exit code is that of SIGKILL, and the terminal ends
        too_late.start()
        seen = b""
        while b"sold per second" not in seen:
            seen += os.read(ours, 4_096)
        if how == "q":
            os.write(ours, b"q")
        else:
            process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # that is how a terminal says that nobody writes any more
            while piece := os.read(ours, 4_096):
                seen += piece
        code = process.wait(10)
        too_late.cancel()
    os.close(ours)
    return code, seen


@pytest.mark.parametrize("command", ["top", "buy"])
def test_where_nothing_listens_it_says_what_to_start(command: str, tmp_path: Path) -> None:
    port = any_port("127.0.0.1")
    arguments = ("--user", "me") if command == "buy" else ()
    done = flash(command, *arguments, PORT=str(port), FLASH_DATA_DIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"flash: nobody answers at http://localhost:{port} (Connection refused): start")
