"""Sealed messages, mutated: whoever reads one gets a value, or a `ValueError` and drops it.

Without a right seal it must always be dropped, whatever else stands in it.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from flash.board import messages as board
from flash.domain import Epoch, ItemId, Outcome, Refusal, Refused, SaleId, Sold, Term
from flash.purchase_rpc import messages as rpc
from flash.purchase_rpc.payloads import CommandBatch
from flash.sold_feed import messages as feed
from tests.deployments import DEPLOYMENT
from tests.fuzz.findings import Findings, lucks
from tests.fuzz.mutation import mutate, odd_number
from tests.fuzz.values import PURCHASE, a_command

SALE = SaleId(1)
REPLY_TO = rpc.reply_key(DEPLOYMENT, "w" * 32)
Fields = dict[bytes, bytes]
_TOKENS = (
    b"null",
    b"[",
    b"]",
    b",",
    b'"',
    b"{}",
    b"1e400",
    b"-1",
    b"9" * 30,
    b"true",
    b"\\u0000",
    b"\xff",
    b"\x00",
    b"[" * 2_000,
)


def run_messages(seed: int, findings: Findings) -> None:
    for luck in lucks(seed):
        name, make, read, seal = luck.choice(_MESSAGES)
        is_ours = luck.random() < 0.5
        fields = make()
        if luck.random() < 0.95:
            fields = _mutated(luck, fields, keeps_seal=is_ours)
        if is_ours:
            fields = seal(fields)
        try:
            value = read(fields)
        except _DROPPED[name] as error:
            findings.note(f"{name}: dropped" if "seal" in str(error) else f"{name}: dropped, although it is sealed")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no defined answer
            findings.fail(seed, (name, fields), error)
        else:
            if not is_ours and _read_of(name, fields) != _read_of(name, make()):
                findings.fail(seed, (name, fields), f"was believed without a seal: {value!r}")
            findings.note(f"{name}: read")


def _read_of(name: str, fields: Fields) -> Fields:
    """What is read of an entry. Commands and replies have every field under their seal, the others only these."""
    return (
        fields
        if name in ("commands", "replies")
        else {key: fields.get(key, b"") for key in (b"v", b"p", b"s", b"card")}
    )


def _mutated(luck: Random, fields: Fields, *, keeps_seal: bool) -> Fields:
    changed = dict(fields)
    for _ in range(luck.choice((1, 1, 2))):
        field = luck.choice(list(fields))
        if keeps_seal and field == rpc.SEAL_FIELD:
            continue
        change = luck.randrange(5)
        if change == 0:
            changed.pop(field, None)
        elif change == 1:
            changed[mutate(luck, field)] = b"%d" % odd_number(luck)
        elif change == 2:
            changed[field] = b"%d" % odd_number(luck)
        else:
            changed[field] = mutate(luck, changed.get(field, b""), _TOKENS)
    return changed


def _commands() -> Fields:
    commands = [(number, a_command(number)) for number in (1, 2, 3)]
    return rpc.command_entry(DEPLOYMENT, SALE, CommandBatch(REPLY_TO, 5_000, 4_000_000_000_000, commands))


def _read_commands(fields: Fields) -> object:
    if rpc.command_version(DEPLOYMENT, SALE, fields) > rpc.VERSION:
        return "left to a newer process"
    batch = rpc.read_commands(DEPLOYMENT, SALE, fields)
    for number, command in batch.commands:
        assert (type(number), type(command.request_id), command.code.sale_id) == (int, str, SALE)
        command.request_id.encode()
    return batch


def _replies() -> Fields:
    outcomes: list[tuple[int, Outcome]] = [
        (1, Sold(PURCHASE)),
        (2, Refused(Refusal.USER_LIMIT_REACHED, None, 10)),
        (3, Refused(Refusal.CODE_ALREADY_USED, PURCHASE)),
    ]
    return rpc.reply_entry(DEPLOYMENT, REPLY_TO, rpc.VERSION, outcomes)


def _read_replies(fields: Fields) -> object:
    if rpc.reply_version(DEPLOYMENT, REPLY_TO, fields) > rpc.VERSION:
        return rpc.answered_numbers(fields)
    return rpc.read_outcomes(fields)


def _sold() -> Fields:
    term = Term(SALE, Epoch(3), b"t" * 16)
    return feed.encode_sold(DEPLOYMENT, feed.SoldBatch(term, 7, [ItemId(5), ItemId(9)]))


def _sample() -> Fields:
    mark = board.Mark(1.0, "take_over", "sale 1")
    return board.encode_sample(DEPLOYMENT, board.Sample("p1", 5.0, 1, 2, 1, {"issued": 3}, (1, 0), (mark,)))


def _card() -> Fields:
    queues, led = (board.Queue("checkouts", 1, 0.5),), (board.Led(1, 2, 3.0),)
    card = board.Card("p1", "web", "host", 1, "0.2", 5.0, queues, {"redis": "down"}, led)
    return {b"card": board.encode_card(DEPLOYMENT, card)}


def _seal_rpc(direction: bytes, key: str) -> Callable[[Fields], Fields]:
    def seal(fields: Fields) -> Fields:
        bare = {name: value for name, value in fields.items() if name != rpc.SEAL_FIELD}
        return rpc.sealed(DEPLOYMENT, direction, key, bare)

    return seal


def _seal_parts(*words: bytes) -> Callable[[Fields], Fields]:
    def seal(fields: Fields) -> Fields:
        parts = fields.get(b"v", b""), fields.get(b"p", b"")
        return {**fields, b"s": DEPLOYMENT.seal(*words, *parts)}

    return seal


def _seal_card(fields: Fields) -> Fields:
    """The card is one value; its seal is the beginning of it."""
    version, _, payload = fields.get(b"card", b"")[16:].partition(b" ")
    seal = DEPLOYMENT.seal(b"board card", board.card_key(DEPLOYMENT, "p1").encode(), version, payload)
    return {b"card": seal + version + b" " + payload}


_MESSAGES: tuple[tuple[str, Callable[[], Fields], Callable[[Fields], object], Callable[[Fields], Fields]], ...] = (
    ("commands", _commands, _read_commands, _seal_rpc(rpc.COMMAND, rpc.inbox_key(DEPLOYMENT, SALE))),
    ("replies", _replies, _read_replies, _seal_rpc(rpc.REPLY, REPLY_TO)),
    ("sold", _sold, lambda fields: feed.decode_sold(DEPLOYMENT, fields), _seal_parts(b"sold")),
    ("sample", _sample, lambda fields: board.decode_sample(DEPLOYMENT, fields), _seal_parts(b"board sample")),
    ("card", _card, lambda fields: board.decode_card(DEPLOYMENT, "p1", fields.get(b"card", b"")), _seal_card),
)
_DROPPED: dict[str, tuple[type[Exception], ...]] = {
    **dict.fromkeys(("commands", "replies", "sold"), (ValueError,)),
    **dict.fromkeys(("sample", "card"), (ValueError, TypeError, KeyError)),
}
"""What whoever reads them expects."""
