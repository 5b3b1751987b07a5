"""The command line as a person meets it: a real process, its output and its exit code."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from flash import __version__
from flash.config import environment
from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey
from flash.local.procfile import PROJECT

COMMANDS = (
    "up",
    "web",
    "inventory",
    "buy",
    "top",
    "crowd",
    "migrate",
    "keys",
    "audit",
    "config",
    "doctor",
    "completion",
)


CONSOLE_SCRIPT = "import sys; from flash.cli import main; sys.exit(main())"
"""What pip makes of the entry point in pyproject.toml."""


def flash(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `flash` with nothing but `settings` set."""
    inherited = {name: environment().get(name, "") for name in ("PATH", "HOME", "COVERAGE_PROCESS_CONFIG")}
    return subprocess.run(
        [sys.executable, "-m", "flash", *arguments],
        env={**inherited, "PYTHONPATH": str(PROJECT), **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_lists_every_command() -> None:
    done = flash("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert f"\n    {command}" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_tells_its_exit_codes(command: str) -> None:
    done = flash(command, "--help")
    assert done.returncode == 0
    assert "exit codes:" in done.stdout


def test_help_imports_nothing_heavy() -> None:
    script = "import sys, flash.cli as c\ntry: c.main(['--help'])\nexcept SystemExit: pass\n"
    script += "print(sorted({'trio', 'asyncpg', 'redis', 'hypercorn', 'asyncio'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=PROJECT, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_without_a_command_it_prints_the_help() -> None:
    done = flash()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == flash("--help").stdout


def test_the_version_is_that_of_the_package() -> None:
    assert flash("--version").stdout == f"flash {__version__}\n"


@pytest.mark.parametrize("arguments", [("sell",), ("up", "--port", "x"), ("up", "--port", "70000")])
def test_wrong_usage_exits_2_without_a_traceback(arguments: tuple[str, ...]) -> None:
    done = flash(*arguments)
    assert done.returncode == 2
    assert "usage: flash" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "usage", "said"),
    [
        (("audti",), "usage: flash [-h]", "did you mean audit?"),
        (("up", "--demoo"), "usage: flash up ", "did you mean --demo?"),
        (("keys", "rotat"), "usage: flash keys ", "did you mean rotate?"),
        (("keys", "rotate", "--now"), "usage: flash keys rotate ", "unrecognized arguments: --now"),
        (("zzz",), "usage: flash [-h]", "invalid choice: 'zzz'"),
    ],
)
def test_a_misspelt_word_is_answered_by_its_own_command_with_the_nearest_right_one(
    arguments: tuple[str, ...], usage: str, said: str
) -> None:
    done = flash(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(usage)
    assert said in done.stderr


def test_wrong_settings_are_all_named_and_exit_2() -> None:
    done = flash("config", PORT="http", FLASH_USER_LIMIT="0")
    assert done.returncode == 2
    assert done.stdout == ""
    assert [line.split("=")[0] for line in done.stderr.splitlines()] == ["flash: PORT", "flash: FLASH_USER_LIMIT"]


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-O", "-m", "flash"],
        [sys.executable, "-OO", "-m", "flash"],
        [sys.executable, "-m", "flash"],
        [sys.executable, "-c", CONSOLE_SCRIPT],
    ],
    ids=["python -O", "python -OO", "PYTHONOPTIMIZE", "PYTHONOPTIMIZE and the console script"],
)
def test_flash_refuses_to_run_without_assertions(command: list[str]) -> None:
    optimize = {} if "-O" in command[1] else {"PYTHONOPTIMIZE": "1"}
    done = subprocess.run(
        [*command, "config"],
        env={**environment(PYTHONPATH=str(PROJECT)), **optimize},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("flash: this service refuses to run without assertions")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["web", "inventory", "migrate", "keys", "audit"])
def test_a_missing_database_is_reported_with_what_to_do(command: str) -> None:
    done = flash(command, FLASH_DATA_DIR="/nowhere")  # not where a developer's own `scripts/run` keeps its data
    assert done.returncode == 2
    assert done.stderr.startswith("flash: DATABASE_URL is not set: run `flash up`")


@pytest.mark.parametrize("command", ["web", "inventory"])
def test_a_missing_redis_is_reported_with_what_to_do(command: str) -> None:
    done = flash(command, DATABASE_URL="postgresql://h/d")
    assert done.returncode == 2
    assert done.stderr.startswith("flash: REDIS_URL is not set: run `flash up`")


