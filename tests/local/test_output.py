"""What `flash up` shows on a terminal while it starts, over a driven clock."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock

from flash import __version__
from flash.local.output import Output

UP = "\033[A\033[K"
BOLD, DIM, END = "\033[1m", "\033[2m", "\033[0m"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """What `output_on` writes to."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "")
    return Terminal()


@contextlib.contextmanager
def output_on(terminal: Terminal) -> Iterator[Output]:
    with contextlib.redirect_stdout(terminal):
        yield Output(["web.1"])


async def test_a_step_that_takes_longer_than_a_second_counts_them_until_all_is_ready(
    terminal: Terminal, autojump_clock: MockClock
) -> None:
    with output_on(terminal) as output:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(output.count_steps)
            output.step("starting PostgreSQL")
            await trio.sleep(2.5)
            output.step("starting web.1")
            output.system("web.1 started (pid=7)")
            await trio.sleep(1)
            output.ready("ready")
            await trio.sleep(9)
    assert terminal.getvalue().rstrip("\n").split("\n") == [
        f"{BOLD}flash {__version__}{END}",
        "  starting PostgreSQL",
        f"{UP}  starting PostgreSQL{DIM} (1 s){END}",
        f"{UP}  starting PostgreSQL{DIM} (2 s){END}",
        "  starting web.1",
        f"{UP}  starting web.1",
        "ready",
    ]


async def test_what_the_start_logged_comes_out_if_it_fails_and_its_warnings_in_any_case(terminal: Terminal) -> None:
    for is_failed in (False, True):
        with output_on(terminal) as output:
            output.system("web.1 started (pid=7)")
            output.system("WARNING the disk is slow")
            if is_failed:
                output.failed()
            else:
                output.ready("ready")
    warning = "WARNING the disk is slow"
    lines = [line.partition("| ")[2] or line for line in terminal.getvalue().splitlines()]
    assert lines == [warning, "ready", f"web.1 started (pid=7){END}", warning]


@pytest.mark.parametrize(("variable", "value"), [("TERM", "dumb"), ("NO_COLOR", "1")])
async def test_a_terminal_that_wants_plain_text_sees_each_line_once(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with output_on(terminal) as output:
        output.step("starting")
        await output.count_steps()
    assert "\033" not in terminal.getvalue()
