"""What `flash up` prints once the service answers: where it is, how to buy, where the data lies and how to stop."""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flash.config import Config
from flash.local.embedded.store import Store
from flash.local.procfile import say

_SALE_SECONDS = 5.0
"""How long the first sale may take to appear before the address is printed without one of its items."""


class Announcement:
    """Says once, as soon as every web process answers, where the service is and how to buy."""

    def __init__(self, config: Config, wanted: dict[str, int], stores: list[Store], data_dir: Path) -> None:
        self._host, self._shown_host = _reachable(config.host)
        self._ports = [config.port + number for number in range(wanted.get("web", 1))]
        self._silent = list(self._ports)
        self._data = _where(stores, data_dir)
        # of an embedded store, whose URL nobody knows yet and which holds no password
        self._database_url = config.database_url if any(store.name == "PostgreSQL" for store in stores) else None
        self._until: float | None = None

    def __call__(self) -> bool:
        """Look whether everything is up and say so; False if it is not yet. Never blocks for long."""
        self._silent = [port for port in self._silent if _get(self._host, port, "/livez") is None]
        if self._silent:
            return False
        if self._until is None:
            self._until = time.monotonic() + _SALE_SECONDS
        sale = _get(self._host, self._ports[0], "/sales/current") if self._ports else None
        if sale is None and self._ports and time.monotonic() < self._until:
            return False
        say("\n".join(["", *self._lines(sale), ""]))
        return True

    def _item(self, sale: dict[str, Any]) -> int:
        """An item that is still there to be bought."""
        path = f"/sales/{sale.get('id')}/items?available=true&limit=1"
        items = json.loads(_get(self._host, self._ports[0], path) or b"{}").get("items")
        return int(items[0]["id"] if items else sale.get("first_item_id", 1))

    def _lines(self, sale: bytes | None) -> Iterator[str]:
        addresses = [f"http://{self._shown_host}:{port}" for port in self._ports]
        if addresses:
            item = self._item(json.loads(sale)) if sale else 1
            checkout = f"curl -sX POST '{addresses[0]}/checkout?user_id=me&id={item}'"
            yield f"  serving   {'  '.join(addresses)}"
            yield f"  checkout  {checkout}"
            yield (
                f'  purchase  CODE=$({checkout} | tee /dev/stderr | sed -nE \'s/^."code":"([^"]+)".*/\\1/p\') '
                f'&& [ "$CODE" ] && curl -sX POST "{addresses[0]}/purchase?code=$CODE"'
            )
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
    connection = http.client.HTTPConnection(host, port, timeout=0.5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return body if response.status == 200 else None