def test_config_shows_effective_values_and_no_password() -> None:
    done = flash("config", PORT="9000", DATABASE_URL="postgresql://u:hunter2@h/d")
    assert done.returncode == 0
    assert "9000" in done.stdout
    assert "hunter2" not in done.stdout


def test_config_warns_of_what_is_unwise() -> None:
    done = flash("config", FLASH_HTTP="own")
    assert done.returncode == 0
    assert done.stderr.startswith("flash: warning: FLASH_HTTP=own is now called FLASH_HTTP=builtin")


@pytest.mark.parametrize(
    ("variable", "value", "meant"),
    [
        ("FLASH_SALE_SZIE", "100", "; did you mean FLASH_SALE_SIZE?"),
        ("FLASH_PORT", "8080", "; did you mean PORT?"),
        ("FLASH_DATABASE_URL", "postgresql://h/d", "; did you mean DATABASE_URL?"),
        ("FLASH_XYZ", "1", ""),
    ],
)
def test_a_variable_that_is_no_setting_is_named_with_the_nearest(variable: str, value: str, meant: str) -> None:
    done = flash("config", **{variable: value})
    assert done.returncode == 0
    assert done.stderr == f"flash: warning: {variable} is no setting{meant}\n"


def test_what_kubernetes_sets_for_a_service_named_flash_is_no_mistake() -> None:
    names = ("FLASH_SERVICE_HOST", "FLASH_SERVICE_PORT_HTTP", "FLASH_PORT", "FLASH_PORT_80_TCP_ADDR")
    assert flash("config", **dict.fromkeys(names, "tcp://10.0.0.1:80")).stderr == ""


def test_config_as_json_holds_every_setting() -> None:
    done = flash("config", "--json", REDIS_URL="redis://:hunter2@h")
    shown = json.loads(done.stdout)
    assert shown["REDIS_URL"] == "redis://:***@h"
    assert shown["DATABASE_URL"] is None
    assert shown["FLASH_SALE_SIZE"] == 10_000


def test_migrate_without_a_server_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    done = flash("migrate", DATABASE_URL=f"postgresql://flash@/flash?host={tmp_path}")
    assert done.returncode == 1
    assert done.stderr.startswith("flash: ")
    assert "Traceback" not in done.stderr


def test_migrating_twice_does_no_harm(own_postgres: EmbeddedPostgres) -> None:
    for _ in range(2):
        done = flash("migrate", DATABASE_URL=own_postgres.url)
        assert (done.returncode, done.stderr) == (0, "")


def verdicts(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """What `flash doctor` said, by subject."""
    return {line[6:24].strip(): line[:4].strip() for line in done.stdout.splitlines()}


def test_the_doctor_finds_nothing_on_a_sound_machine(postgres: str, valkey: EmbeddedValkey, tmp_path: Path) -> None:
    done = flash("doctor", DATABASE_URL=postgres, REDIS_URL=valkey.url, FLASH_DATA_DIR=str(tmp_path), PORT="0")
    assert done.returncode == 0, done.stdout
    assert {verdict for subject, verdict in verdicts(done).items() if subject != "open files"} <= {"ok", "warn"}


def test_the_doctor_names_a_taken_port_absent_stores_and_foreign_data(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("16\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = flash(
            "doctor",
            PORT=str(taken.getsockname()[1]),
            FLASH_DATA_DIR=str(tmp_path),
            REDIS_URL=f"unix://{tmp_path}/none.sock",
        )
    assert done.returncode == 1
    found = verdicts(done)
    assert (found["port"], found["data directory"], found["REDIS_URL"]) == ("fail", "fail", "fail")


def test_an_option_is_not_taken_for_a_longer_one() -> None:
    done = flash("doctor", "--js")
    assert done.returncode == 2
    assert "unrecognized arguments: --js" in done.stderr


def test_the_doctor_as_json_says_the_same(tmp_path: Path) -> None:
    done = flash("doctor", "--json", PORT="0", FLASH_DATA_DIR=str(tmp_path), REDIS_URL=f"unix://{tmp_path}/none.sock")
    report = json.loads(done.stdout)
    assert (done.returncode, report["sound"], report["running_pid"]) == (1, False, None)
    assert {finding["subject"] for finding in report["findings"] if finding["verdict"] == "fail"} == {"REDIS_URL"}


def test_the_doctor_fails_a_valkey_that_evicts(valkey: EmbeddedValkey) -> None:
    import redis

    with redis.Redis.from_url(valkey.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    done = flash("doctor", REDIS_URL=valkey.url, PORT="0")
    assert verdicts(done)["eviction"] == "fail"
    assert done.returncode == 1
