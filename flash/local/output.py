"""What `flash up` prints: a few steps, then where the service is, then what its processes log, or all of that as JSON.

On a terminal, what they log before all is ready is held back: the warnings come out before the address, all of it if
the start fails. A full disk or the like is no reason to stop; a reader that has gone is, see `wait_reader_gone`.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import stat
import sys
from collections.abc import Callable, Sequence
from datetime import datetime

import trio

from flash import __version__
from flash.config import environment
from flash.local.style import style_of
from flash.telemetry.log_format import json_line

_SYSTEM = "system"
_PIECE_BYTES_MAX = 65_536
"""A line longer than this is printed in pieces."""
_HELD_MAX = 10_000
_LOOK_SECONDS = 0.5
_COUNT_SECONDS = 1.0
_BAD = re.compile(r"\b(ERROR|CRITICAL|Traceback)\b")
_NOTABLE = re.compile(rf"{_BAD.pattern}|\bWARNING\b|died|again")


class Output:
    """Prints whole lines on stdout, each with the time and the name of its process.

    `is_verbose`: nothing is held back, on a terminal either. With `is_json`, what a process logs is expected to be
    JSON, and is printed as it is.
    """

    def __init__(self, names: Sequence[str], *, is_verbose: bool = False, is_json: bool = False) -> None:
        self._is_json = is_json
        if isinstance(sys.stdout, io.TextIOWrapper):  # what a process writes may be more than our stdout can encode
            sys.stdout.reconfigure(errors="backslashreplace")
        self._width = max(map(len, (_SYSTEM, *names)))
        self.style = style_of(sys.stdout, environment())
        self._is_reader_gone = False
        self._has_title = False
        self._step: tuple[str, float] | None = None
        self._held: list[str] | None = [] if sys.stdout.isatty() and not is_verbose and not is_json else None

    def say(self, text: str) -> None:
        """Print `text` as it is."""
        self._try(lambda: print(text, flush=True))  # noqa: T201

    def step(self, text: str) -> None:
        """Print what is being done now, since it may take longer than a second."""
        if self._is_json:
            return self.system(text)
        if not self._has_title:
            self.say(self.style.bold(f"flash {__version__}"))
            self._has_title = True
        self._step = text, trio.current_time()
        return self.say(f"  {text}")

    async def count_steps(self) -> None:
        """While a step takes longer than a second and somebody watches, show for how long it has been going on."""
        while (
            self._held is not None and self.style.is_on
        ):  # nothing else is printed meanwhile, so the step is the line above
            await trio.sleep(_COUNT_SECONDS)
            if self._step is not None and self._held is not None:
                text, since = self._step
                seconds = int(trio.current_time() - since)
                self.say(f"\033[A\033[K  {text}{self.style.dim(f' ({seconds} s)') if seconds else ''}")

    def system(self, text: str) -> None:
        """Print a line about the processes."""
        self._line(_SYSTEM, text.encode())

    def ready(self, text: str) -> None:
        """Print `text`, and from now on what the processes log. Of what was held back, only the warnings."""
        for line in self._release():
            if _NOTABLE.search(line):
                self.say(self._styled(line))
        self.say(text)

    def failed(self) -> None:
        """Print all that was held back: the reason is among it."""
        for line in self._release():
            self.say(self._styled(line))

    async def pass_on(self, name: str, stream: trio.abc.ReceiveStream) -> None:
        """Print what a process writes, line by line, until it ends."""
        rest = b""
        async with stream:
            async for piece in stream:
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    self._line(name, line)
                if len(rest) > _PIECE_BYTES_MAX:
                    self._line(name, rest)
                    rest = b""
        if rest:
            self._line(name, rest)

    async def wait_reader_gone(self) -> None:
        """Return once stdout is a pipe that nobody reads any more: `flash up | head -1` has got what it wanted."""
        watched = select.poll()
        if _is_pipe():
            watched.register(sys.stdout.fileno(), 0)  # an error or a hang-up is told without being asked for
        while not (self._is_reader_gone or watched.poll(0)):  # noqa: ASYNC110 - Trio cannot wait for a hang-up
            await trio.sleep(_LOOK_SECONDS)
        _write_nowhere()

    def _line(self, name: str, line: bytes) -> None:
        said = line.decode(errors="replace")
        if self._is_json:
            return self.say(said if _is_object(said) else json_line(name, said))
        for text in said.splitlines() or [""]:
            whole = f"{datetime.now():%H:%M:%S} {name.ljust(self._width)} | {text}"
            if self._held is None:
                self.say(self._styled(whole))
            elif len(self._held) < _HELD_MAX:
                self._held.append(whole)
        return None

    def _styled(self, line: str) -> str:
        if _BAD.search(line):
            return self.style.red(line)
        return line if _NOTABLE.search(line) else self.style.dim(line)

    def _release(self) -> list[str]:
        held, self._held = self._held, None
        return held or []

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            self._is_reader_gone = isinstance(error, BrokenPipeError)
            _write_nowhere()


def _is_object(text: str) -> bool:
    """Whether a process has printed a line of its log, and not what it or a library could not log."""
    return text.startswith("{") and text.endswith("}")


def _is_pipe() -> bool:
    mode = os.fstat(sys.stdout.fileno()).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _write_nowhere() -> None:
    """From now on, and for Python's own flush at exit."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
