"""Settings: read all at once, refused by name, shown without their secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from flash.config import Config, environment, mask
from flash.errors import ConfigError


def test_without_an_environment_every_setting_has_its_default() -> None:
    assert Config.from_env({}) == Config()


def test_an_empty_variable_counts_as_unset() -> None:
    assert Config.from_env({"PORT": "", "DATABASE_URL": ""}) == Config()


def test_settings_are_read_from_their_variables() -> None:
    env = {"PORT": "9000", "FLASH_LEASE_TTL": "4.5", "FLASH_DATA_DIR": "/d", "REDIS_URL": "unix:///s"}
    config = Config.from_env(env)
    assert (config.port, config.lease_seconds, config.data_dir) == (9000, 4.5, Path("/d"))
    assert config.redis_url == "unix:///s"


def test_all_wrong_settings_are_named_at_once_with_what_was_seen_and_expected() -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_env({"PORT": "80 80", "FLASH_USER_LIMIT": "11", "REDIS_URL": "mysql://h"})
    lines = str(caught.value).splitlines()
    assert lines == [
        "REDIS_URL='mysql://h': expected redis://host:port/0, rediss://… or unix:///path",
        "PORT='80 80': expected a whole number from 0 to 65,535",
        "FLASH_USER_LIMIT='11': expected a whole number from 1 to 10",
    ]


@pytest.mark.parametrize("text", ["-1", "65536", "1e3", "\uff18\uff10", "nan", "0x50", "1.5"])
def test_a_port_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="PORT="):
        Config.from_env({"PORT": text})


@pytest.mark.parametrize("text", ["0", "nan", "inf", "-1", "\uff11"])
def test_seconds_that_are_out_of_bounds_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="FLASH_LEASE_TTL="):
        Config.from_env({"FLASH_LEASE_TTL": text})


def test_limits_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="FLASH_LEASE_MARGIN"):
        Config.from_env({"FLASH_LEASE_TTL": "1", "FLASH_LEASE_MARGIN": "0.6"})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:hunter2@h:5432/d", "postgresql://u:***@h:5432/d"),
        ("redis://:hunter2@h/0", "redis://:***@h/0"),
        ("postgresql://u@h/d?password=hunter2&x=1", "postgresql://u@h/d?password=***&x=1"),
        ("postgresql://u@h/d?sslpassword=hunter2", "postgresql://u@h/d?sslpassword=***"),
        ("postgres//u:hunter2@h", "postgres//u:***@h"),
        ("postgresql://u:hun/ter2@h", "postgresql://u:***@h"),
        ("postgresql://u:hun@ter2@h", "postgresql://u:***@h"),
        ("postgresql://u:hunter2@[bad", "postgresql://u:***@[bad"),
        ("host=h password=hunter2", "host=h password=***"),
        ("postgresql://h/d", "postgresql://h/d"),
        ("unix:///tmp/a:b/c.sock", "unix:///tmp/a:b/c.sock"),
    ],
)
def test_a_password_is_masked_wherever_a_url_may_hold_one(text: str, shown: str) -> None:
    assert mask(text) == shown


def test_a_wrong_url_is_reported_without_its_password() -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_env({"DATABASE_URL": "postgres//u:hunter2@h"})
    assert "hunter2" not in str(caught.value)


def test_the_table_of_settings_holds_no_password() -> None:
    config = Config(database_url="postgresql://u:hunter2@h/d")
    assert "hunter2" not in repr(config.lines())


def test_a_child_inherits_nothing_that_steers_postgresqls_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "elsewhere")
    assert "PGHOST" not in environment()
    assert environment(PORT="1")["PORT"] == "1"
