"""What `flash up` prints once the service answers: where it is, how to buy, where the data lies and how to stop.

The commands must work as they are when pasted into a shell.
"""

from __future__ import annotations

import http.client
import json
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
_SCHEME = "http"
"""Of the printed addresses. `_connect` must speak the same."""


class _Sale(TypedDict):
    id: int
    first_item_id: int


class Announcement:
    """Finds out whether every web process answers, and words where the service is and how to buy."""

    def __init__(self, config: Config, ports: Sequence[int], stores: list[Store], data_dir: Path) -> None:
        self._host, self._shown_host = _reachable(config.host)
        self._ports = ports
        self._silent = list(ports)
        self._data = _where(stores, data_dir)
        # shown only if embedded: then nobody knows it yet, and it holds no password
        self._database_url = config.database_url if any(store.name == "PostgreSQL" for store in stores) else None
        self._until: float | None = None

    def look(self) -> str | None:
        """The text, or None while something does not answer yet. Each web process is given half a second to answer."""
        self._silent = [port for port in self._silent if _get(self._host, port, "/livez") is None]
        if self._silent:
            return None
        if self._until is None:
            self._until = time.monotonic() + _SALE_SECONDS
        sale = _get(self._host, self._ports[0], "/sales/current") if self._ports else None
        if sale is None and self._ports and time.monotonic() < self._until:
            return None
        return "\n".join(["", *self._lines(sale), ""])

    def _item(self, sale: _Sale) -> int:
        """An item that can still be bought."""
        path = f"/sales/{sale['id']}/items?available=true&limit=1"
        items = json.loads(_get(self._host, self._ports[0], path) or b"{}").get("items")
        return int(items[0]["id"] if items else sale["first_item_id"])

    def _lines(self, sale: bytes | None) -> Iterator[str]:
        addresses = [f"{_SCHEME}://{self._shown_host}:{port}" for port in self._ports]
        if addresses:
            item = self._item(cast(_Sale, json.loads(sale))) if sale else 1
            checkout = f"curl -sX POST '{addresses[0]}/checkout?user_id=me&id={item}'"
            yield f"  serving   {'  '.join(addresses)}"
            yield f"  checkout  {checkout}"
            yield f"""  purchase  curl -sX POST "{addresses[0]}/purchase?code=$({checkout} | cut -d'"' -f4)\""""
        yield f"  data      {self._data}"
        if self._database_url is not None:
            yield f"  audit     DATABASE_URL='{self._database_url}' {sys.executable} -m flash audit"
        yield "  stop      Ctrl-C"


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


def _get(host: str, port: int, path: str) -> bytes | None:
    """The body of a 200; None for anything else."""
    connection = _connect(host, port)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return body if response.status == 200 else None


def _connect(host: str, port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(host, port, timeout=_ANSWER_SECONDS)
