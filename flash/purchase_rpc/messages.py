"""How web and inventory processes speak through Redis: names of keys, and what one stream entry holds. Pure.

An inbox entry carries a batch of commands of one sale from one web process, a reply entry a batch of outcomes to it.
A command is known between the two by its `number`, which only its web process understands.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable
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

WAKE_UP_STREAM = "flash:bell"
"""A stream of hints that something about sales or leases has changed. Losing one costs at most a second."""
SCHEDULER_LEASE = "{clock}:lease"
COMMANDS_MAX = COMMAND_BATCH_MAX
"""Commands in one entry; a longer one is not ours."""
_TTL_MS_MAX = COMMAND_LIFE_SECONDS_MAX * 1000
_REPLY_KEY_START, _REPLY_KEY_END = "{web:", "}:replies"


def inbox_key(sale_id: SaleId) -> str:
    return f"{{sale:{sale_id}}}:inbox"


def dead_letter_key(sale_id: SaleId) -> str:
    return f"{{sale:{sale_id}}}:poison"


def lease_key(sale_id: SaleId) -> str:
    return f"{{sale:{sale_id}}}:lease"


def sale_of_lease(key: str) -> SaleId:
    """The inverse of `lease_key`."""
    return SaleId(int(key.removeprefix("{sale:").removesuffix("}:lease")))


def reply_key(web: str) -> str:
    return f"{_REPLY_KEY_START}{web}{_REPLY_KEY_END}"


@dataclass(frozen=True, slots=True)
class CommandBatch:
    """One inbox entry. It is void `ttl_ms` after it was added, by Redis's clock: nobody waits for it any more."""

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

    What the stores would refuse later must be refused here: behind this door it stops every leader of the sale in turn.
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


def decode_outcomes(payload: bytes) -> list[tuple[int, Outcome]]:
    """Raises `ValueError` for anything that `encode_outcomes` did not make."""
    try:
        return [(_int(number), _outcome(kind, row)) for number, kind, row in orjson.loads(payload)]
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


def _outcome(kind: str, row: list[Any] | int | None) -> Outcome:
    if isinstance(row, int):
        return Refused(Refusal(kind), user_limit=row)
    purchase = None if row is None else _purchase(*row)
    if kind in ("sold", "repeated"):
        if purchase is None:
            raise ValueError(f"a {kind} outcome without its purchase")
        return Sold(purchase) if kind == "sold" else Repeated(purchase)
    return Refused(Refusal(kind), purchase)


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
