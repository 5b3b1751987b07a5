"""The architecture as a test: which folder may import which, and who may touch asyncio, the stores and the environment.

Every table is compared for equality, so a permission that nobody uses any more fails as well.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A module imports only from smaller numbers, or from its own. The longest prefix of its name counts.
LAYERS = {
    "flash": 0,  # the package itself: nothing but its version
    "flash.domain": 0,
    "flash.errors": 0,
    "flash.shutdown": 0,
    "flash.table": 0,
    "flash.inventory": 1,
    "flash.codes": 1,
    "flash.catalog": 1,
    "flash.purchase_rpc.messages": 1,
    "flash.bridge": 2,
    "flash.telemetry": 2,
    "flash.settings": 2,
    "flash.http": 2,
    "flash.actors.mailbox": 2,
    "flash.actors.gate": 2,
    "flash.actors": 3,
    "flash.config": 4,
    "flash.stores": 4,
    "flash.purchase_rpc": 4,
    "flash.api": 4,
    "flash.audit": 5,
    "flash.processes": 5,
    "flash.local": 6,
    "flash.cli": 7,
    "flash.__main__": 8,
    "flash.testing": 7,
    "benchmarks": 8,
}
PURE = {"domain", "errors", "inventory", "codes", "catalog", "purchase_rpc.messages"}
IMPURE = {"trio", "logging", "time", "random", "secrets", "os", "socket", "asyncio", "asyncpg", "redis"}
# The service never imports what only its tests and benchmarks need.
BESIDE = ("flash.testing", "benchmarks")


def modules() -> Iterator[tuple[str, ast.Module]]:
    for folder in ("flash", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
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


def entry(module: str) -> str:
    """The longest listed prefix of `module`. The package's own entry stands for the package alone."""
    parts = module.split(".")
    for length in range(len(parts), 1, -1):
        if (found := ".".join(parts[:length])) in LAYERS:
            return found
    assert module in LAYERS or parts[0] != "flash", f"{module} has no layer: give it one in tests/test_layers.py"
    return parts[0]


def knowing(library: str) -> set[str]:
    return {module for module, tree in MODULES.items() if library in roots(tree)}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_its_own_layer_or_below(module: str) -> None:
    ours = {name for name in imports(MODULES[module]) if name in MODULES}
    assert not {name for name in ours if LAYERS[entry(name)] > LAYERS[entry(module)]}


def test_every_layer_that_is_listed_has_a_module() -> None:
    assert {entry(module) for module in MODULES} == set(LAYERS)


@pytest.mark.parametrize("module", MODULES)
def test_the_service_imports_nothing_that_stands_beside_it(module: str) -> None:
    if not module.startswith(BESIDE):
        assert not {name for name in imports(MODULES[module]) if name.startswith(BESIDE)}


@pytest.mark.parametrize("module", [name for name in MODULES if name.removeprefix("flash.").startswith(tuple(PURE))])
def test_a_pure_module_has_no_clock_no_randomness_and_no_way_out(module: str) -> None:
    assert not roots(MODULES[module]) & IMPURE


@pytest.mark.parametrize(
    ("library", "modules"),
    [
        ("trio_asyncio", {"flash.bridge"}),
        ("asyncio", {"flash.bridge"}),
        ("asyncpg", {"flash.stores.postgres", "flash.audit.reading"}),
        (
            "redis",
            {
                "flash.stores.redis",
                "flash.stores.leases",
                "flash.processes.lifecycle",
            },
        ),
        ("hypercorn", {"flash.http.hypercorn_guard", "flash.http.server"}),
        ("honcho", {"flash.local.procfile", "flash.local.output"}),
        ("psutil", {"flash.local.embedded.leftovers"}),
        ("hypothesis", set()),
        ("pytest", set()),
    ],
)
def test_a_library_is_known_exactly_where_it_must_be(library: str, modules: set[str]) -> None:
    assert {module for module in knowing(library) if module.startswith("flash")} == modules


def test_the_api_never_sees_a_store() -> None:
    api = {name for module, tree in MODULES.items() if module.startswith("flash.api") for name in imports(tree)}
    assert not {name for name in api if name.startswith(("flash.stores", "flash.purchase_rpc", "flash.config"))}


def test_only_config_reads_the_environment() -> None:
    reading = {
        module
        for module, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv") and isinstance(node.value, ast.Name)
    }
    assert {module for module in reading if module.startswith("flash")} == {"flash.config"}
