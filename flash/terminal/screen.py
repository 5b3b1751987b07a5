"""A screen of its own on a terminal: what was there before comes back at the end, however that comes."""

from __future__ import annotations

import select
import termios
import time
import tty
from collections.abc import Sequence
from types import TracebackType
from typing import Any, TextIO

_ENTER = "\033[?1049h\033[?25l"
_LEAVE = "\033[?25h\033[?1049l"
_HOME = "\033[H"
_END_OF_LINE = "\033[K"
_END_OF_SCREEN = "\033[J"


class Screen:
    """Lines on the terminal `output`, and the keys of `keys` if that is a terminal too."""

    def __init__(self, keys: TextIO, output: TextIO) -> None:
        self._keys = keys if keys.isatty() else None
        self._output = output
        self._attributes: list[Any] | None = None

    def __enter__(self) -> Screen:
        if self._keys is not None:
            self._attributes = termios.tcgetattr(self._keys)
            tty.setcbreak(self._keys)
        self._write(_ENTER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._write(_LEAVE)
        if self._keys is not None and self._attributes is not None:
            termios.tcsetattr(self._keys, termios.TCSADRAIN, self._attributes)

    def show(self, lines: Sequence[str], height: int) -> None:
        """Draw over what is there, so that nothing flickers. What is too much for the height is left out."""
        text = f"{_END_OF_LINE}\n".join(lines[: height - 1])
        self._write(f"{_HOME}{text}{_END_OF_LINE}{_END_OF_SCREEN}")

    def wait_quit(self, seconds: float) -> bool:
        """Wait that long. True at once if q is pressed."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._keys is None:
                time.sleep(left)
            elif select.select([self._keys], [], [], left)[0] and self._keys.read(1) in ("q", "Q", ""):
                return True
        return False

    def _write(self, text: str) -> None:
        self._output.write(text)
        self._output.flush()
