"""`flash buy`: checkout and purchase in one command, its receipt, or in plain words why there is none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from flash.client.conversations import Conversations
from flash.client.errors import (
    FlashClientError,
    InvalidRequest,
    OutcomeUnknown,
    Refused,
    TryLater,
    UnexpectedAnswer,
    Unreachable,
)
from flash.client.messages import Wait
from flash.client.plain import PlainTransport
from flash.client.results import Receipt
from flash.client.retries import Retries
from flash.config import environment
from flash.errors import ConfigError
from flash.local.style import Style, style_of
from flash.terminal.printable import printable

REFUSED = 3
UNDECIDED = 4

_NOTICED_SECONDS = 1.0
"""A wait this long is announced: somebody is looking at a silent terminal."""

_WORDS = {
    "item_sold": "somebody was faster: this item is sold",
    "sold_out": "sold out: everything is gone until the next sale opens",
    "user_limit_reached": "the limit is reached: this buyer has all the items of this sale that one buyer may have",
    "item_not_found": "there is no such item",
    "sale_not_open": "the sale of this item has not opened yet",
    "invalid_user_token": "this service wants its buyers signed: set FLASH_USER_KEY to the key that it has",
    "paused": "the sale is paused by its operator: nothing was bought, try again later",
    "overloaded": "too many are buying at this moment: nothing was bought, try again",
    "unavailable": "a store of the service is away: nothing was bought, try again later",
    "rate_limited": "too many requests: nothing was bought, try again later",
}


def buy(url: str, user_id: str, item_id: int | None, *, certificate: Path | None, user_key: str | None) -> int:
    """Buy the item, or a free one, and print the receipt. Returns the exit code; the reason of a no goes to stderr."""
    try:
        transport = PlainTransport(url, certificate=certificate, on_wait=_say_wait)
    except (ValueError, OSError) as error:
        raise ConfigError(f"--url or --cacert: {error}") from error
    style = style_of(sys.stdout, environment())
    try:
        receipt = transport.run(Conversations(Retries(), user_key).buy(user_id, item_id))
    except FlashClientError as error:
        sys.stderr.write(f"flash: {_in_words(error, url)}\n")
        return _exit_code(error)
    finally:
        transport.close()
    sys.stdout.write("\n".join([*_lines(receipt, url, style), ""]))
    return 0


def _say_wait(wait: Wait) -> None:
    if wait.why and wait.seconds >= _NOTICED_SECONDS:
        sys.stderr.write(f"flash: not yet ({printable(wait.why)}): trying again in {wait.seconds:.0f} s\n")


def _lines(receipt: Receipt, url: str, style: Style) -> Iterator[str]:
    when = f"{receipt.purchased_at.astimezone():%F %T}"
    yield f"{style.green('Bought')}  {style.bold(printable(receipt.item.name))}"
    yield f"  item     {receipt.item.id} of sale {receipt.sale_id}"
    yield f"  buyer    {printable(receipt.user_id)}"
    yield f"  when     {when}"
    yield f"  picture  {_join(url, receipt.item.image)}"


def _join(url: str, path: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{printable(path)}"


def _in_words(error: FlashClientError, url: str) -> str:
    if isinstance(error, Unreachable):
        return f"nobody answers at {url} ({printable(error.detail)}): start the service with `flash up`, or give --url"
    if isinstance(error, OutcomeUnknown):
        return (
            "it could not be found out whether that went through: ask for the receipt later, at "
            f"{url.rstrip('/')}/purchases/{error.purchase_code}"
        )
    if isinstance(error, UnexpectedAnswer):
        return f"{url} does not answer as this service does ({printable(error.detail)}): check --url, or its log"
    return _WORDS.get(error.code) or f"{printable(error.detail)} ({printable(error.code)})"


def _exit_code(error: FlashClientError) -> int:
    if isinstance(error, (Refused, InvalidRequest)):
        return REFUSED
    return UNDECIDED if isinstance(error, (TryLater, OutcomeUnknown)) else 1
