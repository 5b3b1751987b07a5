"""Tells systemd that this process is ready, alive or stopping, over the socket that it names (sd_notify(3)).

Without such a socket nothing is said. Nothing here may hurt the service: a message that cannot be sent is logged.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

import trio

log = logging.getLogger(__name__)


class ServiceManager:
    """`address` is that of a Unix datagram socket; `watchdog_seconds` after the last sign of life we are killed.

    A process that `is_copy` of its parent's is not the service: its end is not the service's, and nor is its life.
    """

    def __init__(self, address: str | None, watchdog_seconds: float | None, *, is_copy: bool = False) -> None:
        self._address = address
        self._watchdog_seconds = None if is_copy else watchdog_seconds
        self._is_copy = is_copy

    @classmethod
    def of(cls, env: Mapping[str, str], *, is_copy: bool = False) -> ServiceManager:
        """The one that `env` describes. Its watchdog may be meant for another process."""
        address = env.get("NOTIFY_SOCKET", "")
        microseconds, pid = env.get("WATCHDOG_USEC", ""), env.get("WATCHDOG_PID", "")
        is_watched = microseconds.isdecimal() and int(microseconds) > 0 and pid in ("", str(os.getpid()))
        return cls(address or None, int(microseconds) / 1e6 if is_watched else None, is_copy=is_copy)

    def ready(self) -> None:
        """What depends on this process may start."""
        self._send(b"READY=1")

    def stopping(self) -> None:
        if not self._is_copy:
            self._send(b"STOPPING=1")

    async def keep_alive(self) -> None:
        """Give signs of life from Trio's loop, twice as often as asked for, until cancelled."""
        while self._address is not None and self._watchdog_seconds is not None:
            self._send(b"WATCHDOG=1")
            await trio.sleep(self._watchdog_seconds / 2)

    def _send(self, message: bytes) -> None:
        if self._address is None:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)  # a service manager that is stuck must not stop the loop
                sender.sendto(message, address)
        except OSError as error:
            log.warning("systemd was not told %s: %s", message.decode(), error)
