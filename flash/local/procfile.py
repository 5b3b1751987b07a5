"""The Procfile: which one, how many processes of each kind, and each one's command, port and environment.

honcho's own parser reads it, so that `flash up` and `honcho start` run the same processes on the same ports.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from honcho.environ import expand_processes, parse_procfile

from flash.config import TOLD, Config, environment
from flash.errors import ConfigError
from flash.settings import did_you_mean

PROJECT = Path(__file__).resolve().parents[2]
"""The directory that holds the package: the project, or `site-packages` if the package is installed."""
PACKAGED = Path(__file__).with_name("Procfile")
CONCURRENCY = "web=1,inventory=2"


@dataclass(frozen=True, slots=True)
class ProcfileProcess:
    """One process to run: its name (`web.1`), its shell command and all of its environment."""

    name: str
    command: str
    env: Mapping[str, str]

    @property
    def port(self) -> int:
        return int(self.env["PORT"])

    def is_of(self, kind: str) -> bool:
        return self.name.rpartition(".")[0] == kind


@dataclass(frozen=True, slots=True)
class Procfile:
    """The commands of a Procfile by kind, and how many processes of each kind are wanted."""

    commands: Mapping[str, str]
    counts: Mapping[str, int]
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment of all processes."""

    def processes(self, port: int, env: Mapping[str, str] | None = None) -> list[ProcfileProcess]:
        """The processes as honcho expands them: the first kind starts at `port`, each further kind 100 higher."""
        env = {**(env or {}), **self.env, "PORT": str(port)}
        expanded = expand_processes(self.commands, concurrency=self.counts, env=env)
        return [ProcfileProcess(found.name, found.cmd, found.env) for found in expanded]

    def web_offsets(self) -> list[int]:
        """What is added to `PORT` for each web process."""
        return [process.port for process in self.processes(0) if process.is_of("web")]


def read_procfile(path: Path | None, concurrency: str | None) -> Procfile:
    """Read `path`, or else the `Procfile` of the current directory, or else the packaged one.

    Raises `ConfigError` if it cannot be used or if `concurrency` asks for a kind that it does not have.
    """
    path = path or _find()
    try:
        commands = parse_procfile(path.read_text()).processes
    except (OSError, UnicodeDecodeError, AssertionError) as error:  # honcho asserts that names are unique
        raise ConfigError(f"{path} cannot be used: {getattr(error, 'strerror', None) or error}") from error
    if not commands:
        raise ConfigError(f"{path} names no process: expected lines such as `web: exec python -m flash web`")
    counts = parse_concurrency(concurrency or CONCURRENCY)
    if concurrency and (unknown := set(counts) - set(commands)):
        kinds = ", ".join(
            f"{kind}{did_you_mean(kind, {known: known for known in commands})}" for kind in sorted(unknown)
        )
        raise ConfigError(f"-c {concurrency}: {path} has only {', '.join(commands)} and no {kinds}")
    if not any(counts.get(kind, 1) for kind in commands):
        raise ConfigError(f"-c {concurrency}: that starts no process; expected something like {CONCURRENCY}")
    return Procfile(commands, counts)


def _find() -> Path:
    ours = Path.cwd() / "Procfile"
    return ours if ours.is_file() else PACKAGED


def parse_concurrency(text: str) -> dict[str, int]:
    """`web=2,inventory=2` as a mapping, as honcho reads its `-c`. Raises `ConfigError`."""
    try:
        pairs = [part.split("=") for part in text.split(",")]
        counts = {name.strip(): int(number) for name, number in pairs}
    except ValueError:
        counts = {}
    if not counts or min(counts.values()) < 0:
        raise ConfigError(f"-c {text}: expected something like {CONCURRENCY}")
    return counts


def process_environment(config: Config, data_dir: Path) -> dict[str, str]:
    """The environment of the processes: `python` is this interpreter, and it finds this package.

    A later run recognizes them by `FLASH_DATA_DIR`.
    """
    assert config.database_url is not None
    assert config.redis_url is not None
    env = environment(
        DATABASE_URL=config.database_url,
        REDIS_URL=config.redis_url,
        FLASH_DATA_DIR=str(data_dir),
        FLASH_PRESTOP_SECONDS="0",  # no proxy is in front, and Ctrl-C should end it now
        FLASH_LOG_FORMAT=config.log_format,
        PYTHONUNBUFFERED="1",
        **{TOLD: "1"},
    )
    env["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), env.get("PATH", os.defpath)))
    if (PROJECT / "pyproject.toml").is_file():  # not installed: run from a checkout
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(PROJECT), env.get("PYTHONPATH"))))
    return env
