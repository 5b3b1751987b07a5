"""Where the service of a running `flash up` is reached: what it notes for the commands that are not told."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from flash.config import Config
from flash.local.found import demo_dir, find_data_dir, running_pid


@dataclass(frozen=True, slots=True)
class Address:
    """`certificate` is a PEM file to trust, for a service whose certificate the system need not know."""

    url: str
    certificate: Path | None = None


@contextlib.contextmanager
def noted(data_dir: Path, address: Address | None) -> Iterator[None]:
    """Note the address in `data_dir` while the block lasts."""
    if address is None:
        yield
        return
    certificate = None if address.certificate is None else str(address.certificate.absolute())
    with contextlib.suppress(OSError):  # a full disk: then the commands must be told
        _file(data_dir).write_text(json.dumps({"url": address.url, "certificate": certificate}))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            _file(data_dir).unlink(missing_ok=True)


def running_address(config: Config) -> Address:
    """Of the `flash up` that runs here, the younger if `--demo` runs as well; else where these settings say."""
    found = running_addresses(config)
    return found[0] if found else address_of(config, config.port)


def running_addresses(config: Config) -> list[Address]:
    """Of each `flash up` that runs here, the youngest first."""
    found: dict[float, Address] = {}
    for place in (config.data_dir, demo_dir(config.data_dir)):
        data_dir = find_data_dir(replace(config, data_dir=place))
        if data_dir is not None and running_pid(data_dir) is not None:
            with contextlib.suppress(OSError, ValueError, KeyError):
                told = json.loads(_file(data_dir).read_text())
                certificate = told["certificate"] and Path(told["certificate"])
                found[_file(data_dir).stat().st_mtime] = Address(told["url"], certificate)
    return [found[began] for began in sorted(found, reverse=True)]


def address_of(config: Config, port: int) -> Address:
    """Where the web process on this port is reached from this machine."""
    scheme = "http" if config.tls_cert is None else "https"
    return Address(f"{scheme}://{reachable(config.host)[1]}:{port}", config.tls_cert)


def reachable(host: str) -> tuple[str, str]:
    """The address to connect to when the service listens on `host`, and how to write it in a URL."""
    if host in ("127.0.0.1", "0.0.0.0", "localhost"):
        return "127.0.0.1", "localhost"
    if host in ("::", "::1"):
        return "::1", "localhost"
    return host, f"[{host}]" if ":" in host else host


def _file(data_dir: Path) -> Path:
    return data_dir / "address.json"
