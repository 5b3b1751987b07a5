"""What `flash up` prints: honcho's format for people, or JSON lines. It carries on silently when nobody reads it.

Colours only on a terminal, and not if `NO_COLOR` is set.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime

import trio
from honcho.colour import get_colours
from honcho.printer import Message, Printer

from flash.config import environment
from flash.telemetry.log_format import json_line

_SYSTEM = "system"
_PIECE_BYTES_MAX = 65_536
"""A line longer than this is printed in pieces."""


class Output:
    """Prints whole lines on stdout, each with the time and the name of its process.

    With `is_json`, what a process logs is expected to be JSON, and is printed as it is.
    """

    def __init__(self, names: Sequence[str], *, is_json: bool = False) -> None:
        self._is_json = is_json
        if isinstance(sys.stdout, io.TextIOWrapper):  # what a process writes may be more than our stdout can encode
            sys.stdout.reconfigure(errors="backslashreplace")
        width = max(map(len, (_SYSTEM, *names)))
        self._printer = Printer(sys.stdout, width=width, colour=not environment().get("NO_COLOR"))
        self._colours = dict(zip(names, get_colours(), strict=False))

    def say(self, text: str) -> None:
        """Print `text` as it is."""
        self._try(lambda: print(text, flush=True))  # noqa: T201

    def system(self, text: str) -> None:
        """Print a line about the processes."""
        self._line(_SYSTEM, text.encode())

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

    def _line(self, name: str, line: bytes) -> None:
        if self._is_json:
            text = line.decode(errors="replace")
            return self.say(text if _is_object(text) else json_line(name, text))
        message = Message("line", line or b" ", datetime.now(), name, self._colours.get(name))
        return self._try(lambda: self._printer.write(message))

    def _try(self, write: Callable[[], None]) -> None:
        """A reader that has gone (a closed pipe or terminal) is no reason to stop the service."""
        try:
            write()
        except OSError:
            with contextlib.suppress(OSError):  # from now on, and for Python's own flush at exit
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, sys.stdout.fileno())
                os.close(nowhere)


def _is_object(text: str) -> bool:
    """Whether a process has printed a line of its log, and not what it or a library could not log."""
    return text.startswith("{") and text.endswith("}")
