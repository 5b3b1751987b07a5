"""Every setting: its name, unit, default and bounds. The one file that reads the environment.

`Config.from_env` reports all wrong settings at once, by name, with the value seen and the form expected.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flash.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Setting:
    """How one field of `Config` is read: its variable, its parser and what a right value looks like."""

    variable: str
    parse: Callable[[str], Any]
    expected: str
    help: str


def _setting(variable: str, parse: Callable[[str], Any], expected: str, default: Any, help: str) -> Any:
    return field(default=default, metadata={"setting": Setting(variable, parse, expected, help)})


def _cores_but_one() -> int:
    """One core is left to the stores; at least one process serves."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores - 1)


def _number(kind: type[int] | type[float], low: float, high: float) -> Callable[[str], Any]:
    def parse(text: str) -> float:
        if not text.isascii():
            raise ValueError(text)
        value = kind(text)
        if not low <= value <= high:
            raise ValueError(text)
        return value

    return parse


def _whole(variable: str, default: int, low: int, high: int, help: str) -> Any:
    return _setting(variable, _number(int, low, high), f"a whole number from {low:,} to {high:,}", default, help)


def _seconds(variable: str, default: float, low: float, high: float, help: str) -> Any:
    return _setting(variable, _number(float, low, high), f"seconds, {low:g} to {high:g}", default, help)


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if urlsplit(text).scheme not in schemes:
            raise ValueError(text)
        return text

    return parse


