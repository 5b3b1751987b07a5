"""The files that others run us with fit the service, and the tools that read them, as far as this machine can tell."""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flash.config import Config, environment
from flash.shutdown import process_stop_seconds

ROOT = Path(__file__).resolve().parent.parent
UNITS = ROOT / "deploy" / "systemd"
INSTANCES = ("flash-web@8080.service", "flash-inventory@1.service", "flash-migrate.service", "flash.target")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with a program that is there: systemd looks for it, and splits its path at blanks."""
    folder = tmp_path / "units"
    shutil.copytree(UNITS, folder)
    program = tmp_path / "python"
    program.symlink_to(sys.executable)
    for unit in folder.glob("*.service"):
        unit.write_text(unit.read_text().replace("/opt/flash/bin/flash", f"{program} -m flash"))
    return folder


def systemd_analyze(folder: Path, *arguments: str) -> str:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not on this machine")
    done = subprocess.run(
        [program, *arguments],
        cwd=folder,
        env=environment(SYSTEMD_UNIT_PATH=f"{folder}:", SYSTEMD_COLORS="0"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_systemd_finds_nothing_wrong_with_the_units(units: Path) -> None:
    assert systemd_analyze(units, "verify", *(f"./{name}" for name in INSTANCES)) == ""


@pytest.mark.parametrize("name", [name for name in INSTANCES if name.endswith(".service")])
def test_every_service_is_in_the_sandbox(units: Path, name: str) -> None:
    security = systemd_analyze(units, "security", "--offline=true", "--no-pager", name)
    exposure = re.search(r"Overall exposure level for \S+: (\d+\.\d+)", security)
    assert exposure is not None, security
    assert float(exposure[1]) < 2, security


@pytest.mark.parametrize("name", ["flash-web@.service", "flash-inventory@.service"])
def test_systemd_waits_for_longer_than_a_stop_takes(name: str) -> None:
    unit = (UNITS / name).read_text()
    prestop = re.search(r"FLASH_PRESTOP_SECONDS=(\d+)", unit)
    takes = process_stop_seconds(Config().drain_seconds, float(prestop[1]) if prestop else 0)
    limit = re.search(r"(?m)^TimeoutStopSec=(\d+)$", unit)
    assert limit is not None
    assert float(limit[1]) > takes + 1


def test_a_unit_allows_the_connections_that_the_service_takes() -> None:
    limit = re.search(r"(?m)^LimitNOFILE=(\d+)$", (UNITS / "flash-web@.service").read_text())
    assert limit is not None
    assert int(limit[1]) >= Config().connections_max + 200


def test_honcho_export_makes_units_as_the_documents_say(tmp_path: Path) -> None:
    pytest.importorskip("jinja2", reason="honcho[export] is not installed")
    documents = (ROOT / "docs" / "operations.md").read_text()
    commands = re.search(r"(?m)^(printf '%s\\n' \"PATH.*\n)(honcho export .*)$", documents)
    assert commands is not None
    write_env, export = commands.groups()
    assert export.endswith(" /etc/systemd/system")
    script = write_env + export.replace("-u flash", f"-u {getpass.getuser()}").replace("/etc/systemd/system", "units")
    shutil.copy(ROOT / "Procfile", tmp_path)
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    subprocess.run(["sh", "-euc", script], cwd=tmp_path, env=environment(PATH=path), check=True)
    units = tmp_path / "units"
    services = sorted(unit.name for unit in units.glob("*.service"))
    assert services == [f"flash-{kind}-{number}.service" for kind in ("inventory", "web") for number in (1, 2)]
    assert "Environment=PORT=8081" in (units / "flash-web-2.service").read_text()
    assert systemd_analyze(units, "verify", *(f"./{name}" for name in services), "./flash.target") == ""


def test_prometheus_scrapes_what_the_documents_start() -> None:
    documented = (ROOT / "docs" / "operations.md").read_text()
    webs = sorted(set(re.findall(r"flash-web@(\d+)", documented)))
    inventories = set(re.findall(r"flash-inventory@(\d+)", documented))
    unit = (UNITS / "flash-inventory@.service").read_text()
    first = int(unit.partition("FLASH_METRICS_PORT=")[2].split()[0])
    ports = [*webs, *(str(first + n) for n in range(len(inventories)))]
    scraped = (ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text()
    assert re.findall(r"localhost:(\d+)", scraped) == ports
