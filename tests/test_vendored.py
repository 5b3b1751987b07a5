"""What the pages take from others is what was published: each file is listed with its hash, and each has a licence."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

import flash

VENDOR = Path(flash.__file__).parent / "pages" / "vendor"
LISTS = sorted(VENDOR.glob("*.vendored.json"))


def read(path: Path) -> dict[str, Any]:
    listed: dict[str, Any] = json.loads(path.read_text())
    return listed


def test_every_file_is_listed_once() -> None:
    listed = [name for path in LISTS for name in read(path)["files"]]
    assert sorted(listed) == sorted(path.name for path in VENDOR.iterdir() if path not in LISTS)


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.name)
def test_a_package_is_as_it_was_published(path: Path) -> None:
    package = read(path)
    for name, file in package["files"].items():
        digest = hashlib.sha256((VENDOR / name).read_bytes()).hexdigest()
        assert digest == file["sha256"], f"{name} is not what {package['package']} {package['version']} contains"
        if "LICENSE" not in name:
            # both in the name, so that browsers may keep it for ever
            assert package["version"] in name
            assert digest[:8] in name
    assert package["licence"]
    assert any("LICENSE" in name for name in package["files"]), "its licence asks for it"
