"""The architecture as a test: which folder may import which, and who may touch asyncio, the stores and the environment.

Every table is compared for equality, so a permission that nobody uses any more fails as well.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from flash.domain import Refusal

ROOT = Path(__file__).resolve().parent.parent

# A module imports only from smaller numbers, or from its own. The longest prefix of its name counts.
LAYERS = {
    "flash": 0,  # the package itself: nothing but its version
    "flash.correlation": 0,
    "flash.domain": 0,
    "flash.errors": 0,
    "flash.shutdown": 0,
    "flash.deployment": 0,
    "flash.pages": 0,
    "flash.inventory": 1,
    "flash.codes": 1,
    "flash.catalog": 1,
    "flash.purchase_rpc.messages": 1,
    "flash.purchase_rpc.payloads": 1,
    "flash.sold_feed.messages": 1,
    "flash.board.messages": 1,
    "flash.board.history": 1,
    "flash.board.diagnosis": 1,
    "flash.metrics.counts": 1,
    "flash.metrics.families": 1,
    "flash.metrics.values": 1,
    "flash.bridge": 2,
    "flash.telemetry": 2,
    "flash.settings": 2,
    "flash.http": 2,
    "flash.actors.mailbox": 2,
    "flash.actors.gate": 2,
    "flash.actors.admission": 1,
    "flash.actors.fair_shares": 1,
    "flash.actors.lease_sharing": 1,
    "flash.actors.batch_wait": 1,
    "flash.actors.sale_items": 1,
    "flash.actors.shown_sale": 1,
    "flash.actors.sold_out_sales": 1,
    "flash.actors.sale_events": 1,
    "flash.actors": 3,
    "flash.config": 4,
    "flash.stores": 4,
    "flash.purchase_rpc": 4,
    "flash.sold_feed": 4,
    "flash.board": 4,
    "flash.metrics": 4,
    "flash.api": 4,
    "flash.audit": 5,
    "flash.processes": 5,
    "flash.client": 5,
    "flash.local": 6,
    "flash.terminal": 6,
    "flash.cli": 7,
    "flash.__main__": 8,
    "flash.testing": 7,
    "benchmarks": 8,
    "drill": 8,
}
# What each of these imports of the others: exactly this, so that an arrow that is gone leaves the table too.
IMPORTS = {
    "domain": "correlation",
    "inventory": "domain",
    "codes": "domain",
    "purchase_rpc.messages": "correlation deployment domain purchase_rpc.payloads",
    "purchase_rpc.payloads": "codes correlation domain",
    "sold_feed.messages": "deployment domain",
    "bridge": "errors",
    "telemetry": "errors",
    "http": "correlation errors metrics.counts",
    "actors.mailbox": "errors",
    "actors.gate": "errors",
    "actors.admission": "actors.fair_shares domain errors",
    "actors.sale_items": "domain",
    "actors.sold_out_sales": "domain",
    "actors.sale_events": "domain",
    "actors.shown_sale": "actors.sale_items domain sold_feed.messages",
    "actors": "actors.admission actors.batch_wait actors.fair_shares actors.gate actors.lease_sharing actors.mailbox"
    " actors.sale_items"
    " actors.sale_events actors.shown_sale actors.sold_out_sales sold_feed.messages"
    " codes correlation domain errors inventory metrics.counts telemetry",
    "board": "board.diagnosis board.history board.messages deployment domain errors metrics.counts purchase_rpc stores"
    " telemetry",
    "board.history": "board.messages metrics.counts",
    "board.messages": "deployment",
    "metrics": "metrics.families metrics.values telemetry",
    "metrics.families": "metrics.counts",
    "metrics.values": "metrics.counts metrics.families",
    "config": "domain errors settings shutdown",
    "stores": "actors.gate bridge codes deployment domain errors telemetry",
    "purchase_rpc": "actors actors.mailbox deployment domain errors purchase_rpc.messages"
    " purchase_rpc.payloads stores telemetry",
    "sold_feed": "deployment domain errors purchase_rpc sold_feed.messages stores telemetry",
    "api": "actors.sale_events catalog codes domain errors http telemetry",
    "audit": "bridge config domain errors stores",
    "processes": "actors actors.admission actors.fair_shares api board board.messages bridge codes config"
    " correlation deployment domain errors http metrics metrics.counts metrics.families metrics.values purchase_rpc"
    " purchase_rpc.messages shutdown sold_feed stores telemetry",
    "local": "bridge config errors http processes settings shutdown stores telemetry",
    "terminal": "client config errors local",
    "cli": "audit bridge config errors local processes settings stores terminal",
    "__main__": "cli",
    "testing": "audit bridge codes config domain errors inventory local processes purchase_rpc stores",
    "benchmarks": (
        "actors.admission actors.batch_wait actors.fair_shares"
        " audit bridge codes config domain errors http local processes purchase_rpc.messages stores testing"
    ),
    "drill": "audit bridge deployment domain errors local processes purchase_rpc.messages stores testing",
}
PURE = {
    *("correlation", "domain", "errors", "inventory", "codes", "catalog"),
    *("purchase_rpc.messages", "purchase_rpc.payloads"),
    *(
        "actors.admission",
        "actors.fair_shares",
        "actors.lease_sharing",
        "actors.batch_wait",
        "actors.sale_items",
        "actors.shown_sale",
    ),
    *("actors.sold_out_sales", "actors.sale_events", "sold_feed.messages"),
    *("board.messages", "board.history", "board.diagnosis"),
    *("metrics.counts", "metrics.families", "metrics.values"),
}
IMPURE = {"trio", "logging", "time", "random", "secrets", "os", "socket", "asyncio", "asyncpg", "redis"}
# The service never imports what only its tests, benchmarks and drills need.
BESIDE = ("flash.testing", "benchmarks", "drill")


def modules() -> Iterator[tuple[str, ast.Module]]:
    for folder in ("flash", "benchmarks", "drill"):
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


def test_every_room_imports_exactly_the_rooms_that_are_listed() -> None:
    found: dict[str, set[str]] = {}
    for module, tree in MODULES.items():
        ours = {entry(name) for name in imports(tree) if name in MODULES and name != "flash"} - {entry(module)}
        if ours:
            found.setdefault(entry(module), set()).update(ours)
    shown = {
        room.removeprefix("flash."): {name.removeprefix("flash.") for name in ours} for room, ours in found.items()
    }
    assert shown == {room: set(names.split()) for room, names in IMPORTS.items()}


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
        ("asyncio", {"flash.bridge", "benchmarks.ceilings"}),
        (
            "asyncpg",
            {
                *(f"flash.stores.{name}" for name in ("addresses", "drivers", "postgres", "postgres_errors")),
                *("flash.stores.trio_asyncpg", "flash.audit.reading", "benchmarks.ceilings"),
            },
        ),
        (
            "redis",
            {
                "flash.stores.redis",
                "flash.stores.leases",
                "flash.processes.lifecycle",
                "flash.testing.sentinel",
            },
        ),
        ("hypercorn", {"flash.http.hypercorn_guard", "flash.http.server", "benchmarks.baseline"}),
        ("opentelemetry", {"flash.processes.spans"}),
        ("prometheus_client", {"flash.metrics.exposition"}),
        ("honcho", {"flash.local.procfile"}),
        ("httpx", {"flash.client.httpx_clients"}),
        ("anyio", {"flash.client.httpx_clients"}),
        ("psutil", {"flash.local.embedded.leftovers", "benchmarks.machine"}),
        ("hypothesis", set()),
        ("pytest", set()),
    ],
)
def test_a_library_is_known_exactly_where_it_must_be(library: str, modules: set[str]) -> None:
    assert knowing(library) == modules


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


# What a newcomer looks for, the one file in which it is, and what stands there and nowhere else.
ONE_GUESS = [
    ("where the limit of 10 items is enforced", "flash/inventory.py", r"Refused\(Refusal\.USER_LIMIT_REACHED"),
    ("the SQL of a checkout", "flash/stores/checkouts.py", r"INSERT INTO checkouts"),
    ("the SQL that sells, and its fence", "flash/stores/terms.py", r"INSERT INTO purchases"),
    ("the limit of HTTP headers", "flash/http/limits.py", r"(?m)^HEADERS_MAX = "),
    ("what happens at SIGTERM", "flash/processes/lifecycle.py", r"open_signal_receiver\(signal\.SIGTERM"),
    ("where a sale is opened", "flash/actors/sale_scheduler.py", r"\.prepare_sales\("),
    ("how a sale's row is made", "flash/stores/schedule.py", r"INSERT INTO sales"),
    ("how a purchase's answer is worded", "flash/api/purchase.py", r"Purchase successful"),
    ("how to add an endpoint", "flash/api/routes.py", r'\("POST", "/checkout"\): limits'),
    ("how to add a setting", "flash/config.py", r'whole\("FLASH_SALE_SIZE"'),
    ("how to add a reason to refuse a purchase", "flash/domain.py", r"(?m)^class Refusal\("),
]


@pytest.mark.parametrize(("question", "file", "pattern"), ONE_GUESS, ids=[question for question, _, _ in ONE_GUESS])
def test_a_newcomer_finds_it_in_one_guess(question: str, file: str, pattern: str) -> None:
    service = [path for path in sorted((ROOT / "flash").rglob("*.py")) if "testing" not in path.parts]
    found = [path.relative_to(ROOT).as_posix() for path in service if re.search(pattern, path.read_text("utf-8"))]
    assert found == [file], question
    assert f"`{file}`" in (ROOT / "ARCHITECTURE.md").read_text("utf-8"), "the table of ARCHITECTURE.md names it"


def test_a_refusal_of_a_purchase_touches_three_files() -> None:
    for refusal in Refusal:
        naming = {
            module
            for module, tree in MODULES.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr == refusal.name and ast.unparse(node.value) == "Refusal"
        }
        is_learned_from = refusal in (Refusal.SOLD_OUT, Refusal.NO_ROOM)
        learning = {"flash.actors.purchase_router"} if is_learned_from else set()
        assert naming == {"flash.inventory", "flash.api.purchase", *learning}, refusal


def test_no_code_file_is_long_and_few_modules_lie_outside_of_a_room() -> None:
    lines = {path: path.read_text("utf-8").count("\n") for path in (ROOT / "flash").rglob("*.py")}
    assert not {path.name: count for path, count in lines.items() if count > 400}
    outside = [path.name for path in lines if path.parent == ROOT / "flash" and path.name != "__init__.py"]
    assert len(outside) <= 12, sorted(outside)
