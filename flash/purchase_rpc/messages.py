"""What web and inventory processes write to each other through Redis: names of keys, and the fields of an entry. Pure.

An inbox entry carries a batch of commands of one sale from one web process, a reply entry a batch of outcomes to it.
Only the web process knows what a command's `number` means; the reply repeats it.

Every entry names the version of its payload in a field of its own. A process leaves alone what it is too old to read,
and answers in the version in which it was asked, so that the processes of two releases can work side by side. A reply
also lists the numbers that it answers in a plain field, which every later version must keep: a web process that cannot
read the payload can then still tell the askers at once that nobody knows.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from flash.codes import pack, unpack
from flash.domain import (
    COMMAND_BATCH_MAX,
    COMMAND_LIFE_SECONDS_MAX,
    CheckoutId,
    Command,
    ItemId,
    Outcome,
    Purchase,
    Refusal,
    Refused,
    Repeated,
    RequestId,
    SaleId,
    Sold,
    UserId,
)

VERSION = 1
"""The newest payload version that this release reads and writes."""
COMMANDS_FIELD, OUTCOMES_FIELD, NUMBERS_FIELD, VERSION_FIELD = b"c", b"o", b"n", b"v"

# Processes of two releases meet under these two names, which the first release chose: keep them.
WAKE_UP_STREAM = "flash:bell"
"""A stream of hints that sales or leases have changed. Losing one delays a host by at most a second."""
SCHEDULER_LEASE = "{clock}:lease"

COMMANDS_MAX = COMMAND_BATCH_MAX
"""Commands in one entry; none of our processes writes a longer one."""
_TTL_MS_MAX = COMMAND_LIFE_SECONDS_MAX * 1000
_REFUSALS = {refusal.value: refusal for refusal in Refusal}
_VERSION = re.compile(rb"[1-9][0-9]{0,5}")
_NUMBERS = re.compile(rb"[0-9]{1,18}(?:,[0-9]{1,18})*")
_REPLY_KEY_START, _REPLY_KEY_END = "{web:", "}:replies"


def inbox_key(sale_id: SaleId) -> str:
    return f"{{sale:{sale_id}}}:inbox"


def dead_letter_key(sale_id: SaleId) -> str:
    return f"{{sale:{sale_id}}}:dead_letters"


def lease_key(sale_id: SaleId) -> str:
    return f"{{sale:{sale_id}}}:lease"


def sale_of_lease(key: str) -> SaleId:
    """The inverse of `lease_key`."""
    return SaleId(int(key.removeprefix("{sale:").removesuffix("}:lease")))


def reply_key(web: str) -> str:
    return f"{_REPLY_KEY_START}{web}{_REPLY_KEY_END}"


def version_of(fields: Mapping[bytes, bytes]) -> int:
    """The version of an entry's payload, which may be newer than `VERSION`. Raises `ValueError` if it is none."""
    text = fields.get(VERSION_FIELD, b"1")  # the first release wrote no version
    if not _VERSION.fullmatch(text):
        raise ValueError(f"{text!r} is not a version")
    return int(text)


@dataclass(frozen=True, slots=True)
class CommandBatch:
    """One inbox entry. It expires `ttl_ms` after it was added, by Redis's clock: nobody waits for it any more."""

    reply_to: str
    ttl_ms: int
    commands: list[tuple[int, Command]]


def encode_commands(batch: CommandBatch) -> bytes:
    return orjson.dumps(
        [
            batch.reply_to,
            batch.ttl_ms,
            [
                (number, b64encode(pack(command.code)).decode("ascii"), command.request_id)
                for number, command in batch.commands
            ],
        ]
    )


