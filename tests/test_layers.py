"""What matters about style is a test: who may import whom, and touch asyncio, Redis, SQL and the environment."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "flash"

# A module imports only from smaller numbers, or from its own.
LAYERS = {
    "domain": 0,
    "errors": 0,
    "inventory": 1,
    "codes": 1,
    "catalog": 1,
    "wire": 1,
    "bridge": 2,
    "telemetry": 2,
    "http": 2,
    "actors.mailbox": 2,
    "actors.gate": 2,
    "actors": 3,
    "redis_client": 4,
    "redis_link": 4,
    "postgres": 4,
    "leases": 4,
    "courier": 4,
    "inboxes": 4,
    "handlers": 4,
    "config": 4,
    "embedded": 4,
    "audit": 5,
    "supervisor": 5,
    "migration": 5,
    "up": 6,
    "doctor": 6,
    "bench": 6,
    "app": 5,
    "cli": 7,
    "__main__": 8,
}
PURE = {"domain", "errors", "inventory", "codes", "catalog", "wire"}
IMPURE = {"trio", "logging", "time", "random", "secrets", "os", "socket", "asyncio", "asyncpg", "redis"}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        if name != "__init__":
            yield name, ast.parse(path.read_text("utf-8"))


MODULES = dict(modules())


def imports(tree: ast.Module) -> set[str]:
    """Full names of everything imported anywhere in the module, lazily or for types too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def roots(tree: ast.Module) -> set[str]:
    return {name.partition(".")[0] for name in imports(tree)}


def layer(module: str) -> int:
    """The layer of the longest listed prefix of `module`."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        if (found := LAYERS.get(".".join(parts[:length]))) is not None:
            return found
    raise AssertionError(f"flash.{module} has no layer: give it one in tests/test_layers.py")


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_its_own_layer_or_below(module: str) -> None:
    ours = {name.removeprefix("flash.") for name in imports(MODULES[module]) if name.startswith("flash.")}
    above = {name for name in ours if name in MODULES and layer(name) > layer(module)}
    assert not above


@pytest.mark.parametrize("module", sorted(PURE))
def test_a_pure_module_has_no_clock_no_luck_and_no_way_out(module: str) -> None:
    assert not roots(MODULES[module]) & IMPURE


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("trio_asyncio", {"bridge"}),
        ("asyncio", {"bridge"}),
        ("asyncpg", {"postgres", "audit", "doctor"}),
        ("redis", {"redis_client", "redis_link", "leases", "app", "doctor"}),
        ("hypercorn", {"http.guard", "http.server", "http.connection"}),
        ("hypothesis", set()),
        ("pytest", set()),
    ],
)
def test_a_library_is_known_only_where_it_must_be(library: str, allowed: set[str]) -> None:
    knowing = {module for module, tree in MODULES.items() if library in roots(tree) and not module.startswith("bench")}
    assert knowing <= allowed


def test_handlers_never_see_a_store() -> None:
    ours = {name for name in imports(MODULES["handlers"]) if name.startswith("flash.")}
    assert not ours & {"flash.postgres", "flash.courier", "flash.leases", "flash.inboxes", "flash.redis_client"}


def test_only_config_reads_the_environment() -> None:
    reading = {
        module
        for module, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv") and isinstance(node.value, ast.Name)
    }
    assert reading <= {"config"}
