"""What `flash up` prints once the service answers: how to buy, where the data lies, how to stop and, last, its address.

The commands must work as they are when pasted into any shell, in whatever directory, and as often as one likes.
"""

from __future__ import annotations

import http.client
import shlex
import shutil
import ssl
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from flash.local.address import Address, reachable
from flash.local.embedded.store import Store
from flash.local.found import demo_dir
from flash.local.procfile import PROJECT
from flash.local.style import Style

DEFAULT_URL = "http://localhost:8080"
"""Where `flash buy` buys unless it is told otherwise."""

_SALE_SECONDS = 5.0
"""How long the first sale may take to appear before the address is printed without it."""
_ANSWER_SECONDS = 0.5


class Announcement:
    """Checks that every web process answers, and writes the text about where the service is and how to buy."""

    def __init__(
        self,
        host: str,
        ports: Sequence[int],
        addresses: Sequence[Address],
        stores: list[Store],
        data_dir: Path,
        style: Style,
    ) -> None:
        self._host = reachable(host)[0]
        self._certificate = addresses[0].certificate if addresses else None
        self._addresses = [address.url for address in addresses]
        self._ports = ports
        self._silent = list(ports)
        self._data_dir = data_dir
        self._data = _where(stores, data_dir)
        self._is_embedded = any(store.name == "PostgreSQL" for store in stores)
        self._style = style
        self._until: float | None = None

    def look(self) -> str | None:
        """The text, or None while something does not answer yet. Each web process is given half a second to answer."""
        self._silent = [port for port in self._silent if self._get(port, "/livez") is None]
        if self._silent:
            return None
        if self._until is None:
            self._until = time.monotonic() + _SALE_SECONDS
        has_sale = not self._ports or self._get(self._ports[0], "/sales/current") is not None
        if not has_sale and time.monotonic() < self._until:
            return None
        return "\n".join(["", *self._lines(), ""])

    def _lines(self) -> Iterator[str]:
        command = flash_command()
        if self._addresses:
            yield self._line("buy", f"{command} buy --user me{self._where_to_buy()}")
        if self._is_embedded:
            yield self._line("audit", f"{self._data_prefix()}{command} audit")
        yield self._line("data", self._data)
        yield self._line("stop", "Ctrl-C")
        if self._addresses:
            first, *others = self._addresses
            yield ""
            yield f"  {self._style.bold(f'{first}/')}{''.join(f'   {other}/' for other in others)}"

    def _line(self, name: str, text: str) -> str:
        return f"  {self._style.dim(name.ljust(7))}{text}"

    def _where_to_buy(self) -> str:
        """The options without which `flash buy` would not find us."""
        usual = PROJECT / ".flash"
        if self._is_in_project(usual, demo_dir(usual)) or self._addresses[0] == DEFAULT_URL:
            return ""
        trusted = f" --cacert {shlex.quote(str(self._certificate.absolute()))}" if self._certificate else ""
        return f" --url {shlex.quote(self._addresses[0])}{trusted}"

    def _data_prefix(self) -> str:
        """The setting without which `flash audit` would not find the stores."""
        return "" if self._is_found() else f"FLASH_DATA_DIR={shlex.quote(str(self._data_dir))} "

    def _is_found(self) -> bool:
        """Whether our data directory is the one that commands find, wherever they are called from."""
        return self._is_in_project(PROJECT / ".flash")

    def _is_in_project(self, *data_dirs: Path) -> bool:
        return (PROJECT / "pyproject.toml").is_file() and self._data_dir in data_dirs

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
    """How to run `flash` from a shell: by its name if that finds this one, else by its path, else as a module."""
    script = Path(sys.executable).with_name("flash")
    if not script.is_file():
        return f"{shlex.quote(sys.executable)} -m flash"
    found = shutil.which("flash")
    return "flash" if found and Path(found).samefile(script) else shlex.quote(str(script))


def _unverified() -> ssl.SSLContext:
    """Verifies nothing: the certificate is for the public name, while we ask our own process by its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _where(stores: list[Store], data_dir: Path) -> str:
    places = {store.home.parent for store in stores}
    if not places:
        return "in the PostgreSQL and Redis of DATABASE_URL and REDIS_URL"
    return ", ".join(f"{store.home} ({store.name})" for store in stores) if places != {data_dir} else str(data_dir)
