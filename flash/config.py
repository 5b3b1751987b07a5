"""Every setting: its name, unit, default, bounds, and relations to others. Only this file reads the environment.

`Config.from_env` reports all wrong settings at once, by name, with the value seen and the form expected. Settings that
cannot work are errors; settings that work but are unwise are `Config.warnings`, which a process logs when it starts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from flash.domain import COMMAND_BATCH_MAX, COMMAND_LIFE_SECONDS_MAX
from flash.errors import ConfigError
from flash.settings import (
    PEM_FILE,
    UNSET,
    Setting,
    WrongSetting,
    networks,
    one_of,
    origins,
    pem_file,
    rate,
    seconds,
    secret,
    setting,
    share,
    strangers,
    text,
    token,
    url,
    whole,
)
from flash.settings import mask as mask  # for everybody who shows a URL
from flash.shutdown import EXIT_SECONDS, HANDOVER_SECONDS, HONCHO_KILL_SECONDS, WORK_SHARE_OF_DRAIN


def _cores_but_one() -> int:
    """All cores but one, which is left to the stores. The result is at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores - 1)


@dataclass(frozen=True, slots=True)
class Config:
    """The effective settings. Seconds are floats; limits are counts unless the name says bytes."""

    database_url: str | None = setting(
        "DATABASE_URL",
        url("postgres", "postgresql"),
        "postgresql://user:password@host:port/database",
        None,
        "PostgreSQL; `flash up` starts an embedded one when unset",
        may_be_in_file=True,
    )
    redis_url: str | None = setting(
        "REDIS_URL",
        url("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel"),
        "redis://host:port/0, rediss://…, unix:///path or redis+sentinel://host,host/name",
        None,
        "Redis or Valkey, redis+sentinel://host,host,host/name behind Sentinel; `flash up` starts its own when unset",
        may_be_in_file=True,
    )
    redis_ca: Path | None = pem_file("FLASH_REDIS_CA", "whom rediss:// trusts instead of the system's authorities")
    redis_cert: Path | None = pem_file("FLASH_REDIS_CERT", "our certificate, if Redis wants one from its clients")
    redis_key: Path | None = pem_file("FLASH_REDIS_KEY", "private key of FLASH_REDIS_CERT")
    host: str = setting("FLASH_HOST", text, "an address to listen on", "127.0.0.1", "address to listen on")
    port: int = whole("PORT", 8080, 0, 65535, "port to listen on; 0 takes a free one")
    tls_cert: Path | None = pem_file("FLASH_TLS_CERT", "certificate chain; with it the port speaks HTTPS and HTTP/2")
    tls_key: Path | None = pem_file("FLASH_TLS_KEY", "private key of FLASH_TLS_CERT")
    data_dir: Path = setting(  # noqa: RUF009
        "FLASH_DATA_DIR", Path, "a directory", Path(".flash"), "where the embedded stores keep their data"
    )
    log_level: str = setting(
        "FLASH_LOG_LEVEL",
        one_of("debug", "info", "warning", "error"),
        "debug, info, warning or error",
        "info",
        "least important message that is logged",
    )
    log_format: str = setting(
        "FLASH_LOG_FORMAT",
        one_of("auto", "text", "json"),
        "auto, text or json",
        "auto",
        "text, or one JSON object a line; auto is text on a terminal and under honcho, JSON elsewhere",
    )

    traces: str = setting(
        "FLASH_TRACES",
        one_of("off", "otlp"),
        "off or otlp",
        "off",
        "send OpenTelemetry spans by OTLP, as the OTEL_… variables say; needs flash[otel]",
    )
    access_log: float = share("FLASH_ACCESS_LOG", "share of all requests that are logged, without codes and user ids")

    sale_period_seconds: int = whole("FLASH_SALE_PERIOD", 3600, 1, 86400, "seconds from one sale to the next")
    sale_size: int = whole("FLASH_SALE_SIZE", 10_000, 1, 1_000_000, "items in a sale")
    user_limit: int = whole("FLASH_USER_LIMIT", 10, 1, 10, "items of one sale that one user may buy")
    code_ttl_seconds: float = seconds("FLASH_CODE_TTL", 3600.0, 1, 604800, "how long a checkout code is valid")

    request_timeout_seconds: float = seconds(
        "FLASH_REQUEST_TIMEOUT",
        5.0,
        0.1,
        COMMAND_LIFE_SECONDS_MAX,  # the leader takes no command that would live longer
        "how long a purchase may take before it is answered with 503",
    )
    drain_seconds: float = seconds(
        "FLASH_DRAIN_SECONDS", 2.0, 0.1, 60, "how long a stopping process answers what it has accepted"
    )
    prestop_seconds: float = seconds(
        "FLASH_PRESTOP_SECONDS",
        0.0,
        0,
        300,
        "how long `flash web` goes on serving after SIGTERM with /readyz at 503, until its proxy has noticed",
    )
    lease_seconds: float = seconds("FLASH_LEASE_TTL", 3.0, 0.5, 60, "how long a dead leader blocks its sales")
    lease_margin_seconds: float = seconds(
        "FLASH_LEASE_MARGIN", 0.5, 0.05, 30, "how long before its lease ends a leader stops trusting it"
    )
    database_timeout_seconds: float = seconds("FLASH_DATABASE_TIMEOUT", 2.0, 0.1, 60, "longest wait for one statement")
    postgres_driver: str = setting(
        "FLASH_POSTGRES_DRIVER",
        one_of("auto", "asyncio"),
        "auto or asyncio",
        "auto",
        "how PostgreSQL is spoken to: on Trio's sockets unless TLS is wanted, or always through asyncio",
    )
    redis_timeout_seconds: float = seconds("FLASH_REDIS_TIMEOUT", 1.0, 0.1, 60, "longest wait for one Redis command")

    checkout_batch_max: int = whole("FLASH_CHECKOUT_BATCH_MAX", 500, 1, 10_000, "attempts in one statement")
    checkout_waiting_max: int = whole(
        "FLASH_CHECKOUT_WAITING_MAX", 4_096, 1, 1_000_000, "attempts that may wait in one web process"
    )
    checkout_workers: int = whole("FLASH_CHECKOUT_WORKERS", 2, 1, 64, "checkout statements in flight at once")
    purchase_batch_max: int = whole("FLASH_PURCHASE_BATCH_MAX", 500, 1, COMMAND_BATCH_MAX, "purchases in one commit")
    purchase_waiting_max: int = whole(
        "FLASH_PURCHASE_WAITING_MAX", 4_096, 1, 1_000_000, "purchases that may wait in one web process"
    )

    admission_wait_seconds: float = seconds(
        "FLASH_ADMISSION_WAIT", 1.0, 0.05, 60, "estimated wait above which a request is refused at once with 503"
    )
    user_waiting_max: int = whole(
        "FLASH_USER_WAITING_MAX",
        64,
        1,
        1_000_000,
        "requests of one user that may wait in one web process; fewer while others wait",
    )

    rate_per_address: float = rate(
        "FLASH_RATE_PER_ADDRESS",
        "checkouts and purchases a second of one client address, in each web process; 0 is no limit",
    )
    rate_per_user: float = rate(
        "FLASH_RATE_PER_USER",
        "checkouts, and as many purchases, a second of one user, in each web process; 0 is no limit",
    )
    trusted_proxies: str = setting(
        "FLASH_TRUSTED_PROXIES",
        networks,
        "networks with commas between them, such as 10.0.0.0/8,fd00::/8",
        "",
        "proxies whose X-Forwarded-For is believed",
    )

    cors_origins: str = setting(
        "FLASH_CORS_ORIGINS",
        origins,
        "origins with commas between them, such as https://shop.example, or *",
        "",
        "other sites whose pages may use the service; * is all",
    )
    control_token: str | None = secret(
        "FLASH_CONTROL_TOKEN",
        token(16),
        "at least 16 visible ASCII characters",
        "the operator's token for /control, such as `openssl rand -hex 32` makes; there is no /control without it",
    )

    user_key: str | None = secret(
        "FLASH_USER_KEY",
        token(32),
        "at least 32 visible ASCII characters",
        "with it, a checkout's user_id counts only with a User-Token: a JWT (HS256) under this key, see docs/api.md",
    )

    metrics_port: int = whole(
        "FLASH_METRICS_PORT",
        0,
        0,
        65_535,
        "port that answers GET /metrics and nothing else, or the next free one of 16; 0 is none. "
        "The web port answers it too; FLASH_CONTROL_TOKEN guards both",
    )

    disk_min_mb: int = whole(
        "FLASH_DISK_MIN_MB",
        256,
        0,
        1_000_000_000,
        "free MB on PostgreSQL's disk, if it is this machine's, below which checkouts are refused; 0 is no limit",
    )

    web_concurrency: int = whole(
        "WEB_CONCURRENCY", _cores_but_one(), 1, 256, "processes of one `flash web`, behind one port (cores - 1)"
    )
    http: str = setting(
        "FLASH_HTTP",
        one_of("builtin", "hypercorn", "own"),
        "builtin or hypercorn",
        "builtin",
        "which HTTP/1.1 server plain connections get: the built-in one, or Hypercorn's",
    )
    connections_max: int = whole(
        "FLASH_CONNECTIONS_MAX", 12_000, 1, 1_000_000, "client connections open at once in one web process"
    )
    events_viewers_max: int = whole(
        "FLASH_EVENTS_VIEWERS_MAX",
        5_000,
        0,
        1_000_000,
        "viewers of GET /events at once in one web process; at most half of its connections",
    )
    idle_seconds: float = seconds("FLASH_IDLE_SECONDS", 60.0, 0.1, 3600, "how long a connection may be idle")
    head_seconds: float = seconds(
        "FLASH_HEAD_SECONDS", 10.0, 0.1, 600, "how long a request line and its headers may take to arrive"
    )
    body_seconds: float = seconds("FLASH_BODY_SECONDS", 10.0, 0.1, 600, "how long a request body may take to arrive")
    send_seconds: float = seconds("FLASH_SEND_SECONDS", 10.0, 0.1, 600, "how long a client may take to read an answer")

    is_under_honcho: bool = False
    strangers: tuple[str, ...] = ()
    """A sentence about each variable that looks like a setting and is none."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Config:
        """Read the settings, from `os.environ` unless `env` is given.

        Raises `ConfigError` that names every wrong setting at once.
        """
        env = os.environ if env is None else env
        values: dict[str, Any] = {"is_under_honcho": "HONCHO_PROCESS_NAME" in env}
        wrong: list[str] = []
        for name, described in settings():
            try:
                value = described.read(env)
            except WrongSetting as error:
                wrong.append(str(error))
                continue
            if value is not UNSET:
                values[name] = value
        config = cls(
            **values, strangers=() if TOLD in env else tuple(strangers(env, [found for _, found in settings()]))
        )
        wrong += [] if wrong else config._contradictions()
        if wrong:
            raise ConfigError("\n".join(wrong))
        return config

    @property
    def is_http_builtin(self) -> bool:
        return self.http != "hypercorn"

    def warnings(self) -> list[str]:
        """Settings that work but are unwise, one sentence each, naming the variables."""
        return list(self._unwise())

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
        shown = {name: described.shown(getattr(self, name)) for name, described in settings()}
        return [
            (described.variable, "(unset)" if shown[name] is None else str(shown[name]), described.meaning)
            for name, described in settings()
        ]

    def _contradictions(self) -> list[str]:
        """Settings that are each well formed but cannot work together."""
        return [*self._wrong_lease(), *self._wrong_admission(), *self._wrong_tls()]

    def _wrong_lease(self) -> Iterator[str]:
        if self.lease_margin_seconds * 2 > self.lease_seconds:
            yield (
                f"FLASH_LEASE_MARGIN={self.lease_margin_seconds:g}: expected at most half of "
                f"FLASH_LEASE_TTL ({self.lease_seconds:g})"
            )

    def _wrong_admission(self) -> Iterator[str]:
        if self.admission_wait_seconds > self.request_timeout_seconds:
            yield (
                f"FLASH_ADMISSION_WAIT={self.admission_wait_seconds:g}: expected at most FLASH_REQUEST_TIMEOUT "
                f"({self.request_timeout_seconds:g})"
            )

    def _wrong_tls(self) -> Iterator[str]:
        named = {found.variable: getattr(self, name) for name, found in settings() if found.expected == PEM_FILE}
        for pair in (("FLASH_TLS_CERT", "FLASH_TLS_KEY"), ("FLASH_REDIS_CERT", "FLASH_REDIS_KEY")):
            missing = [variable for variable in pair if named[variable] is None]
            if len(missing) == 1:
                yield f"{missing[0]} is not set: {pair[0]} and {pair[1]} go together, set both or neither"
        for variable, path in named.items():
            if path is not None and not (os.path.isfile(path) and os.access(path, os.R_OK)):
                yield f"{variable}={str(path)!r}: expected a PEM file that this user can read"

    def _unwise(self) -> Iterator[str]:
        yield from self.strangers
        if self.http == "own":
            yield "FLASH_HTTP=own is now called FLASH_HTTP=builtin; the next release will refuse the old name"
        if self.lease_seconds >= self.request_timeout_seconds:
            yield (
                f"FLASH_LEASE_TTL ({self.lease_seconds:g}) is not below FLASH_REQUEST_TIMEOUT "
                f"({self.request_timeout_seconds:g}): when a leader dies, every purchase that waits for its successor "
                "is answered with 503"
            )
        if self.redis_timeout_seconds >= self.lease_seconds - self.lease_margin_seconds:
            yield (
                f"FLASH_REDIS_TIMEOUT ({self.redis_timeout_seconds:g}) is not below FLASH_LEASE_TTL - "
                f"FLASH_LEASE_MARGIN ({self.lease_seconds - self.lease_margin_seconds:g}): one slow answer costs a "
                "leader all of its leases"
            )
        if self.database_timeout_seconds > self.request_timeout_seconds:
            yield (
                f"FLASH_DATABASE_TIMEOUT ({self.database_timeout_seconds:g}) is above FLASH_REQUEST_TIMEOUT "
                f"({self.request_timeout_seconds:g}): a purchase gets its 503 while its commit may still succeed"
            )
        if self.drain_seconds * WORK_SHARE_OF_DRAIN <= HANDOVER_SECONDS:
            yield (
                f"FLASH_DRAIN_SECONDS ({self.drain_seconds:g}) is not above "
                f"{HANDOVER_SECONDS / WORK_SHARE_OF_DRAIN:g}: a stopping web process gives up before a leader that "
                "stops in the same moment has answered it"
            )
        if self.is_under_honcho and self.prestop_seconds + self.drain_seconds + EXIT_SECONDS > HONCHO_KILL_SECONDS:
            yield (
                f"FLASH_PRESTOP_SECONDS ({self.prestop_seconds:g}) and FLASH_DRAIN_SECONDS ({self.drain_seconds:g}) "
                f"are more than {HONCHO_KILL_SECONDS - EXIT_SECONDS:g} together: honcho kills what is still running "
                f"{HONCHO_KILL_SECONDS:g} s after the first process has stopped; raise them under another supervisor"
            )


def settings() -> list[tuple[str, Setting]]:
    """The fields of `Config` with how each is read, in order of declaration."""
    return [(f.name, f.metadata["setting"]) for f in fields(Config) if "setting" in f.metadata]


TOLD = "_FLASH_STRANGERS_TOLD"
"""Set by `flash up` for its processes, which need not repeat what it has said about variables that are no settings."""


def environment(**changes: str) -> dict[str, str]:
    """The environment for a child process: ours with `changes`. What DATABASE_URL leaves out may be in PGUSER etc.

    A setting that is changed is no longer read from a file.
    """
    files = {described.file_variable for _, described in settings() if described.variable in changes}
    return {**{name: value for name, value in os.environ.items() if name not in files}, **changes}


def postgres_environment(**changes: str) -> dict[str, str]:
    """`environment` for a server or program of an embedded PostgreSQL, without what would steer it elsewhere."""
    return {name: value for name, value in environment(**changes).items() if not name.startswith("PG")}
