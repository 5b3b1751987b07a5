"""What web and inventory processes write to each other through Redis: names of keys, and sealed entries. Pure.

An inbox entry carries a batch of commands of one sale from one web process, a reply entry a batch of outcomes to it.
Only the web process knows what a command's `number` means; the reply repeats it.

Redis is not believed. Every entry carries a seal over its direction, the key of its stream and all its other fields, so
that it counts only where a process of this deployment has put it, and as it was put there. A seal binds a command to
its sale, its number and the reply stream. A reply stream's name is random and its web process uses a number once, so a
sealed reply can only be about the request that was sent under that number.

Every entry names the version of its payload in a field of its own. A process leaves alone what it is too old to read,
and answers in the version in which it was asked, so that the processes of two releases can work side by side. A reply
also lists the numbers that it answers in a plain field. Every later version must keep these fields and the seal: a web
process that cannot read the payload can then still tell the askers at once that nobody knows.

Within a version an entry may have fields that not every process knows: it verifies the seal over them, and ignores
them. What logs and traces call the commands stands in such a field, and only if there is anything to say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from flash import correlation
from flash.deployment import Deployment
from flash.domain import Outcome, SaleId
from flash.purchase_rpc.payloads import CommandBatch, decode_commands, decode_outcomes, encode_commands, encode_outcomes

VERSION = 2
"""The payload version that this release reads and writes. Version 1 was release 0.1's, which sealed nothing."""
COMMANDS_FIELD, OUTCOMES_FIELD, NUMBERS_FIELD, VERSION_FIELD, SEAL_FIELD = b"c", b"o", b"n", b"v", b"s"
CORRELATIONS_FIELD = b"t"
CHANGED_FIELD, OPENED_FIELD = b"r", b"o"
"""What a wake-up is about: sales or leases have changed; or a host has more inboxes to read, its own affair."""

COMMAND, REPLY = b"command", b"reply"
"""The two directions."""

Fields = dict[bytes, bytes]

_VERSION_TEXT = b"%d" % VERSION
_VERSION = re.compile(rb"[1-9][0-9]{0,5}")
_NUMBERS = re.compile(rb"[0-9]{1,18}(?:,[0-9]{1,18})*")


def wake_up_key(deployment: Deployment) -> str:
    """A stream of hints that sales or leases have changed. Losing one delays a host by at most a second."""
    return deployment.key("wake_up")


def watched_key(deployment: Deployment) -> str:
    """A stream of hints that a host watches more inboxes than before. It ends the reads that began without them."""
    return deployment.key("watched")


def inbox_key(deployment: Deployment, sale_id: SaleId) -> str:
    return deployment.key(f"{{sale:{sale_id}}}:inbox")


def dead_letter_key(deployment: Deployment, sale_id: SaleId) -> str:
    return deployment.key(f"{{sale:{sale_id}}}:dead_letters")


def reply_key(deployment: Deployment, web: str) -> str:
    """Where the web process that calls itself `web` reads its replies. No two may ever have the same name."""
    return deployment.key(f"{{web:{web}}}:replies")


def lease_key(sale_id: SaleId) -> str:
    """Leases are named without the deployment, also in the log: `stores.leases` adds it."""
    return f"{{sale:{sale_id}}}:lease"


def sale_of_lease(key: str) -> SaleId:
    """The inverse of `lease_key`."""
    return SaleId(int(key.removeprefix("{sale:").removesuffix("}:lease")))


def command_entry(deployment: Deployment, sale_id: SaleId, batch: CommandBatch) -> Fields:
    """The entry for the inbox of `sale_id`."""
    fields = {VERSION_FIELD: _VERSION_TEXT, COMMANDS_FIELD: encode_commands(batch)}
    if correlations := correlation.join([command.correlation for _, command in batch.commands]):
        fields[CORRELATIONS_FIELD] = correlations
    return sealed(deployment, COMMAND, inbox_key(deployment, sale_id), fields)