def _one_of(*values: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in values:
            raise ValueError(text)
        return text

    return parse


def _text(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


@dataclass(frozen=True, slots=True)
class Config:
    """The effective settings. Seconds are floats; limits are counts unless the name says bytes."""

    database_url: str | None = _setting(
        "DATABASE_URL",
        _url("postgres", "postgresql"),
        "postgresql://user:password@host:port/database",
        None,
        "PostgreSQL; `flash up` starts an embedded one when unset",
    )
    redis_url: str | None = _setting(
        "REDIS_URL",
        _url("redis", "rediss", "unix"),
        "redis://host:port/0, rediss://… or unix:///path",
        None,
        "Redis or Valkey; `flash up` starts an embedded one when unset",
    )
    host: str = _setting("FLASH_HOST", _text, "an address to listen on", "127.0.0.1", "address to listen on")
    port: int = _whole("PORT", 8080, 0, 65535, "port to listen on; 0 takes a free one")
    data_dir: Path = _setting(  # noqa: RUF009
        "FLASH_DATA_DIR", Path, "a directory", Path(".flash"), "where the embedded stores keep their data"
    )
    log_level: str = _setting(
        "FLASH_LOG_LEVEL",
        _one_of("debug", "info", "warning", "error"),
        "debug, info, warning or error",
        "info",
        "least important message that is logged",
    )

    sale_period_seconds: int = _whole("FLASH_SALE_PERIOD", 3600, 1, 86400, "seconds between two sales")
    sale_size: int = _whole("FLASH_SALE_SIZE", 10_000, 1, 1_000_000, "items of a sale")
    user_limit: int = _whole("FLASH_USER_LIMIT", 10, 1, 10, "items of one sale that one user may buy")
    code_ttl_seconds: float = _seconds("FLASH_CODE_TTL", 3600.0, 1, 604800, "how long a checkout code lives")

    request_timeout_seconds: float = _seconds(
        "FLASH_REQUEST_TIMEOUT", 5.0, 0.1, 60, "how long a purchase may take before it is answered 503"
    )
    drain_seconds: float = _seconds(
        "FLASH_DRAIN_SECONDS", 2.0, 0.1, 60, "how long a stopping process answers what it has accepted"
    )
    lease_seconds: float = _seconds("FLASH_LEASE_TTL", 3.0, 0.5, 60, "how long a dead leader blocks its sales")
    lease_margin_seconds: float = _seconds(
        "FLASH_LEASE_MARGIN", 0.5, 0.05, 30, "how long before its lease ends a leader stops trusting it"
    )
    database_timeout_seconds: float = _seconds("FLASH_DATABASE_TIMEOUT", 2.0, 0.1, 60, "longest wait for one statement")
    redis_timeout_seconds: float = _seconds("FLASH_REDIS_TIMEOUT", 1.0, 0.1, 60, "longest wait for one Redis command")

    checkout_batch_max: int = _whole("FLASH_CHECKOUT_BATCH_MAX", 500, 1, 10_000, "attempts in one statement")
    checkout_waiting_max: int = _whole(
        "FLASH_CHECKOUT_WAITING_MAX", 4_096, 1, 1_000_000, "attempts that may wait in one web process"
    )
    checkout_workers: int = _whole("FLASH_CHECKOUT_WORKERS", 2, 1, 64, "checkout statements in flight at once")
    purchase_batch_max: int = _whole("FLASH_PURCHASE_BATCH_MAX", 500, 1, 10_000, "purchases in one commit")
    purchase_waiting_max: int = _whole(
        "FLASH_PURCHASE_WAITING_MAX", 4_096, 1, 1_000_000, "purchases that may wait in one web process"
    )

    web_concurrency: int = _whole(
        "WEB_CONCURRENCY", _cores_but_one(), 1, 256, "processes of one `flash web`, behind one port (cores - 1)"
    )
    http: str = _setting(
        "FLASH_HTTP",
        _one_of("own", "hypercorn"),
        "own or hypercorn",
        "own",
        "what speaks HTTP/1.1 on plain connections: the project's own handler, or Hypercorn's",
    )
    connections_max: int = _whole("FLASH_CONNECTIONS_MAX", 12_000, 1, 1_000_000, "open client connections")
    idle_seconds: float = _seconds("FLASH_IDLE_SECONDS", 60.0, 0.1, 3600, "how long a connection may idle")
    head_seconds: float = _seconds(
        "FLASH_HEAD_SECONDS", 10.0, 0.1, 600, "how long a request line and its headers may take"
    )
    body_seconds: float = _seconds("FLASH_BODY_SECONDS", 10.0, 0.1, 600, "how long a request body may take")
    send_seconds: float = _seconds("FLASH_SEND_SECONDS", 10.0, 0.1, 600, "how long a response may take to be read")

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Config:
        """Read the settings, from `os.environ` unless told otherwise.

        Raises `ConfigError` that names every wrong setting at once.
        """
        env = os.environ if env is None else env
        values: dict[str, Any] = {}
        wrong: list[str] = []
        for name, setting in settings():
            text = env.get(setting.variable, "")
            if not text:
                continue
            try:
                values[name] = setting.parse(text)
            except ValueError:
                seen = mask(text)
                wrong.append(f"{setting.variable}={seen!r}: expected {setting.expected}")
        config = cls(**values)
        wrong += [] if wrong else config._contradictions()
        if wrong:
            raise ConfigError("\n".join(wrong))
        return config

    def _contradictions(self) -> list[str]:
        """Limits that are each well formed but cannot work together."""
        wrong = []
        if self.lease_margin_seconds * 2 > self.lease_seconds:
            wrong.append(
                f"FLASH_LEASE_MARGIN={self.lease_margin_seconds:g}: expected at most half of "
                f"FLASH_LEASE_TTL ({self.lease_seconds:g})"
            )
        return wrong

    def require(self, name: str) -> str:
        """The setting `name`, one of the two URLs. Raises `ConfigError` that says what to do if it is unset."""
        value: str | None = getattr(self, name)
        if value is None:
            setting = dict(settings())[name]
            raise ConfigError(
                f"{setting.variable} is not set: run `flash up`, which starts the stores itself, "
                f"or set it to {setting.expected}"
            )
        return value

    def lines(self) -> list[tuple[str, str, str]]:
        """Variable, effective value (secrets masked) and meaning of each setting, for people."""
        return [(setting.variable, _shown(getattr(self, name)), setting.help) for name, setting in settings()]


def settings() -> list[tuple[str, Setting]]:
    """The fields of `Config` with how each is read, in order of declaration."""
    return [(f.name, f.metadata["setting"]) for f in fields(Config)]


_SECRET_PARAMETER = re.compile(r"((?:^|[?&\s])\w*(?:pass|secret|token)\w*=)[^&\s#]*", re.IGNORECASE)


def mask(text: str) -> str:
    """`text` without its passwords, if it looks at all like a URL that holds one; malformed ones too."""
    text = _SECRET_PARAMETER.sub(r"\1***", text)
    scheme, slashes, rest = text.partition("//") if "//" in text else ("", "", text)
    credentials, at, address = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    return f"{scheme}{slashes}{user}:***@{address}" if at and colon else text


def environment(**changes: str) -> dict[str, str]:
    """The environment for a child process: ours with `changes`, without what would steer PostgreSQL's own programs."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**inherited, **changes}


def _shown(value: object) -> str:
    return "(unset)" if value is None else mask(str(value)) if isinstance(value, str) else str(value)
