"""How a mistyped command line is answered: by the command that it was meant for, and with the nearest right word."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from flash.settings import did_you_mean

_CHOICE = re.compile(r"invalid choice: '(?P<word>.*)' \(choose from (?P<words>.*)\)", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """argparse lets the outermost parser complain of what a command does not know; here the command itself does.

    No option may be shortened: a script that did would mean another option after the next release.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "allow_abbrev": False})

    def parse_known_args(  # type: ignore[override]  # typeshed has overloads for the kinds of namespace
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        known, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}{self._option_like(rest[0])}")
        return known, rest

    def error(self, message: str) -> NoReturn:
        found = _CHOICE.search(message)
        if found is not None:
            message += _meant(found["word"], re.findall(r"[\w-]+", found["words"]))
        super().error(message)

    def _option_like(self, word: str) -> str:
        return _meant(word.partition("=")[0], self._option_string_actions)


def _meant(word: str, known: Iterable[str]) -> str:
    return did_you_mean(word, {name: name for name in known})
