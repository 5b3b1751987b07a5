"""The commands that a user of Redis must be allowed are those that the code names: no more, and none is missing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from flash.local.embedded import EmbeddedValkey
from flash.stores.redis_acl import BEHIND_SENTINEL, COMMANDS, ELSEWHERE, OF_SENTINEL, acl_lines
from flash.stores.redis_address import RedisAddress

ROOT = Path(__file__).resolve().parents[2]
BESIDE = ("testing", "terminal", "local", "client")
NEED_NONE = {"auth", "readonly"}  # the second one is how an error begins
OF_REDIS_PY = {"ping": "ping", "eval": "eval", "config_get": "config|get"}
IN_SCRIPTS = re.compile(r"redis\.p?call\('([A-Z]+)'(?:, '([A-Z]+)')?")


def commands_named(tree: ast.Module, known: set[str]) -> Iterator[str]:
    """What begins a tuple as a command does, what a script calls, and what redis-py's client is asked for."""
    asks_redis_py = any(isinstance(node, ast.ImportFrom) and node.module == "redis.asyncio" for node in ast.walk(tree))
    for node in ast.walk(tree):
        match node:
            case ast.Tuple(elts=[ast.Constant(value=str(word)), *rest]) if word.isupper() and word.lower() in known:
                second = rest[0].value if rest and isinstance(rest[0], ast.Constant) else ""
                yield _full(word, second, known)
            case ast.Constant(value=str(text)):
                for word, second in IN_SCRIPTS.findall(text):
                    yield _full(word, second, known)
            case ast.Attribute(attr=name) if asks_redis_py and name in OF_REDIS_PY:
                yield OF_REDIS_PY[name]


def _full(word: str, second: object, known: set[str]) -> str:
    full = f"{word}|{second}".lower()
    return full if full in known else word.lower()


def known_to(server: EmbeddedValkey) -> set[str]:
    """Every command and subcommand of the server, and what Sentinel is asked."""
    with redis.from_url(server.url, decode_responses=True) as client:
        containers = {"client", "config", "xinfo"}
        names = set(client.execute_command("COMMAND LIST"))
        for name in containers:
            names |= set(client.execute_command("COMMAND LIST", "FILTERBY", "PATTERN", f"{name}|*"))
    return names | {"sentinel", OF_SENTINEL}


def test_the_list_has_exactly_the_commands_that_the_service_names(valkey: EmbeddedValkey) -> None:
    known = known_to(valkey)
    files = [path for path in sorted((ROOT / "flash").rglob("*.py")) if not set(path.parts) & set(BESIDE)]
    named = {name for path in files for name in commands_named(ast.parse(path.read_text("utf-8")), known)}
    assert named - NEED_NONE == {*COMMANDS, ELSEWHERE, BEHIND_SENTINEL, OF_SENTINEL}


@pytest.mark.parametrize(
    ("url", "who", "more"),
    [
        ("redis://h", "flash", set()),
        ("redis://shop:x@h/3", "shop", {"+select"}),
        ("redis+sentinel://shop:x@h/name", "shop", {"+role"}),
    ],
)
def test_the_line_makes_a_user_who_may_do_that_and_no_more(
    url: str, who: str, more: set[str], valkey: EmbeddedValkey
) -> None:
    line, *of_sentinel = acl_lines(RedisAddress.parse(url), "0011223344556677")
    assert bool(of_sentinel) == ("sentinel" in url)
    assert set(line.split()) & {"+select", "+role"} == more
    with redis.from_url(valkey.url, decode_responses=True) as client:
        client.execute_command(*line.split())
        for command in ("FLUSHALL", "KEYS *", "CONFIG SET maxmemory 1", "ACL LIST", "SET other 1", "PUBLISH c m"):
            told = client.execute_command("ACL", "DRYRUN", who, *command.split())
            assert "no permissions" in told or "has no" in told, (command, told)
        for command in ("SET flash:0011223344556677:k 1", "XREAD STREAMS flash:0011223344556677:{sale:1}:inbox 0"):
            assert client.execute_command("ACL", "DRYRUN", who, *command.split()) == "OK"
        told = client.execute_command("ACL", "DRYRUN", who, "SET", "flash:8899aabbccddeeff:k", "1")
        assert "no permissions" in told, "the keys of another deployment are not ours"
