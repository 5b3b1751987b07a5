"""How one setting is described, found, parsed and shown: text in, a checked value or a `WrongSetting` out.

It knows no particular setting, and it looks up no environment: both belong to `flash.config`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

UNSET = object()
"""What `Setting.read` returns for a setting that the environment leaves out, or has as an empty variable."""

PEM_FILE = "a PEM file"
"""What is expected of a setting that `pem_file` has made."""

_PREFIX = "FLASH_"
_FILE_SUFFIX = "_FILE"
_FILE_MAX_BYTES = 65_536
_HIDDEN = "***"


class WrongSetting(ValueError):
    """The message names the setting, what was seen, unless that is a secret, and what is expected."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How one field of `Config` is read: its variable, its parser and what a right value looks like.

    One that `may_be_in_file` is read from the file that `<variable>_FILE` names, if that is set. `is_secret`: no part
    of the value is ever shown; of a URL that may hold a password, the rest is.
    """

    variable: str
    parse: Callable[[str], Any]
    expected: str
    help: str
    may_be_in_file: bool = False
    is_secret: bool = False

    @property
    def file_variable(self) -> str | None:
        return self.variable + _FILE_SUFFIX if self.may_be_in_file else None

    @property
    def meaning(self) -> str:
        """`help`, and where else the value may stand."""
        return f"{self.help} (or {self.file_variable})" if self.file_variable else self.help

    def read(self, env: Mapping[str, str]) -> Any:
        """The value that `env` gives, or `UNSET`. Raises `WrongSetting`."""
        given = env.get(self.variable, "")
        file = env.get(self.file_variable, "") if self.file_variable else ""
        if given and file:
            raise WrongSetting(f"{self.variable} and {self.file_variable} are both set: expected one of them")
        if file:
            return self._parse(
                self._line_of(file), f"{self.file_variable}={file!r}", f"a file that holds {self.expected}"
            )
        return self._parse(given, f"{self.variable}={self.shown(given)!r}", self.expected) if given else UNSET

    def shown(self, value: Any) -> Any:
        """`value` as everybody may see it."""
        if not isinstance(value, str):
            return value
        return _HIDDEN if self.is_secret else mask(value)

    def _parse(self, text: str, seen: str, expected: str) -> Any:
        try:
            return self.parse(text)
        except ValueError:
            raise WrongSetting(f"{seen}: expected {expected}") from None  # its text may hold the value

    def _line_of(self, file: str) -> str:
        """The one line in `file`, without its end."""
        seen = f"{self.file_variable}={file!r}"
        try:
            with Path(file).open("rb") as opened:
                content = opened.read(_FILE_MAX_BYTES + 1)
        except (OSError, ValueError) as error:  # a path with a NUL is a ValueError
            reason = getattr(error, "strerror", None) or error
            raise WrongSetting(f"{seen}: the file cannot be read ({reason})") from None
        try:
            text = content.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            text = ""
        if not text or len(content) > _FILE_MAX_BYTES or not text.isprintable():
            raise WrongSetting(f"{seen}: expected a file of one line of text, which is {self.expected}")
        return text


def setting(
    variable: str,
    parse: Callable[[str], Any],
    expected: str,
    default: Any,
    help: str,
    *,
    may_be_in_file: bool = False,
    is_secret: bool = False,
) -> Any:
    """A dataclass field that is read from `variable`. The `repr` of a config has nothing that may hold a secret."""
    described = Setting(variable, parse, expected, help, may_be_in_file, is_secret)
    return field(default=default, repr=not may_be_in_file, metadata={"setting": described})


def secret(variable: str, parse: Callable[[str], Any], expected: str, help: str) -> Any:
    """A setting that is unset by default, may stand in a file, and is never shown."""
    return setting(variable, parse, expected, None, help, may_be_in_file=True, is_secret=True)


_HOSTS = re.compile(r"([^:/?#]*|\[[^]/?#]*\])(:\d{1,5})?(,([^:/?#]*|\[[^]/?#]*\])(:\d{1,5})?)*([/?#]|$)")
"""What names hosts and their ports, and no user: `a:5432,b`, `[::1]:6379`."""
_SECRET_PARAMETER = re.compile(r"((?:^|[?&\s])\w*(?:pass|secret|token)\w*=)[^&\s#]*", re.IGNORECASE)


def mask(text: str) -> str:
    """`text` without its passwords, if it looks at all like a URL that holds one, even a malformed URL."""
    text = _SECRET_PARAMETER.sub(rf"\1{_HIDDEN}", text)
    scheme, slashes, rest = text.partition("//") if "//" in text else ("", "", text)
    credentials, at, address = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    if at and colon:
        return f"{scheme}{slashes}{user}:{_HIDDEN}@{address}"
    if slashes and not at and not _HOSTS.match(rest):  # its @ may have been lost: what follows a colon is a password
        return f"{scheme}{slashes}{rest.partition(':')[0]}:{_HIDDEN}" if ":" in rest else text
    return text


def whole(variable: str, default: int, low: int, high: int, help: str) -> Any:
    return setting(variable, _number(int, low, high), f"a whole number from {low:,} to {high:,}", default, help)


def seconds(variable: str, default: float, low: float, high: float, help: str) -> Any:
    return setting(variable, _number(float, low, high), f"seconds, {low:g} to {high:g}", default, help)


def rate(variable: str, help: str) -> Any:
    """Requests per second; 0, the default, is no limit."""
    return setting(variable, _number(float, 0, 1e6), "requests per second, 0 to 1,000,000", 0.0, help)


def share(variable: str, help: str) -> Any:
    """A part of the whole; 0, the default, is nothing."""
    return setting(variable, _number(float, 0, 1), "a number from 0 to 1", 0.0, help)


def pem_file(variable: str, help: str) -> Any:
    """The path of one, unset by default. That it can be read is for `Config` to say."""
    return setting(variable, Path, PEM_FILE, None, help)


def url(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        parts = urlsplit(text)
        # without its slashes it would not be recognized as what may hold a password, and be shown whole
        if parts.scheme not in schemes or f"{parts.scheme}://" != text[: len(parts.scheme) + 3].lower():
            raise ValueError(text)
        if not text.isprintable():
            raise ValueError(text)
        hosts = parts.netloc.rpartition("@")[2].split(",")  # PostgreSQL's and Sentinel's may be several
        for host in hosts:
            _check_host(host)
        if parts.scheme.endswith("+sentinel") and not (all(hosts) and parts.path.strip("/")):
            raise ValueError(text)  # they are asked for a primary by its name, which nothing stands in for
        return text

    return parse


def _check_host(text: str) -> None:
    """Raises `ValueError` if nobody can be reached at this `host:port`."""
    host = urlsplit(f"//{text}")
    if host.port == 0:  # raises it itself if it can be no port
        raise ValueError(text)
    if "%" not in text:  # else it may be the path of a socket
        (host.hostname or "").encode("idna")  # as whoever looks it up does; raises a UnicodeError, which is one


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


def token(characters_min: int) -> Callable[[str], str]:
    """What fits into a header: visible ASCII characters."""

    def parse(text: str) -> str:
        if len(text) < characters_min or not all("!" <= character <= "~" for character in text):
            raise ValueError(text)
        return text

    return parse


_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


def origins(text: str) -> str:
    """Comma-separated origins as browsers send them (in lower case, no path), or `*` alone."""
    if text != "*" and not all(_ORIGIN.fullmatch(part.strip()) for part in text.split(",")):
        raise ValueError(text)
    return text


def text(text: str) -> str:
    if not text.isprintable():  # neither are bytes that are no UTF-8
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


# What Kubernetes and Docker set beside a service that is named flash.
_SERVICE_LINK = re.compile(r"FLASH_(\w+_)?(SERVICE_(HOST|PORT\w*)|PORT(_\d+_(TCP|UDP)\w*)?)")


def strangers(env: Mapping[str, str], settings: Iterable[Setting]) -> Iterator[str]:
    """A sentence about each variable of `env` that has our prefix and is none of `settings`."""
    known = {name for found in settings for name in (found.variable, found.file_variable) if name}
    bare = {name.removeprefix(_PREFIX): name for name in known}  # all have the prefix: with it, everything is near
    for variable in sorted(env):
        is_link = _SERVICE_LINK.fullmatch(variable) and not (variable == "FLASH_PORT" and env[variable].isdecimal())
        if variable.startswith(_PREFIX) and variable not in known and not is_link:
            yield f"{variable} is no setting{did_you_mean(variable.removeprefix(_PREFIX), bare)}"


def did_you_mean(name: str, known: Mapping[str, str]) -> str:
    """A half-sentence with what is shown for the nearest of `known`; empty if none is near."""
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {known[nearest[0]]}?" if nearest else ""