def decode_commands(payload: bytes, sale_id: SaleId) -> CommandBatch:
    """Raises `ValueError` for anything that is not a batch of commands for this sale.

    What a store would refuse must be refused here. Past this point it would stop each leader of the sale in turn.
    """
    try:
        reply_to, ttl_ms, rows = orjson.loads(payload)
        commands = [
            (_int(number), Command(unpack(b64decode(code, validate=True)), RequestId(_storable(request_id))))
            for number, code, request_id in rows
        ]
        batch = CommandBatch(_str(reply_to), _int(ttl_ms), commands)
    except (TypeError, ValueError) as error:
        raise ValueError(f"not a batch of commands: {error}") from error
    if not 0 < len(commands) <= COMMANDS_MAX or any(c.code.sale_id != sale_id for _, c in commands):
        raise ValueError(f"not a batch of commands for sale {sale_id}")
    if not (batch.reply_to.startswith(_REPLY_KEY_START) and batch.reply_to.endswith(_REPLY_KEY_END)):
        raise ValueError(f"{batch.reply_to!r} is not where a web process reads its replies")
    if not 0 <= batch.ttl_ms <= _TTL_MS_MAX:
        raise ValueError(f"{batch.ttl_ms} ms is longer than anybody waits")
    return batch


def encode_outcomes(outcomes: Iterable[tuple[int, Outcome]]) -> bytes:
    return orjson.dumps([(number, *_outcome_row(outcome)) for number, outcome in outcomes])


def encode_numbers(outcomes: Iterable[tuple[int, Outcome]]) -> bytes:
    """What stands in a reply's `NUMBERS_FIELD`: the numbers with commas between them, in every version."""
    return b",".join([b"%d" % number for number, _ in outcomes])


def answered_numbers(fields: Mapping[bytes, bytes]) -> list[int]:
    """The numbers that a reply answers, without reading its payload. The previous release does not list them."""
    text = fields.get(NUMBERS_FIELD, b"")
    return [int(number) for number in text.split(b",")] if _NUMBERS.fullmatch(text) else []


def decode_outcomes(payload: bytes) -> list[tuple[int, Outcome | None]]:
    """The outcomes by their commands' numbers; None for one of a kind that this release does not know.

    Raises `ValueError` for anything that is not a batch of outcomes.
    """
    try:
        return [(_int(number), _outcome(_str(kind), row)) for number, kind, row in orjson.loads(payload)]
    except TypeError as error:
        raise ValueError(f"not a batch of outcomes: {error}") from error


def _outcome_row(outcome: Outcome) -> tuple[str, list[Any] | int | None]:
    match outcome:
        case Sold(purchase):
            return "sold", _purchase_row(purchase)
        case Repeated(purchase):
            return "repeated", _purchase_row(purchase)
        case Refused(refusal, earlier, user_limit):
            return refusal.value, user_limit if earlier is None else _purchase_row(earlier)


def _outcome(kind: str, row: list[Any] | int | None) -> Outcome | None:
    if kind == "sold" or kind == "repeated":
        if not isinstance(row, list):
            raise ValueError(f"a {kind} outcome without its purchase")
        return Sold(_purchase(*row)) if kind == "sold" else Repeated(_purchase(*row))
    refusal = _REFUSALS.get(kind)
    if refusal is None:
        return None  # from a later release; it may be a sale as well as a refusal
    if isinstance(row, int):
        return Refused(refusal, user_limit=row)
    return Refused(refusal, None if row is None else _purchase(*row))


def _purchase_row(p: Purchase) -> list[Any]:
    return [p.checkout_id, p.request_id, p.item_id, p.user_id, p.slot, p.purchased_at]


def _purchase(checkout_id: int, request_id: str, item_id: int, user_id: str, slot: int, purchased_at: str) -> Purchase:
    return Purchase(
        CheckoutId(checkout_id),
        RequestId(request_id),
        ItemId(item_id),
        UserId(user_id),
        slot,
        datetime.fromisoformat(purchased_at),
    )


def _int(value: object) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r} is not a whole number")
    return value


def _str(value: object) -> str:
    if type(value) is not str:
        raise ValueError(f"{value!r} is not text")
    return value


def _storable(value: object) -> str:
    """Text that PostgreSQL can hold."""
    text = _str(value)
    if "\0" in text:
        raise ValueError(f"{text!r} contains NUL")
    return text
