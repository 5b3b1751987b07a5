"""Colours and weights for people at a terminal. None for files and pipes, under NO_COLOR, or if TERM is dumb."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO


@dataclass(frozen=True, slots=True)
class Style:
    """Puts text into a colour or weight, or leaves it as it is."""

    is_on: bool

    def bold(self, text: str) -> str:
        return self._in("1", text)

    def dim(self, text: str) -> str:
        return self._in("2", text)

    def red(self, text: str) -> str:
        return self._in("31", text)

    def green(self, text: str) -> str:
        return self._in("32", text)

    def yellow(self, text: str) -> str:
        return self._in("33", text)

    def _in(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.is_on and text else text


def style_of(stream: TextIO, env: Mapping[str, str]) -> Style:
    """How to write to `stream`. `env` is the environment."""
    is_dumb = env.get("TERM", "dumb") == "dumb"
    return Style(stream.isatty() and not is_dumb and not env.get("NO_COLOR"))
