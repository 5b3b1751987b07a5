"""What an operator can do about an error of a connection to PostgreSQL: half a sentence for each kind."""

from __future__ import annotations

from socket import gaierror

import trio

from flash.local.redis_advice import chain


def advice(error: BaseException) -> str:
    """A colon and what to do about `error`; empty if there is nothing to say beyond it."""
    return next((f": {found}" for beneath in chain(error) if (found := _advice(beneath))), "")


def _advice(error: BaseException) -> str | None:
    match error:
        case ConnectionRefusedError():
            return "connection refused: nothing listens there: start it, or correct host and port in DATABASE_URL"
        case gaierror():
            return "no such host is known: correct it in DATABASE_URL"
        case FileNotFoundError():
            return "there is no such socket: start it, or correct host and port in DATABASE_URL"
        case trio.TooSlowError():
            return "it is silent: a firewall, or a wrong host in DATABASE_URL"
        case _:
            return None
