"""What to do when a key of ours holds no stream, because somebody has written over it: move it aside and go on.
So does a stream to which somebody has added an entry with the last possible id: it takes none any more.

One such key fails every command and every read that it is part of, so it would stop all sales of a process. Only
commands that may be performed twice go through here: a command added twice is decided once, by its request id.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from flash.errors import OutcomeUnknown, Unavailable
from flash.purchase_rpc.stream_link import StreamLink
from flash.stores.redis_link import RedisCommand, WrongType

log = logging.getLogger(__name__)

_KEPT_MS = 7 * 86_400_000
"""How long what was moved is kept for somebody to look at."""
_LAST_ID = b"%d-%d" % (2**64 - 1, 2**64 - 1)


async def execute(link: StreamLink, *commands: RedisCommand) -> list[Any]:
    """`link.execute` for commands that name a stream each; all of them again if a key of theirs had to be moved."""
    try:
        return await link.execute(*commands)
    except WrongType:
        pass
    try:
        await move_aside(link, {str(command[1]) for command in commands})
        return await link.execute(*commands)
    except Unavailable as error:
        raise OutcomeUnknown(str(error)) from error  # the commands on other keys were performed the first time


async def move_aside(link: StreamLink, keys: Iterable[str]) -> None:
    """Rename those of `keys` that hold no stream, or one that is full. Raises `Unavailable` or `OutcomeUnknown`."""
    keys = list(keys)
    kinds = await link.execute(*(("TYPE", key) for key in keys))
    for key, kind in zip(keys, kinds, strict=True):
        if kind == b"none" or (kind == b"stream" and not await _is_full(link, key)):
            continue
        aside = f"{key}:wrong_type"
        await link.execute(("RENAME", key, aside), ("PEXPIRE", aside, _KEPT_MS))
        log.error("somebody has written a %s into %s: moved it to %s", kind.decode(), key, aside)


async def _is_full(link: StreamLink, key: str) -> bool:
    """Whether the stream has given its last id away. Some entries may be gone again, so they do not tell."""
    (flat,) = await link.execute(("XINFO", "STREAM", key))
    return bool(dict(zip(flat[::2], flat[1::2], strict=True))[b"last-generated-id"] == _LAST_ID)
