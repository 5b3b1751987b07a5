"""How one setting is described and parsed: text in, a checked value or `ValueError` out.

It knows no particular setting, and it reads no environment: both belong to `flash.config`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Setting:
    """How one field of `Config` is read: its variable, its parser and what a right value looks like."""

    variable: str
    parse: Callable[[str], Any]
    expected: str
    help: str


def setting(variable: str, parse: Callable[[str], Any], expected: str, default: Any, help: str) -> Any:
    """A dataclass field that is read from `variable`."""
    return field(default=default, metadata={"setting": Setting(variable, parse, expected, help)})


def whole(variable: str, default: int, low: int, high: int, help: str) -> Any:
    return setting(variable, _number(int, low, high), f"a whole number from {low:,} to {high:,}", default, help)


def seconds(variable: str, default: float, low: float, high: float, help: str) -> Any:
    return setting(variable, _number(float, low, high), f"seconds, {low:g} to {high:g}", default, help)


def rate(variable: str, help: str) -> Any:
    """Requests per second; 0, the default, is no limit."""
    return setting(variable, _number(float, 0, 1e6), "requests per second, 0 to 1,000,000", 0.0, help)


def url(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in schemes:
            raise ValueError(text)
        for host in parts.netloc.rpartition("@")[2].split(","):  # PostgreSQL's may name several
            if urlsplit(f"//{host}").port == 0:  # raises ValueError itself if it can be no port
                raise ValueError(text)
        return text

    return parse


def one_of(*values: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in values:
            raise ValueError(text)
        return text

    return parse


def networks(text: str) -> str:
    """Comma-separated CIDRs."""
    for part in text.split(","):
        ip_network(part.strip())  # raises ValueError itself
    return text


def text(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


def _number(kind: type[int] | type[float], low: float, high: float) -> Callable[[str], Any]:
    def parse(text: str) -> float:
        if not text.isascii():
            raise ValueError(text)
        value = kind(text)
        if not low <= value <= high:
            raise ValueError(text)
        return value

    return parse
