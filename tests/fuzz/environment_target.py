"""Wrong settings: each is refused in a sentence that names it, or the process that takes it knows what to do.

What a process makes of its settings when it starts is made here of each environment, as far as that needs no store.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from random import Random

from flash.config import Config, settings
from flash.errors import ConfigError, FlashError
from flash.http.client_address import TrustedProxies
from flash.http.cors import origins_of
from flash.http.listener import listen
from flash.processes.web_app import tls_of
from flash.stores.addresses import check_url, may_use_tls
from flash.stores.redis_address import RedisAddress
from tests.fuzz.findings import Findings, loud_logs, lucks
from tests.fuzz.mutation import mutate, mutate_text, odd_number, odd_text

SECRET = "s3cret-that-is-never-shown-to-anybody"
_NAMED = re.compile(r"[A-Z][A-Z_]+")
_URLS = {
    "DATABASE_URL": (
        f"postgresql://ann:{SECRET}@127.0.0.1:5432/flash?sslmode=disable",
        f"postgresql://ann:{SECRET}@a,b:1/flash?target_session_attrs=read-write&host=/tmp",
        "postgresql:///flash?host=/tmp/socket&user=flash",
    ),
    "REDIS_URL": (
        f"redis://:{SECRET}@localhost:6379/0",
        f"rediss://ann:{SECRET}@[::1]:6379/1?ssl_cert_reqs=none&ssl_ca_certs=/nowhere",
        "unix:///tmp/valkey.sock?db=1",
    ),
    "FLASH_TRUSTED_PROXIES": ("10.0.0.0/8,fd00::/8", "192.168.0.1"),
    "FLASH_CORS_ORIGINS": ("https://shop.example,http://localhost:3000", "*"),
    "FLASH_CONTROL_TOKEN": (SECRET,),
    "FLASH_USER_KEY": (SECRET,),
    "FLASH_HOST": ("127.0.0.1", "::1", "0.0.0.0"),
}
_PLAIN = ("1", "0", "10", "3600", "0.5", "info", "json", "otlp", "builtin", "asyncio", "/nowhere", "1_000", "1e3")


def run(seeds: Iterable[int]) -> Findings:
    findings = Findings()
    with tempfile.TemporaryDirectory() as folder, loud_logs():
        files = _files(Path(folder))
        for seed in seeds:
            for luck in lucks(seed):
                env = _environment(luck, files)
                try:
                    findings.note(_answer(env))
                except Exception as error:  # noqa: BLE001 - whatever it is, it is no defined answer
                    findings.fail(seed, env, error)
    return findings


def _files(folder: Path) -> list[str]:
    """Paths of files that a `…_FILE` may name: right, empty, binary, too long, of two lines, and none at all."""
    luck = Random(0)
    contents = [b"", SECRET.encode(), SECRET.encode() + b"\n", b"\xff\xfe", b"a\nb", b"x" * 70_000, b"\0" * 40]
    contents += [url.encode() for urls in _URLS.values() for url in urls]
    contents += [mutate(luck, url.encode()) for urls in _URLS.values() for url in urls]
    for number, content in enumerate(contents):
        (folder / str(number)).write_bytes(content)
    made = [str(folder / str(number)) for number in range(len(contents))]
    return [*made, str(folder), str(folder / "nothing"), "", "/dev/null", "/dev/zero", "a" * 5_000]


def _environment(luck: Random, files: list[str]) -> dict[str, str]:
    """Up to four settings, most of them wrong."""
    env: dict[str, str] = {}
    for _ in range(luck.choice((1, 1, 2, 4))):
        _, described = luck.choice(settings())
        if described.file_variable and luck.random() < 0.3:
            env[described.file_variable] = luck.choice(files)
        else:
            env[described.variable] = _value(luck, described.variable, files)
    if luck.random() < 0.1:
        env["FLASH_" + luck.choice(("SALE", "PORT", "USERKEY", odd_text(luck)))] = "1"
    # the kernel ends a variable at the first NUL
    return {name.replace("\0", ""): value.replace("\0", "") for name, value in env.items()}


def _value(luck: Random, variable: str, files: list[str]) -> str:
    kind = luck.randrange(4)
    if kind == 0:
        return odd_text(luck)
    if kind == 1:
        return str(odd_number(luck))
    if variable.startswith("FLASH_TLS_"):
        return luck.choice(files)
    right = luck.choice(_URLS.get(variable, _PLAIN))
    return right if kind == 2 else mutate_text(luck, right)


def _answer(env: dict[str, str]) -> str:
    """Raises whatever is no defined answer."""
    try:
        config = Config.from_env(env)
    except ConfigError as error:
        _check_lines(str(error), env)
        return "refused: a setting"
    shown = repr(config) + str(config.lines()) + str(config.warnings())
    if _tells(shown):
        raise AssertionError("a secret is shown")
    shown.encode()  # an operator's terminal, or a log, must be able to hold it
    return _start(config)


def _check_lines(text: str, env: dict[str, str]) -> None:
    text.encode()
    for line in text.splitlines():
        if not any(name in line for name in _NAMED.findall(" ".join(env))):
            raise AssertionError(f"{line!r} names no setting")
    if _tells(text):
        raise AssertionError(f"a secret is shown: {text}")


def _tells(text: str) -> bool:
    """Whether `text` shows what stands where a password does, and not in the place of a user or a host."""
    return f":{SECRET}" in text or f"={SECRET!r}" in text


def _start(config: Config) -> str:
    TrustedProxies(config.trusted_proxies)
    origins_of(config.cors_origins)
    try:
        tls_of(config)
        _listen(config)
        if config.redis_url is not None:
            RedisAddress.parse(config.redis_url)
        if config.database_url is not None:
            check_url(config.database_url)
            may_use_tls(config.database_url)
    except FlashError as error:
        if not _NAMED.search(str(error)) or _tells(str(error)):
            raise AssertionError(f"{error!s}: names nothing to do, or a secret") from error
        return "refused: at the start"
    return "accepted"


def _listen(config: Config) -> None:
    """Names are not looked up: that would be the network's answer."""
    if re.fullmatch(r"[a-z]+", config.host) is None:
        listen(config.host, 0).close()
