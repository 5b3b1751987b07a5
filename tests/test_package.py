"""The wheel, really built and really installed: what is in it, and that it runs the service in an empty folder.

The installed copy must not find this project, and finds its dependencies in the environment that runs the tests.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import threading
import tomllib
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

import flash
from flash.testing.stores import private_directory

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_SECONDS = 90.0
NOT_SOURCES = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info")

BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, 'build_' + sys.argv[1])(sys.argv[2])"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, built from a copy: a build leaves files beside its sources."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(ROOT, folder / "source", ignore=NOT_SOURCES)
    for kind in ("wheel", "sdist"):
        run([sys.executable, "-c", BUILD, kind, str(folder)], cwd=folder / "source")
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return built / f"flash-{flash.__version__}-py3-none-any.whl"


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Iterator[Path]:
    """The folder of the commands of a fresh environment with the wheel in it."""
    with private_directory() as folder:
        run([sys.executable, "-m", "venv", str(folder / "venv")])
        commands = folder / "venv" / "bin"
        run([str(commands / "python"), "-m", "pip", "install", "--no-deps", "--no-index", str(wheel)])
        packages = run([str(commands / "python"), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])
        # A path file inside that folder is not read, so the development environment's link to this project stays out.
        Path(packages.strip(), "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        yield commands


@pytest.fixture
def empty_folder() -> Iterator[Path]:
    with private_directory() as folder:
        yield folder


def run(command: list[str], cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=bare_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def bare_environment() -> dict[str, str]:
    """What a person's shell has; nothing that would lead to this project or set the service up."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}


def test_the_wheel_holds_the_package_with_its_data_and_nothing_else(wheel: Path) -> None:
    ours = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "flash").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == ours
    assert {"flash/py.typed", "flash/catalog/colours.toml"} <= packed


def test_the_sdist_also_holds_what_a_maintainer_needs(built: Path) -> None:
    with tarfile.open(built / f"flash-{flash.__version__}.tar.gz") as archive:
        packed = {str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in archive.getnames()}
    wanted = {
        "schema.sql",
        "Procfile",
        "LICENSE",
        "README.md",
        "CONTRIBUTING.md",
        "requirements-dev.txt",
        "scripts/test",
    }
    assert wanted | {"tests/conftest.py", "tests/test_package.py", "benchmarks/__main__.py"} <= packed


def test_the_metadata_says_what_pyproject_says(wheel: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    with zipfile.ZipFile(wheel) as archive:
        folder = f"flash-{flash.__version__}.dist-info"
        metadata = archive.read(f"{folder}/METADATA").decode()
        assert f"{folder}/licenses/LICENSE" in archive.namelist()
    assert f"\nVersion: {flash.__version__}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    for needed in project["dependencies"]:
        assert f"\nRequires-Dist: {needed}\n" in metadata
    assert "\nProvides-Extra: embedded\n" in metadata


def test_the_installed_package_is_not_this_project(installed: Path, empty_folder: Path) -> None:
    found = run([str(installed / "python"), "-c", "import flash; print(flash.__file__)"], cwd=empty_folder)
    assert Path(found.strip()).is_relative_to(installed.parent)


def test_the_installed_command_helps_and_shows_the_settings(installed: Path, empty_folder: Path) -> None:
    assert "flash up" in run([str(installed / "flash"), "up", "--help"], cwd=empty_folder)
    settings = json.loads(run([str(installed / "flash"), "config", "--json"], cwd=empty_folder))
    assert settings["FLASH_SALE_SIZE"] == 10_000
    assert list(empty_folder.iterdir()) == []


def test_flash_up_in_an_empty_folder_sells_an_item_and_stops_on_ctrl_c(installed: Path, empty_folder: Path) -> None:
    with subprocess.Popen(
        [installed / "flash", "up", "-c", "web=1,inventory=1"],
        cwd=empty_folder,
        env={**bare_environment(), "PORT": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        guard = threading.Timer(PATIENCE_SECONDS, process.kill)  # a service that hangs fails the test
        guard.start()
        try:
            buy(address_in(process))
            process.send_signal(signal.SIGINT)
            assert process.stdout is not None
            rest = process.stdout.read()
            assert process.wait() == 0, rest
        finally:
            guard.cancel()
            process.terminate()
    assert [path.name for path in empty_folder.iterdir()] == [".flash"]


def address_in(process: subprocess.Popen[str]) -> str:
    """The address in the lines that `flash up` prints once it serves."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if found := re.match(r"  (http://\S+)/$", line):
            return found.group(1)
    raise AssertionError("flash up ended without serving:\n" + "".join(lines))


def buy(address: str) -> None:
    item = call("GET", f"{address}/sales/current")["first_item_id"]
    code = call("POST", f"{address}/checkout?user_id=me&id={item}")["code"]
    receipt = call("POST", f"{address}/purchase?code={code}")
    assert (receipt["item"]["id"], receipt["user_id"]) == (item, "me")
    with urllib.request.urlopen(address + receipt["item"]["image"], timeout=10) as picture:
        assert receipt["item"]["name"].encode() in picture.read()


def call(method: str, url: str) -> Any:
    request = urllib.request.Request(url, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{method} {url}: {error.code} {error.read().decode()}") from error
