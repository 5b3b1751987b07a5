"""`flash top`: a running service, looked at once a second. It asks what every visitor may ask, and with the operator's
token also `GET /control/state`.

On a terminal it redraws one screen until q or Ctrl-C; elsewhere it prints one snapshot and ends.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flash.client.conversations import Conversations
from flash.client.errors import FlashClientError, InvalidRequest
from flash.client.plain import PlainTransport
from flash.client.retries import NEVER
from flash.config import environment
from flash.errors import ConfigError, OperatorError
from flash.local.style import style_of
from flash.terminal.printable import printable
from flash.terminal.screen import Screen
from flash.terminal.top_history import Snapshot, TopHistory
from flash.terminal.top_view import lines

LOOK_SECONDS = 1.0
SALES_MAX = 8
_WHOLE_LINES = 1_000
"""Without a terminal nothing is cut: a shortened process id would be another one."""
_ANSWER_SECONDS = 3.0


def top(url: str, certificate: Path | None, token: str | None, *, is_once: bool = False) -> int:
    """Show the service at `url`. Raises `ConfigError` for a wrong address or token, `OperatorError` if none answers."""
    try:
        transport = PlainTransport(url, timeout_seconds=_ANSWER_SECONDS, certificate=certificate)
    except (ValueError, OSError) as error:
        raise ConfigError(f"--url or --cacert: {error}") from error
    watcher = Watcher(transport, token)
    try:
        if sys.stdout.isatty() and not is_once:
            _watch(watcher, url)
        else:
            _print_once(watcher, url)
    finally:
        transport.close()
    return 0


class Watcher:
    """Looks at the service, and keeps what the last minutes were like."""

    def __init__(self, transport: PlainTransport, token: str | None) -> None:
        self._transport = transport
        self._token = token
        self._conversations = Conversations(NEVER)
        self.history = TopHistory()

    def look(self) -> None:
        """Raises `ConfigError` if the token is wrong. That the service does not answer is a thing to be seen."""
        try:
            now, sales = self._transport.run(self._conversations.latest_sales(SALES_MAX))
            health = self._transport.run(self._conversations.health())
            snapshot = Snapshot(now, sales, health, self._control_state())
        except FlashClientError as error:
            self.history.miss(error)
            return
        self.history.add(time.monotonic(), snapshot)

    def _control_state(self) -> Mapping[str, Any] | None:
        if self._token is None:
            return None
        try:
            return self._transport.run(self._conversations.control_state(self._token))
        except InvalidRequest as error:
            if error.code == "not_found":
                return None  # it has no control room
            raise ConfigError(f"FLASH_CONTROL_TOKEN: the service does not take it ({error.detail})") from error


def _watch(watcher: Watcher, url: str) -> None:
    style = style_of(sys.stdout, environment())
    with Screen(sys.stdin, sys.stdout) as screen:
        while True:
            began = time.monotonic()
            watcher.look()
            size = shutil.get_terminal_size()
            screen.show(lines(watcher.history, url, size.columns, style), size.lines)
            if screen.wait_quit(max(0.0, began + LOOK_SECONDS - time.monotonic())):
                return


def _print_once(watcher: Watcher, url: str) -> None:
    """Look twice, since a rate needs it."""
    watcher.look()
    if watcher.history.latest is not None:
        time.sleep(LOOK_SECONDS)
        watcher.look()
    error = watcher.history.error
    if error is not None:
        raise OperatorError(
            f"nobody answers at {url} ({printable(error.detail)}): start the service with `flash up`, or give --url"
        )
    width = shutil.get_terminal_size((_WHOLE_LINES, 24)).columns
    sys.stdout.write("\n".join([*lines(watcher.history, url, width, style_of(sys.stdout, environment())), ""]))
