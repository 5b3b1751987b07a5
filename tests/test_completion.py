"""What the shells complete, asked of the shells themselves where they are installed."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from flash.cli.completion import SHELLS, script
from flash.cli.parser import build_parser


def run(shell: str, text: str) -> str:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([shell, "-c", text], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def completed_by_bash(*typed: str) -> list[str]:
    words = " ".join(map(shlex.quote, ("flash", *typed)))
    asked = f'COMP_WORDS=({words}); COMP_CWORD={len(typed)}; _flash; echo "${{COMPREPLY[@]}}"'
    return run("bash", f"{script('bash', build_parser())}\n{asked}").split()


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (("au",), ["audit"]),
        (("--v",), ["--version"]),
        (("up", "--con"), ["--concurrency"]),
        (("keys", "ro"), ["rotate"]),
        (("completion", ""), ["--help", *SHELLS]),
        (("web", "--sh"), []),  # is for its supervisor, and not in the help either
    ],
)
def test_bash_completes_commands_actions_options_and_choices(typed: tuple[str, ...], offered: list[str]) -> None:
    assert completed_by_bash(*typed) == offered


def test_bash_offers_every_command() -> None:
    (commands,) = (action.choices for action in build_parser()._actions if action.dest == "command")
    assert commands is not None
    assert {*commands} <= {*completed_by_bash("")}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_one_that_its_shell_can_read(shell: str, tmp_path: Path) -> None:
    path = tmp_path / "completion"
    path.write_text(script(shell, build_parser()))
    run(shell, f"{shell} -n {path}")


def test_fish_completes_from_it(tmp_path: Path) -> None:
    path = tmp_path / "completion"
    path.write_text(script("fish", build_parser()))
    assert run("fish", f"source {path}; complete -C 'flash au'").split("\t")[0] == "audit"
    assert run("fish", f"source {path}; complete -C 'flash up --con'").startswith("--concurrency")
