"""The documents name only files, settings and records that there are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from flash.config import settings
from flash.metrics import families

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")
ANCHORED = re.compile(r"\]\((?!https?://)([^)#\s]*)#([^)\s]+)\)")
HEADING = re.compile(r"(?m)^#+ (.+)$")
CODE = re.compile(r"(?ms)^ *```.*?^ *```$")
RECORDS = ROOT / "docs" / "decisions"

# Named in a document, and no setting of the service: examples, shortened names, and what has gone.
NO_SETTINGS = {"FLASH_WEB_PORT", "FLASH_DATABASE_CONNECTIONS_MAX"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_link_leads_to_a_file(document: Path) -> None:
    missing = [link for link in LINK.findall(document.read_text()) if not (document.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_anchor_leads_to_a_heading(document: Path) -> None:
    links = [found for found in ANCHORED.findall(document.read_text()) if not found[0] or found[0].endswith(".md")]
    lost = [link for link in links if link[1] not in anchors(document.parent / link[0] if link[0] else document)]
    assert lost == []


def anchors(file: Path) -> set[str]:
    """As the sites that show these files make them from headings."""
    headings = HEADING.findall(CODE.sub("", file.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_names_counters_that_there_are(document: Path) -> None:
    known = set(re.findall(r"\bflash_\w+", Path(families.__file__).read_text()))
    named = set(re.findall(r"\bflash_\w+_total\b", document.read_text()))
    assert named - known == set()


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "docs/operations.md", "docs/scaling.md"])
def test_a_document_names_settings_that_there_are(name: str) -> None:
    known = {variable for _, found in settings() for variable in (found.variable, found.file_variable)}
    named = set(re.findall(r"\bFLASH_[A-Z][A-Z_]*[A-Z]\b(?!_)", (ROOT / name).read_text()))
    assert named - known - NO_SETTINGS == set()


def test_the_list_of_decisions_has_every_record() -> None:
    listed = re.findall(r"(?m)^\| \[(\d{4})\]\((\S+)\) \| (.+) \|$", (RECORDS / "README.md").read_text())
    records = sorted(RECORDS.glob("[0-9]*.md"))
    titles = [re.fullmatch(r"# (\d{4}): (.+)", record.read_text().splitlines()[0]) for record in records]
    assert [(title[1], record.name) for title, record in zip(titles, records, strict=True) if title] == [
        (number, file) for number, file, _ in listed
    ]


def test_the_pictures_are_what_their_script_draws(tmp_path: Path) -> None:
    pictures = ROOT / "docs" / "pictures"
    subprocess.run([sys.executable, pictures / "draw.py", tmp_path], check=True)
    drawn = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert len(drawn) == 2
    assert drawn == {name: (pictures / name).read_text() for name in drawn}
