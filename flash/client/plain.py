"""The conversations over Python's own `http.client`, for `flash buy` and `flash top`: they need no other package."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from flash.client.messages import Answer, Conversation, Lost, Send, Wait

T = TypeVar("T")


class PlainTransport:
    """One keep-alive connection to `base_url`. `certificate` is a PEM file to trust instead of the system's.

    `on_wait` hears of each wait before it begins.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout_seconds: float = 10.0,
        certificate: Path | None = None,
        on_wait: Callable[[Wait], None] | None = None,
    ) -> None:
        self._on_wait = on_wait
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{base_url!r} is no address: expected http://host:port")
        self._prefix = parts.path.rstrip("/")
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=certificate)
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=timeout_seconds, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_seconds)

    def close(self) -> None:
        self._connection.close()

    def run(self, conversation: Conversation[T]) -> T:
        """The result of the conversation, after as many requests and waits as it takes."""
        heard: Answer | Lost | None = None
        while True:
            try:
                wanted = conversation.send(heard)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(wanted, Wait):
                if self._on_wait is not None:
                    self._on_wait(wanted)
                time.sleep(wanted.seconds)
                heard = None
            else:
                heard = self.send(wanted)

    def send(self, request: Send) -> Answer | Lost:
        is_sent = False
        try:
            if self._connection.sock is None:
                self._connection.connect()
            is_sent = True
            self._connection.request(request.method, self._prefix + request.target, headers=dict(request.headers))
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return Lost(_reason(error), is_sent)
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
