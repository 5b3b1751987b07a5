"""A host of the next release beside hosts of this one, which is the previous release to it.

What the next release may change is what `flash.purchase_rpc.messages` allows: the payload, under a higher version. It
reads both versions, writes its own, answers in the version in which it was asked, and knows a refusal that this
release does not. Everything else of such a host is the code of this release: its link translates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from flash.domain import Refusal
from flash.purchase_rpc import messages
from flash.purchase_rpc.messages import COMMAND, COMMANDS_FIELD, OUTCOMES_FIELD, REPLY, VERSION_FIELD, Fields
from flash.stores.redis_link import RedisCommand, flat
from flash.testing.twins.redis import as_bytes
from tests.simulation.stores import DEPLOYMENT, Link

_THIS, _NEXT = b"%d" % messages.VERSION, b"%d" % (messages.VERSION + 1)
_MARK = b"next:"
_RENAMED = {Refusal.ITEM_SOLD.value: "item_gone"}
"""What the next release calls a refusal, also to those who asked in the version of this one."""
_RENAMED_BACK = {name: value for value, name in _RENAMED.items()}


class NextReleaseLink(Link):
    """One connection of a host of the next release."""

    async def execute(self, *commands: RedisCommand, block_seconds: float = 0.0) -> list[Any]:
        answers = await super().execute(*map(self._written, commands), block_seconds=block_seconds)
        return [self._read(command, answer) for command, answer in zip(commands, answers, strict=True)]

    def _written(self, command: RedisCommand) -> RedisCommand:
        name, key = command[0], str(command[1]) if len(command) > 1 else ""
        if name != "XADD" or not key.endswith((":inbox", ":replies")):
            return command
        fields = _fields_of(command[3:])
        if key.endswith(":inbox"):
            return ("XADD", key, "*", *flat(_to_next(COMMAND, key, COMMANDS_FIELD, fields)))
        fields[OUTCOMES_FIELD] = _with_kinds(_RENAMED, fields[OUTCOMES_FIELD])
        if self._host.asked_in.get(key) == _NEXT:
            return ("XADD", key, "*", *flat(_to_next(REPLY, key, OUTCOMES_FIELD, fields)))
        return ("XADD", key, "*", *flat(messages.sealed(DEPLOYMENT, REPLY, key, fields)))

    def _read(self, command: RedisCommand, answer: Any) -> Any:
        if command[0] == "XREAD":
            return answer and [[key, self._entries(key.decode(), entries)] for key, entries in answer]
        return self._entries(str(command[1]), answer) if command[0] == "XRANGE" else answer

    def _entries(self, key: str, entries: Sequence[Any]) -> list[Any]:
        return [[entry_id, list(flat(self._fields(key, _fields_of(parts))))] for entry_id, parts in entries]

    def _fields(self, key: str, fields: Fields) -> Fields:
        """As this release would have written them."""
        version = fields.get(VERSION_FIELD)
        if key.endswith(":inbox"):
            if version == _NEXT:
                fields = _from_next(COMMAND, key, COMMANDS_FIELD, fields)
            if COMMANDS_FIELD in fields:
                self._host.asked_in[orjson.loads(fields[COMMANDS_FIELD])[0]] = version or b""
        elif key.endswith(":replies") and version == _NEXT:
            fields = _from_next(REPLY, key, OUTCOMES_FIELD, fields)
            fields[OUTCOMES_FIELD] = _with_kinds(_RENAMED_BACK, fields[OUTCOMES_FIELD])
            fields = messages.sealed(DEPLOYMENT, REPLY, key, fields)
        return fields


def _to_next(direction: bytes, key: str, payload: bytes, fields: Fields) -> Fields:
    changed = {**fields, VERSION_FIELD: _NEXT, payload: _MARK + fields[payload]}
    return messages.sealed(DEPLOYMENT, direction, key, changed)


def _from_next(direction: bytes, key: str, payload: bytes, fields: Fields) -> Fields:
    changed = {**fields, VERSION_FIELD: _THIS, payload: fields[payload].removeprefix(_MARK)}
    return messages.sealed(DEPLOYMENT, direction, key, changed)


def _with_kinds(names: dict[str, str], payload: bytes) -> bytes:
    return orjson.dumps([[names.get(kind, kind), *rest] for kind, *rest in orjson.loads(payload)])


def _fields_of(parts: Sequence[str | bytes | int]) -> Fields:
    texts = [as_bytes(part) for part in parts]
    return dict(zip(texts[::2], texts[1::2], strict=True))
