"""Settings: all read at once, wrong ones named, shown without their secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from flash.config import Config, environment, mask, postgres_environment
from flash.domain import Command, RequestId, SaleId
from flash.errors import ConfigError
from flash.purchase_rpc.payloads import CommandBatch, decode_commands, encode_commands
from flash.shutdown import EXIT_SECONDS, HONCHO_KILL_SECONDS
from tests.codes import a_code

ONE = SaleId(1)
KEY = RequestId("key:a")


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
        "REDIS_URL='mysql://h': expected redis://host:port/0, rediss://…, unix:///path or "
        "redis+sentinel://host,host/name",
        "PORT='80 80': expected a whole number from 0 to 65,535",
        "FLASH_USER_LIMIT='11': expected a whole number from 1 to 10",
    ]


@pytest.mark.parametrize("rest", ["a", "a/", "a//", "/name", "a,,b/name", ":secret@/name"])
def test_sentinels_without_a_name_or_a_host_are_refused_before_a_process_relies_on_them(rest: str) -> None:
    with pytest.raises(ConfigError, match=r"^REDIS_URL=.*expected .* redis\+sentinel://host,host/name$"):
        Config.from_env({"REDIS_URL": f"redis+sentinel://{rest}"})


@pytest.mark.parametrize("rest", ["a/name", "a,b:1,[::1]:2/name/3", "u:p@a/name?sentinel_password=s"])
def test_sentinels_with_a_name_are_taken(rest: str) -> None:
    assert Config.from_env({"REDIS_URL": f"rediss+sentinel://{rest}"}).redis_url == f"rediss+sentinel://{rest}"


@pytest.mark.parametrize("text", ["-1", "65536", "1e3", "\uff18\uff10", "nan", "0x50", "1.5"])
def test_what_is_not_a_port_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="PORT="):
        Config.from_env({"PORT": text})


@pytest.mark.parametrize("text", ["0", "nan", "inf", "-1", "\uff11"])
def test_seconds_that_are_out_of_bounds_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="FLASH_LEASE_TTL="):
        Config.from_env({"FLASH_LEASE_TTL": text})


def test_limits_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="FLASH_LEASE_MARGIN"):
        Config.from_env({"FLASH_LEASE_TTL": "1", "FLASH_LEASE_MARGIN": "0.6"})


def test_rates_are_limited_only_if_they_are_set() -> None:
    assert (Config().rate_per_address, Config().rate_per_user, Config().trusted_proxies) == (0, 0, "")
    env = {"FLASH_RATE_PER_ADDRESS": "2.5", "FLASH_TRUSTED_PROXIES": "10.0.0.0/8, fd00::/8"}
    assert Config.from_env(env).rate_per_address == 2.5
    with pytest.raises(ConfigError) as caught:
        Config.from_env({"FLASH_RATE_PER_USER": "-1", "FLASH_TRUSTED_PROXIES": "10.0.0.1/8"})
    assert str(caught.value).splitlines() == [
        "FLASH_RATE_PER_USER='-1': expected requests per second, 0 to 1,000,000",
        "FLASH_TRUSTED_PROXIES='10.0.0.1/8': expected networks with commas between them, such as 10.0.0.0/8,fd00::/8",
    ]


def test_the_control_token_is_long_fits_into_a_header_and_is_shown_nowhere() -> None:
    assert Config().control_token is None
    token = "a-long-enough-token"
    config = Config.from_env({"FLASH_CONTROL_TOKEN": token})
    assert config.control_token == token
    assert ("FLASH_CONTROL_TOKEN", "***") in [line[:2] for line in config.lines()]
    assert token not in repr(config)
    for wrong in ("fifteen-letters", "with a blank inside", "ünïcödé-is-no-token"):
        with pytest.raises(ConfigError) as caught:
            Config.from_env({"FLASH_CONTROL_TOKEN": wrong})
        assert str(caught.value) == "FLASH_CONTROL_TOKEN='***': expected at least 16 visible ASCII characters"


def test_nothing_is_admitted_to_wait_longer_than_it_may_take() -> None:
    assert Config.from_env({"FLASH_REQUEST_TIMEOUT": "1"}).admission_wait_seconds == 1
    with pytest.raises(ConfigError, match=r"^FLASH_ADMISSION_WAIT=1: expected at most FLASH_REQUEST_TIMEOUT \(0.5\)$"):
        Config.from_env({"FLASH_REQUEST_TIMEOUT": "0.5"})


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"FLASH_TLS_CERT": "{readable}"}, ["FLASH_TLS_KEY is not set: FLASH_TLS_CERT and FLASH_TLS_KEY go together"]),
        ({"FLASH_TLS_KEY": "{readable}"}, ["FLASH_TLS_CERT is not set: FLASH_TLS_CERT and FLASH_TLS_KEY go together"]),
        (
            {"FLASH_TLS_CERT": "{folder}", "FLASH_TLS_KEY": "{folder}/none.pem"},
            [
                "FLASH_TLS_CERT='{folder}': expected a PEM file",
                "FLASH_TLS_KEY='{folder}/none.pem': expected a PEM file",
            ],
        ),
        (
            {"FLASH_REDIS_CERT": "{readable}", "FLASH_REDIS_CA": "{folder}"},
            [
                "FLASH_REDIS_KEY is not set: FLASH_REDIS_CERT and FLASH_REDIS_KEY go together",
                "FLASH_REDIS_CA='{folder}': expected a PEM file",
            ],
        ),
        (
            {"FLASH_TLS_KEY": "{folder}", "FLASH_LEASE_MARGIN": "2"},
            ["FLASH_LEASE_MARGIN=2: ", "FLASH_TLS_CERT is not set: ", "FLASH_TLS_KEY='{folder}': expected a PEM file"],
        ),
    ],
)
def test_certificate_and_key_are_set_together_and_can_be_read(
    tmp_path: Path, env: dict[str, str], expected: list[str]
) -> None:
    (tmp_path / "readable.pem").touch()
    places = {"folder": str(tmp_path), "readable": str(tmp_path / "readable.pem")}
    with pytest.raises(ConfigError) as caught:
        Config.from_env({name: value.format(**places) for name, value in env.items()})
    lines = str(caught.value).splitlines()
    assert len(lines) == len(expected)
    for line, start in zip(lines, expected, strict=True):
        assert line.startswith(start.format(**places))


def test_nobody_is_warned_of_the_defaults() -> None:
    assert Config().warnings() == []
    assert Config().is_http_builtin


@pytest.mark.parametrize(
    ("env", "start"),
    [
        ({"FLASH_HTTP": "own"}, "FLASH_HTTP=own is now called FLASH_HTTP=builtin"),
        ({"FLASH_LEASE_TTL": "5"}, "FLASH_LEASE_TTL (5) is not below FLASH_REQUEST_TIMEOUT (5): "),
        ({"FLASH_REQUEST_TIMEOUT": "2"}, "FLASH_LEASE_TTL (3) is not below FLASH_REQUEST_TIMEOUT (2): "),
        (
            {"FLASH_REDIS_TIMEOUT": "2.5"},
            "FLASH_REDIS_TIMEOUT (2.5) is not below FLASH_LEASE_TTL - FLASH_LEASE_MARGIN (2.5)",
        ),
        ({"FLASH_DATABASE_TIMEOUT": "6"}, "FLASH_DATABASE_TIMEOUT (6) is above FLASH_REQUEST_TIMEOUT (5): "),
        ({"FLASH_DRAIN_SECONDS": "0.3"}, "FLASH_DRAIN_SECONDS (0.3) is not above 0.3125: "),
        (
            {"FLASH_DRAIN_SECONDS": "4.1", "HONCHO_PROCESS_NAME": "web.1"},
            "FLASH_PRESTOP_SECONDS (0) and FLASH_DRAIN_SECONDS (4.1) are more than 4 together: honcho kills",
        ),
        (
            {"FLASH_PRESTOP_SECONDS": "2.5", "HONCHO_PROCESS_NAME": "web.1"},
            "FLASH_PRESTOP_SECONDS (2.5) and FLASH_DRAIN_SECONDS (2) are more than 4 together: honcho kills",
        ),
    ],
)
def test_a_setting_that_works_but_is_unwise_is_warned_of(env: dict[str, str], start: str) -> None:
    (warning,) = Config.from_env(env).warnings()
    assert warning.startswith(start)


def test_the_greatest_drain_that_honcho_allows_is_not_warned_of() -> None:
    assert Config(drain_seconds=HONCHO_KILL_SECONDS - EXIT_SECONDS, is_under_honcho=True).warnings() == []


def test_nobody_but_honcho_kills_a_process_that_stops_slowly() -> None:
    assert Config.from_env({"FLASH_PRESTOP_SECONDS": "10", "FLASH_DRAIN_SECONDS": "5"}).warnings() == []


def test_the_old_name_of_the_builtin_server_still_means_it() -> None:
    for value, is_builtin in (("builtin", True), ("own", True), ("hypercorn", False)):
        assert Config.from_env({"FLASH_HTTP": value}).is_http_builtin == is_builtin
    with pytest.raises(ConfigError, match="FLASH_HTTP='stock': expected builtin or hypercorn"):
        Config.from_env({"FLASH_HTTP": "stock"})


def test_no_purchase_waits_longer_than_its_command_may_live() -> None:
    longest = Config.from_env({"FLASH_REQUEST_TIMEOUT": "60"}).request_timeout_seconds
    batch = CommandBatch("replies", int(longest * 1000), 1, [(1, Command(a_code(1), KEY))])
    assert decode_commands(encode_commands(batch), ONE) == batch
    with pytest.raises(ConfigError, match="FLASH_REQUEST_TIMEOUT="):
        Config.from_env({"FLASH_REQUEST_TIMEOUT": "60.1"})


@pytest.mark.parametrize("variable", ["FLASH_IDLE_SECONDS", "FLASH_HEAD_SECONDS", "FLASH_BODY_SECONDS"])
@pytest.mark.parametrize("value", ["0", "-1"])
def test_waits_for_a_client_are_longer_than_nothing(variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{variable}='{value}'"):
        Config.from_env({variable: value})


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


@pytest.mark.parametrize("url", ["postgresql://h:99999/flash", "postgresql://h:0/flash", "postgresql://a:1,b:x/flash"])
def test_a_url_with_an_impossible_port_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(ConfigError, match="DATABASE_URL"):
        Config.from_env({"DATABASE_URL": url})


@pytest.mark.parametrize(
    "url", ["postgresql://a:1,b:2/flash", "postgresql://u:p@[::1]:5432/flash", "postgresql:///flash"]
)
def test_a_url_may_name_several_hosts_or_none(url: str) -> None:
    assert Config.from_env({"DATABASE_URL": url}).database_url == url


def test_a_wrong_url_is_reported_without_its_password() -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_env({"DATABASE_URL": "postgres//u:hunter2@h"})
    assert "hunter2" not in str(caught.value)


def test_the_table_of_settings_holds_no_password() -> None:
    config = Config(database_url="postgresql://u:hunter2@h/d")
    assert "hunter2" not in repr(config.lines())


def test_only_the_programs_of_postgresql_do_not_inherit_what_steers_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "elsewhere")
    assert environment(PORT="1").items() >= {"PGHOST": "elsewhere", "PORT": "1"}.items()
    assert "PGHOST" not in postgres_environment()
    assert postgres_environment(PORT="1")["PORT"] == "1"


@pytest.mark.parametrize(
    "origins", ["*", "https://shop.example", "http://localhost:3000, https://a.example:8443", "http://[::1]:80"]
)
def test_origins_are_read_as_browsers_send_them(origins: str) -> None:
    assert Config.from_env({"FLASH_CORS_ORIGINS": origins}).cors_origins == origins


@pytest.mark.parametrize(
    "origins", ["shop.example", "https://a.example/", "https://A.example", "*,https://a.example", "null", "a b", ","]
)
def test_what_no_browser_sends_as_an_origin_is_refused(origins: str) -> None:
    with pytest.raises(ConfigError, match="FLASH_CORS_ORIGINS"):
        Config.from_env({"FLASH_CORS_ORIGINS": origins})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("REDIS_URL", "redis:/:secret@host:6379/0"),
        ("DATABASE_URL", "postgresql:ann:secret@host/flash"),
        ("REDIS_URL", "redis://host\udcff:6379/0"),
        ("DATABASE_URL", "postgresql://" + "a" * 64 + "/flash"),
        ("FLASH_HOST", "host\udcff"),
    ],
)
def test_what_can_be_no_address_is_refused_by_name(variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"^{variable}="):
        Config.from_env({variable: value})
