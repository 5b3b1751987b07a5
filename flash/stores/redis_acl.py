"""What a user of Redis or Valkey must be allowed to do so that the service works, and nothing else.

A test compares the list with the commands that the code names, and another lets such a user sell a sale.
"""

from __future__ import annotations

from flash.stores.redis_address import RedisAddress

COMMANDS = (
    *("client|setname", "config|get", "ping", "time"),
    *("del", "eval", "get", "hdel", "hget", "hgetall", "hset", "mget", "pexpire", "pttl", "rename", "set", "type"),
    *("xadd", "xdel", "xinfo|stream", "xrange", "xread", "xtrim"),
)
"""Those in scripts included. AUTH needs no permission."""
ELSEWHERE = "select"
"""Needed as well where REDIS_URL names another database than 0."""
BEHIND_SENTINEL = "role"
"""Needed as well behind Sentinel: a server is asked whether it is the primary."""
OF_SENTINEL = "sentinel|get-master-addr-by-name"
"""All that the Sentinels themselves are asked."""

_PASSWORD = ">PASSWORD"


def acl_lines(address: RedisAddress, deployment_id: str | None) -> list[str]:
    """The `ACL SETUSER` for the servers, and behind Sentinel, a second one for the Sentinels.

    The password in them is the word PASSWORD. `deployment_id` None: the keys of every deployment.
    """
    commands = [*COMMANDS]
    if address.database:
        commands.append(ELSEWHERE)
    if address.sentinels is not None:
        commands.append(BEHIND_SENTINEL)
    keys = f"~flash:{deployment_id}:*" if deployment_id else "~flash:*"
    lines = [_setuser(address.username, keys, commands)]
    if address.sentinels is not None:
        lines.append(_setuser(address.sentinels.username, "resetkeys", [OF_SENTINEL]))
    return lines


def _setuser(username: str | None, keys: str, commands: list[str]) -> str:
    allowed = " ".join(f"+{command}" for command in sorted(commands))
    return f"ACL SETUSER {username or 'flash'} reset on {_PASSWORD} {keys} resetchannels -@all {allowed}"
