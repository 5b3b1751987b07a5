"""What to do when a key of ours holds no stream, because somebody has written over it: move it aside and go on.

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
    """Rename those of `keys` that hold something else than a stream. Raises `Unavailable` or `OutcomeUnknown`."""
    keys = list(keys)
    kinds = await link.execute(*(("TYPE", key) for key in keys))
    for key, kind in zip(keys, kinds, strict=True):
        if kind not in (b"stream", b"none"):
            aside = f"{key}:wrong_type"
            await link.execute(("RENAME", key, aside), ("PEXPIRE", aside, _KEPT_MS))
            log.error("somebody has written a %s into %s: moved it to %s", kind.decode(), key, aside)
