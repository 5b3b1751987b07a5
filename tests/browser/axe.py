"""axe-core, which looks for what keeps people with disabilities from using a page (vendor/axe.vendored.json)."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

AXE = Path(__file__).with_name("vendor") / "axe.min.js"


def axe_finds_nothing(page: Page, where: str) -> None:
    """Nothing serious or critical."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(AXE.read_text("utf-8"))
    violations = page.evaluate("axe.run().then((found) => found.violations)")
    grave = [
        (found["id"], found["help"], [node["html"] for node in found["nodes"]][:3])
        for found in violations
        if found["impact"] in ("serious", "critical")
    ]
    assert grave == [], where
