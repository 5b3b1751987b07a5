"""The rules for Prometheus and the dashboard for Grafana ask for metrics that exist, and operators can look them up."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flash.metrics.families import FAMILIES

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "flash.rules.yml"
RULES_TEST = RULES.with_name("flash.rules.test.yml")
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "flash.json").read_text())
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
ALERTS = re.findall(r"- alert: (\w+)", RULES.read_text())
LABELS = {family.name: set(family.labels) for family in FAMILIES}

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="there is no promtool here: Debian has it in the package prometheus"
)


def exposed() -> set[str]:
    """The names that a query may use."""
    histograms = {family.name for family in FAMILIES if family.kind == "histogram"}
    parts = {f"{name}_{part}" for name in histograms for part in ("bucket", "sum", "count")}
    return parts | {family.name for family in FAMILIES if family.kind != "histogram"}


def queries() -> Iterator[tuple[str, str]]:
    """Where each query stands, and its text."""
    yield "rules", re.sub(r"(?m)#.*$", "", RULES.read_text())
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


each_query = pytest.mark.parametrize(("where", "text"), list(queries()), ids=[where for where, _ in queries()])


@each_query
def test_every_metric_that_is_asked_for_is_exposed(where: str, text: str) -> None:
    assert not set(re.findall(r"(?<![\w:])flash_\w+", text)) - exposed(), where


@each_query
def test_every_label_that_is_asked_for_is_there(where: str, text: str) -> None:
    for metric, selector in re.findall(r"(flash_\w+)\{([^}]*)\}", text):
        name = re.sub(r"_(bucket|sum|count)$", "", metric) if metric not in LABELS else metric
        asked = set(re.findall(r"(\w+)\s*(?:=|!)", selector)) - {"le"}
        assert asked <= LABELS[name], f"{where}: {metric}"


def test_every_alert_has_its_meaning_and_first_action_for_operators() -> None:
    section = OPERATIONS.split("\n## Alerts\n")[1].split("\n## ")[0]
    described = re.findall(r"(?m)^### (\w+)$", section)
    assert described == ALERTS, "in the same order"
    for alert in ALERTS:
        assert f"runbook: docs/operations.md#{alert.lower()}" in RULES.read_text()
        text = section.split(f"### {alert}\n")[1].split("\n### ")[0]
        assert "**First:**" in text, alert


def test_every_alert_is_tried() -> None:
    assert set(re.findall(r"alertname: (\w+)", RULES_TEST.read_text())) == set(ALERTS)


def test_every_metric_is_explained_to_operators() -> None:
    section = OPERATIONS.split("\n## Metrics\n")[1].split("\n## ")[0]
    assert set(re.findall(r"`(flash_\w+)", section)) >= {family.name for family in FAMILIES}


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert DASHBOARD["schemaVersion"] >= 36
    assert {"title", "uid", "templating", "time", "panels"} <= set(DASHBOARD)
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, f"{panel['title']} lies on another panel"
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}", "whatever the data source is called there"


@needs_promtool
@pytest.mark.parametrize(
    "command",
    [
        ("check", "rules", "flash.rules.yml"),
        ("check", "config", "prometheus.yml"),
        ("test", "rules", "flash.rules.test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_finds_nothing_wrong(command: tuple[str, ...]) -> None:
    ran = subprocess.run(
        ["promtool", *command], cwd=RULES.parent, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
