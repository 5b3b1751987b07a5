"""Valkey from its wheel, on a unix socket alone. It keeps everything in an append-only file and evicts nothing."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from flash.local.embedded import datadir, leftovers
from flash.local.embedded.binaries import find_valkey
from flash.local.embedded.store import Store, ask
from flash.processes.run_as import ourselves


class EmbeddedValkey(Store):
    """A Valkey that stores every write in an append-only file and never evicts.

    `settings` of the server count before ours; `binary` is another server that does the same.
    """

    name = "Valkey"
    stop_signal = signal.SIGTERM

    def __init__(
        self, data_dir: Path, *, settings: Mapping[str, str] | None = None, binary: Path | None = None
    ) -> None:
        super().__init__(data_dir)
        self._settings = dict(settings or {})
        self._binary = binary
        self.socket = datadir.socket_directory(self.data_dir) / "valkey.sock"

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self.socket))}"

    @property
    def home(self) -> Path:
        return self.data_dir / "valkey"

    def launch(self) -> None:
        binary = str(self._binary or find_valkey())
        with datadir.explained():
            home = datadir.own_directory(self.home)
            pid_file = home / "valkey.pid"
            leftovers.stop_server(pid_file, str(home), self.stop_signal)
            self.socket.unlink(missing_ok=True)
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(home),
            "pidfile": str(pid_file),
            "daemonize": "no",
            "save": "",
            "appendonly": "yes",
            "maxmemory-policy": "noeviction",
            "set-proc-title": "no",  # a later run recognizes this process by its command line
            **self._settings,
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self._spawn(ourselves(), home, [binary, *words])

    def is_ready(self) -> bool:
        return ask(self.socket, b"PING\r\n").startswith(b"+PONG")
