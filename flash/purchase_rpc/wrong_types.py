"""What to do when a key of ours holds no stream, because somebody has written over it: move it aside and go on.
So does a stream to which somebody has added an entry with the last possible id: it takes none any more.

One such key fails every command and every read that it is part of, so it would stop all sales of a process. Only
commands that may be performed twice go through here: a command added twice is decided once, by its request id.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from flash.errors import OutcomeUnknown, Unavailable
from flash.purchase_rpc.stream_link import StreamLink
from flash.stores.redis_link import RedisCommand, WrongType

log = logging.getLogger(__name__)

_KEPT_MS = 7 * 86_400_000
"""How long what was moved is kept for somebody to look at."""

# In one step, or of two processes that meet the same key the second would move the stream away that the first has made.
MOVE_ASIDE = """
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' then return '' end
if kind == 'stream' then
    local info = redis.call('XINFO', 'STREAM', KEYS[1])
    for at = 1, #info, 2 do
        -- Some of its entries may be gone again, so only this tells whether it has given its last id away.
        if info[at] == 'last-generated-id' and info[at + 1] ~= ARGV[1] then return '' end
    end
end
redis.call('RENAME', KEYS[1], KEYS[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return kind
"""
LAST_ID = f"{2**64 - 1}-{2**64 - 1}"


async def execute(
    link: StreamLink, *commands: RedisCommand, before_again: Callable[[], None] = lambda: None
) -> list[Any]:
    """`link.execute` for commands that name a stream each; all of them again if a key of theirs had to be moved.

    Calls `before_again` before it performs any of them a second time.
    """
    try:
        return await link.execute(*commands)
    except WrongType:
        pass
    try:
        await move_aside(link, {_key_of(command) for command in commands})
        before_again()
        return await link.execute(*commands)
    except Unavailable as error:
        raise OutcomeUnknown(str(error)) from error  # the commands on other keys were performed the first time


def _key_of(command: RedisCommand) -> str:
    return str(command[3] if command[0] == "EVAL" else command[1])


async def move_aside(link: StreamLink, keys: Iterable[str]) -> None:
    """Rename those of `keys` that hold no stream, or one that is full. Raises `Unavailable` or `OutcomeUnknown`."""
    keys = list(keys)
    moves = [("EVAL", MOVE_ASIDE, 2, key, f"{key}:wrong_type", LAST_ID, _KEPT_MS) for key in keys]
    for key, kind in zip(keys, await link.execute(*moves), strict=True):
        if kind:
            name = kind.decode("ascii", "replace") if isinstance(kind, bytes) else "thing"
            log.error("somebody has written a %s into %s: moved it to %s:wrong_type", name, key, key)
