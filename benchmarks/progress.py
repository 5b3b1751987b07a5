"""What a waiting person sees: one line that is written over on a terminal, one line per step elsewhere. On stderr."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any


class Progress:
    """`step` begins something, `report` takes what the load generator says meanwhile, `done` ends it with a result."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._step = ""
        self._began = time.monotonic()

    def step(self, text: str) -> None:
        self._step = text
        if self._is_terminal:
            self._over(text)

    def report(self, said: Mapping[str, Any]) -> None:
        if self._is_terminal:
            sold = f", {said['progress']:,} sold" if said["progress"] else ""
            sheds = f", {said['sheds']:,} shed" if said["sheds"] else ""
            self._over(f"{self._step}: {said['requests']:,} answers{sold}{sheds}")

    def done(self, result: str) -> None:
        line = f"[{time.monotonic() - self._began:5.1f} s] {self._step}: {result}"
        if self._is_terminal:
            self._over(line)
        self._write("\n" if self._is_terminal else f"{line}\n")

    def clear(self) -> None:
        if self._is_terminal:
            self._write("\r\x1b[2K")

    def _over(self, text: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        self._write(f"\r\x1b[2K{text[:width]}")

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()
