"""The shell functions that the scripts share. Nothing here installs anything."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import flash

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
VERSION = "{}.{}".format(*sys.version_info)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the scripts and the package in a folder whose name a shell would split, with an empty environment."""
    folder = tmp_path / 'its "project" & more'
    shutil.copytree(SCRIPTS, folder / "scripts")
    (folder / "flash").symlink_to(SCRIPTS.parent / "flash")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    return folder


def start(project: Path, script: str) -> subprocess.Popen[str]:
    """bash with the functions of _setup.sh, running `script` under the options that all scripts set."""
    return subprocess.Popen(
        ["bash", "-c", f'set -euo pipefail; source "$0"\n{script}', project / "scripts" / "_setup.sh"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(project: Path, script: str) -> str:
    with start(project, script) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out.strip()


def test_an_interpreter_is_found_by_its_version_and_none_by_another(project: Path) -> None:
    found = output(project, f"PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH find_python 2.7 {VERSION}")
    assert output(project, f"'{found}' -c 'import sys; print(\"%d.%d\" % sys.version_info[:2])'") == VERSION
    assert output(project, "find_python 2.0") == ""


def test_the_flash_command_works_in_a_folder_whose_name_a_shell_would_split(project: Path, tmp_path: Path) -> None:
    output(project, "link_project")
    (dependencies,) = (path for path in sys.path if path.endswith("site-packages"))
    done = subprocess.run(
        [project / ".venv" / "bin" / "flash", "config", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": dependencies},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"FLASH_SALE_SIZE": 10000' in done.stdout
    where = output(project, """cd / && "$venv/bin/python" -c 'import flash; print(flash.__file__)'""")
    assert Path(where).samefile(flash.__file__)


def test_an_environment_is_kept_until_its_pins_change(project: Path) -> None:
    (project / "requirements-dev.txt").write_text("one==1\n")
    output(project, 'fingerprint requirements-dev.txt >"$venv/stamp"')
    output(project, 'make_venv() { fail "made anew"; }; ensure_venv requirements-dev.txt')
    assert (project / ".venv" / "bin" / "flash").exists()
    (project / "requirements-dev.txt").write_text("one==2\n")
    made = output(project, 'make_venv() { echo "made for $1"; }; ensure_venv requirements-dev.txt')
    assert made == "made for requirements-dev.txt"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_installation_ends_with_one_line_and_leaves_no_process(
    project: Path, how: signal.Signals
) -> None:
    script = 'trap interrupted INT TERM HUP\ninterruptible bash -c "echo began; sleep 60 & wait"'
    with start(project, script) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(how)
        _, err = process.communicate(timeout=10)  # until the last holder of the pipe, `sleep`, has ended
    assert (process.returncode, err) == (130, "flash: the installation was interrupted; it starts again next time\n")
