"""What `flash up` prints once the service answers: where it is, how to buy, where the data lies and how to stop.

The commands must work as they are when pasted into a shell.
"""

from __future__ import annotations

import http.client
import json
import shlex
import ssl
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypedDict, cast

from flash.config import Config
from flash.local.embedded.store import Store

_SALE_SECONDS = 5.0
"""How long the first sale may take to appear before the address is printed without one of its items."""
_ANSWER_SECONDS = 0.5


class _Sale(TypedDict):
    id: int
    first_item_id: int


class Announcement:
    """Checks that every web process answers, and writes the text about where the service is and how to buy."""

    def __init__(self, config: Config, ports: Sequence[int], stores: list[Store], data_dir: Path) -> None:
        self._host, self._shown_host = _reachable(config.host)
        self._certificate = config.tls_cert
        self._ports = ports
        self._silent = list(ports)
        self._data = _where(stores, data_dir)
        # shown only if embedded: then nobody knows it yet, and it holds no password
        self._database_url = config.database_url if any(store.name == "PostgreSQL" for store in stores) else None
        self._until: float | None = None

    def look(self) -> str | None:
        """The text, or None while something does not answer yet. Each web process is given half a second to answer."""
        self._silent = [port for port in self._silent if self._get(port, "/livez") is None]
        if self._silent:
            return None
        if self._until is None:
            self._until = time.monotonic() + _SALE_SECONDS
        sale = self._get(self._ports[0], "/sales/current") if self._ports else None
        if sale is None and self._ports and time.monotonic() < self._until:
            return None
        return "\n".join(["", *self._lines(sale), ""])

    def _item(self, sale: _Sale) -> int:
        """An item that can still be bought."""
        path = f"/sales/{sale['id']}/items?available=true&limit=1"
        items = json.loads(self._get(self._ports[0], path) or b"{}").get("items")
        return int(items[0]["id"] if items else sale["first_item_id"])

    def _lines(self, sale: bytes | None) -> Iterator[str]:
        scheme = "http" if self._certificate is None else "https"
        addresses = [f"{scheme}://{self._shown_host}:{port}" for port in self._ports]
        if addresses:
            item = self._item(cast(_Sale, json.loads(sale))) if sale else 1
            curl = f"curl {self._trust()}-sX POST"
            checkout = f"{curl} '{addresses[0]}/checkout?user_id=me&id={item}'"
            yield f"  serving   {'  '.join(addresses)}"
            yield f"  checkout  {checkout}"
            yield f"""  purchase  {curl} "{addresses[0]}/purchase?code=$({checkout} | cut -d'"' -f4)\""""
        yield f"  data      {self._data}"
        if self._database_url is not None:
            yield f"  audit     DATABASE_URL={shlex.quote(self._database_url)} {flash_command()} audit"
        yield "  stop      Ctrl-C"

    def _trust(self) -> str:
        """What makes curl accept our certificate, which need not be known to the system."""
        return f"--cacert {shlex.quote(str(self._certificate.absolute()))} " if self._certificate is not None else ""

    def _get(self, port: int, path: str) -> bytes | None:
        """The body of a 200; None for anything else."""
        connection = self._connect(port)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return body if response.status == 200 else None

    def _connect(self, port: int) -> http.client.HTTPConnection:
        if self._certificate is None:
            return http.client.HTTPConnection(self._host, port, timeout=_ANSWER_SECONDS)
        return http.client.HTTPSConnection(self._host, port, timeout=_ANSWER_SECONDS, context=_unverified())


def flash_command() -> str:
    """How to run `flash` from a shell: the console script of this interpreter if there is one, else the module."""
    script = Path(sys.executable).with_name("flash")
    return shlex.quote(str(script)) if script.is_file() else f"{shlex.quote(sys.executable)} -m flash"


def _unverified() -> ssl.SSLContext:
    """Verifies nothing: the certificate is for the public name, while we ask our own process by its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _reachable(host: str) -> tuple[str, str]:
    """The address to connect to when the service listens on `host`, and how to write it in a URL."""
    if host in ("127.0.0.1", "0.0.0.0", "localhost"):
        return "127.0.0.1", "localhost"
    if host in ("::", "::1"):
        return "::1", "localhost"
    return host, f"[{host}]" if ":" in host else host


def _where(stores: list[Store], data_dir: Path) -> str:
    places = {store.home.parent for store in stores}
    if not places:
        return "in the PostgreSQL and Redis of DATABASE_URL and REDIS_URL"
    return ", ".join(f"{store.home} ({store.name})" for store in stores) if places != {data_dir} else str(data_dir)
