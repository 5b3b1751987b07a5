"""The payloads of purchase messages: batches of commands and of outcomes as JSON. Pure; `messages` seals them.

    commands: [reply key, ttl in ms, end in ms, [number, …], base64 of all packed codes, [request id, …]]
    outcomes: [[kind, purchase, limit or null], …]

Commands are laid out by columns, since one base64 call for all codes costs less than one for each. Packing everything
with `struct` was measured too: it is dearer for outcomes, and for a batch of one.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from flash.codes import PACKED_BYTES, pack, unpack
from flash.correlation import split
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

COMMANDS_MAX = COMMAND_BATCH_MAX
"""Commands in one entry; none of our processes writes a longer one."""
_TTL_MS_MAX = COMMAND_LIFE_SECONDS_MAX * 1000
_REFUSALS = {refusal.value: refusal for refusal in Refusal}


@dataclass(frozen=True, slots=True)
class CommandBatch:
    """One inbox entry. Two limits by Redis's clock say when nobody waits for it any more, and the earlier one counts.

    It expires `ttl_ms` after it was added, which holds whatever becomes of that clock; and at `end_ms` since 1970,
    which holds also if a frozen Redis adds it only much later.
    """

    reply_to: str
    ttl_ms: int
    end_ms: int
    commands: list[tuple[int, Command]]


def encode_commands(batch: CommandBatch) -> bytes:
    codes = b"".join([pack(command.code) for _, command in batch.commands])
    return orjson.dumps(
        [
            batch.reply_to,
            batch.ttl_ms,
            batch.end_ms,
            [number for number, _ in batch.commands],
            b64encode(codes).decode("ascii"),
            [command.request_id for _, command in batch.commands],
        ]
    )


def decode_commands(payload: bytes, sale_id: SaleId, correlations: bytes = b"") -> CommandBatch:
    """`correlations`: what logs and traces call the commands, if anything.

    Raises `ValueError` for anything that is not a batch of commands for this sale.

    What a store would refuse must be refused here. Past this point it would stop each leader of the sale in turn.
    """
    try:
        reply_to, ttl_ms, end_ms, numbers, joined, request_ids = orjson.loads(payload)
        packed = b64decode(joined, validate=True)
        if not 0 < len(numbers) <= COMMANDS_MAX or len(packed) != PACKED_BYTES * len(numbers):
            raise ValueError(f"{len(numbers)} commands with {len(packed)} bytes of codes")
        codes = [unpack(packed[at : at + PACKED_BYTES]) for at in range(0, len(packed), PACKED_BYTES)]
        commands = [
            (_int(number), Command(code, RequestId(_storable(request_id)), correlation))
            for number, code, request_id, correlation in zip(
                numbers, codes, request_ids, split(correlations, len(numbers)), strict=True
            )
        ]
        batch = CommandBatch(_str(reply_to), _int(ttl_ms), _int(end_ms), commands)
    except (TypeError, ValueError) as error:
        raise ValueError(f"not a batch of commands: {error}") from error
    if any(code.sale_id != sale_id for code in codes):
        raise ValueError(f"not a batch of commands for sale {sale_id}")
    if not 0 <= batch.ttl_ms <= _TTL_MS_MAX:
        raise ValueError(f"{batch.ttl_ms} ms is longer than anybody waits")
    return batch


def encode_outcomes(outcomes: Sequence[Outcome]) -> bytes:
    return orjson.dumps([_outcome_row(outcome) for outcome in outcomes])


def decode_outcomes(payload: bytes) -> list[Outcome | None]:
    """The outcomes; None for one of a kind that this release does not know.

    Raises `ValueError` for anything that is not a batch of outcomes.
    """
    try:
        return [_outcome(kind, purchase, limit) for kind, purchase, limit in orjson.loads(payload)]
    except TypeError as error:
        raise ValueError(f"not a batch of outcomes: {error}") from error


def _outcome_row(outcome: Outcome) -> tuple[str, list[Any] | None, int | None]:
    match outcome:
        case Sold(purchase):
            return "sold", _purchase_row(purchase), None
        case Repeated(purchase):
            return "repeated", _purchase_row(purchase), None
        case Refused(refusal, earlier, user_limit):
            return refusal.value, None if earlier is None else _purchase_row(earlier), user_limit


def _outcome(kind: str, row: list[Any] | None, limit: int | None) -> Outcome | None:
    if kind == "sold" or kind == "repeated":
        if row is None:
            raise ValueError(f"a {kind} outcome without its purchase")
        return Sold(_purchase(*row)) if kind == "sold" else Repeated(_purchase(*row))
    refusal = _REFUSALS.get(kind)
    if refusal is None:
        return None  # from a later release; it may be a sale as well as a refusal
    return Refused(refusal, None if row is None else _purchase(*row), limit)


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