def command_version(deployment: Deployment, sale_id: SaleId, fields: Mapping[bytes, bytes]) -> int:
    """The version of an entry in the inbox of `sale_id`, which may be newer than `VERSION`.

    Raises `ValueError` unless a process of this deployment has put it there.
    """
    return _verified_version(deployment, COMMAND, inbox_key(deployment, sale_id), fields)


def read_commands(deployment: Deployment, sale_id: SaleId, fields: Mapping[bytes, bytes]) -> CommandBatch:
    """The batch of an entry whose version is `VERSION`. Raises `ValueError`."""
    if COMMANDS_FIELD not in fields:
        raise ValueError("an entry without commands")
    batch = decode_commands(fields[COMMANDS_FIELD], sale_id, fields.get(CORRELATIONS_FIELD, b""))
    start, end = deployment.key("{web:"), "}:replies"
    if not (batch.reply_to.startswith(start) and batch.reply_to.endswith(end)):
        raise ValueError(f"{batch.reply_to!r} is not where a web process reads its replies")
    return batch


def reply_entry(deployment: Deployment, reply_to: str, version: int, outcomes: Sequence[tuple[int, Outcome]]) -> Fields:
    """The entry for the reply stream `reply_to`, in the version of the commands that it answers."""
    assert version == VERSION, "there is no other version yet"
    fields = {
        VERSION_FIELD: b"%d" % version,
        NUMBERS_FIELD: b",".join([b"%d" % number for number, _ in outcomes]),
        OUTCOMES_FIELD: encode_outcomes([outcome for _, outcome in outcomes]),
    }
    return sealed(deployment, REPLY, reply_to, fields)


def reply_version(deployment: Deployment, key: str, fields: Mapping[bytes, bytes]) -> int:
    """The version of an entry in the reply stream `key`, which may be newer than `VERSION`.

    Raises `ValueError` unless a process of this deployment has put it there.
    """
    return _verified_version(deployment, REPLY, key, fields)


def answered_numbers(fields: Mapping[bytes, bytes]) -> list[int]:
    """The numbers that a reply answers. Its seal must have been verified; its payload may be of any version."""
    text = fields.get(NUMBERS_FIELD, b"")
    return [int(number) for number in text.split(b",")] if _NUMBERS.fullmatch(text) else []


def read_outcomes(fields: Mapping[bytes, bytes]) -> list[tuple[int, Outcome | None]]:
    """The outcomes of a reply of `VERSION` by their commands' numbers; None for one of a kind unknown here.

    Raises `ValueError`.
    """
    numbers = answered_numbers(fields)
    outcomes = decode_outcomes(fields.get(OUTCOMES_FIELD, b""))
    return list(zip(numbers, outcomes, strict=True))


def sealed(deployment: Deployment, direction: bytes, key: str, fields: Fields) -> Fields:
    """`fields` with the seal that makes them an entry of the stream `key`."""
    return {**fields, SEAL_FIELD: deployment.seal(*_sealed_parts(direction, key, fields))}


def _verified_version(deployment: Deployment, direction: bytes, key: str, fields: Mapping[bytes, bytes]) -> int:
    if not deployment.is_sealed(fields.get(SEAL_FIELD, b""), *_sealed_parts(direction, key, fields)):
        raise ValueError("its seal is not ours")
    text = fields.get(VERSION_FIELD, b"")
    if text == _VERSION_TEXT:
        return VERSION
    if not _VERSION.fullmatch(text) or int(text) < VERSION:
        raise ValueError(f"{text!r} is no version that can be read here")
    return int(text)


def _sealed_parts(direction: bytes, key: str, fields: Mapping[bytes, bytes]) -> list[bytes]:
    """All of an entry but its seal. The order of the fields does not count, and one added or taken away does."""
    parts = [direction, key.encode()]
    for name in sorted(fields):
        if name != SEAL_FIELD:
            parts += (name, fields[name])
    return parts
