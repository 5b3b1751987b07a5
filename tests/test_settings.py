"""How one setting is found and shown: in its variable or in a file, and without what must stay secret."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from flash.config import Config, environment
from flash.errors import ConfigError
from flash.local.procfile import process_environment
from flash.settings import UNSET, Setting, WrongSetting, mask, secret, text

URL = "postgresql://flash:hunter2@db/flash"
TOKEN = Setting("FLASH_TOKEN", text, "a token", "who may look", may_be_in_file=True, is_secret=True)


@pytest.mark.parametrize("content", [URL, f"{URL}\n", f"{URL}\r\n"])
def test_a_secret_may_stand_in_a_file_whose_last_line_ends(tmp_path: Path, content: str) -> None:
    (tmp_path / "url").write_text(content, newline="")
    assert Config.from_env({"DATABASE_URL_FILE": str(tmp_path / "url")}).database_url == URL


def test_every_url_that_may_hold_a_password_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("redis://:hunter2@cache/0\n")
    config = Config.from_env({"REDIS_URL_FILE": str(tmp_path / "url"), "DATABASE_URL_FILE": ""})
    assert (config.redis_url, config.database_url) == ("redis://:hunter2@cache/0", None)


def test_a_setting_that_is_no_secret_is_not_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("9000")
    assert Config.from_env({"PORT_FILE": str(tmp_path / "port")}) == Config()


def test_a_variable_and_its_file_contradict_each_other(tmp_path: Path) -> None:
    (tmp_path / "url").write_text(URL)
    with pytest.raises(ConfigError) as caught:
        Config.from_env({"DATABASE_URL": URL, "DATABASE_URL_FILE": str(tmp_path / "url")})
    assert str(caught.value) == "DATABASE_URL and DATABASE_URL_FILE are both set: expected one of them"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "the file cannot be read (No such file or directory)"),
        (b"", "expected a file of one line of text, which is postgresql://user:password@host:port/database"),
        (b"\n", "expected a file of one line of text, which is "),
        (b"postgresql://h/hunter2\npostgresql://h/hunter2\n", "expected a file of one line of text, which is "),
        (b"postgresql://h/hunter2\xff", "expected a file of one line of text, which is "),
        (b"hunter2" * 10_000, "expected a file of one line of text, which is "),
        (b"mysql://u:hunter2@h/d", "expected a file that holds postgresql://user:password@host:port/database"),
    ],
)
def test_a_wrong_file_is_named_with_its_setting_and_nothing_of_what_is_in_it(
    tmp_path: Path, content: bytes | None, expected: str
) -> None:
    file = tmp_path / "url"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        Config.from_env({"DATABASE_URL_FILE": str(file)})
    assert str(caught.value).startswith(f"DATABASE_URL_FILE={str(file)!r}: {expected}")
    assert "hunter2" not in str(caught.value)


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the file cannot be read"):
        Config.from_env({"REDIS_URL_FILE": str(tmp_path)})


def test_a_file_without_an_end_is_not_read_to_its_end() -> None:
    with pytest.raises(WrongSetting, match="expected a file of one line"):
        TOKEN.read({"FLASH_TOKEN_FILE": os.devnull.replace("null", "zero")})


def test_nothing_of_a_secret_is_shown_and_of_a_url_all_but_its_password() -> None:
    assert TOKEN.shown("correct horse") == "***"
    assert (TOKEN.shown(None), TOKEN.shown(9)) == (None, 9)
    assert "hunter2" not in repr(Config(database_url=URL))
    assert {name: shown for name, shown, _ in Config(database_url=URL).lines()}["DATABASE_URL"] == (
        "postgresql://flash:***@db/flash"
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:hunter2@a:5432,b/d", "postgresql://u:***@a:5432,b/d"),
        ("redis://u:hunter2[::1]:6379/1", "redis://u:***"),
        ("redis://u:hunter2host/1", "redis://u:***"),
        ("redis://:hunter2", "redis://:***"),
        ("redis://a:6379,[::1]:6379,b/name/0", "redis://a:6379,[::1]:6379,b/name/0"),
        ("postgresql:///flash?host=/run:1", "postgresql:///flash?host=/run:1"),
    ],
)
def test_a_password_is_hidden_in_a_url_that_has_lost_its_at_too(url: str, shown: str) -> None:
    assert mask(url) == shown


def test_a_wrong_secret_is_not_repeated() -> None:
    def refuse(value: str) -> str:
        raise ValueError(value)

    wrong = Setting("FLASH_TOKEN", refuse, "16 characters or more", "", may_be_in_file=True, is_secret=True)
    with pytest.raises(WrongSetting) as caught:
        wrong.read({"FLASH_TOKEN": "hunter2"})
    assert str(caught.value) == "FLASH_TOKEN='***': expected 16 characters or more"
    assert caught.value.__suppress_context__, "a traceback would show what the parser was given"


def test_the_repr_of_a_config_never_holds_a_secret() -> None:
    @dataclass
    class Described:
        token: str | None = secret("FLASH_TOKEN", text, "a token", "who may look")

    assert "hunter2" not in repr(Described("hunter2"))


def test_an_unset_secret_is_unset() -> None:
    assert TOKEN.read({}) is UNSET
    assert TOKEN.read({"FLASH_TOKEN": "", "FLASH_TOKEN_FILE": ""}) is UNSET


def test_the_table_of_settings_says_which_may_stand_in_a_file() -> None:
    meanings = {name: meaning for name, _, meaning in Config().lines()}
    assert meanings["DATABASE_URL"].endswith(" (or DATABASE_URL_FILE)")
    assert "_FILE" not in meanings["PORT"]


def test_a_child_whose_setting_is_changed_does_not_read_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL_FILE", "/run/secrets/database_url")
    monkeypatch.setenv("REDIS_URL_FILE", "/run/secrets/redis_url")
    changed = environment(DATABASE_URL=URL)
    assert changed["DATABASE_URL"] == URL
    assert changed.keys() & {"DATABASE_URL_FILE", "REDIS_URL_FILE"} == {"REDIS_URL_FILE"}
    of_flash_up = process_environment(Config(database_url=URL, redis_url="redis://h"), tmp_path)
    assert not of_flash_up.keys() & {"DATABASE_URL_FILE", "REDIS_URL_FILE"}
    Config.from_env(of_flash_up)
