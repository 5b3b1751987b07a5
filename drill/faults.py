"""All that can be done to a site, by name and by group. A fault begins, lasts, and is healed when its function returns.

Each takes its luck from a seeded `Random`, and breaks only what the drill has started.
"""

from __future__ import annotations

from drill.network_faults import NETWORK_FAULTS
from drill.process_faults import PROCESS_FAULTS
from drill.store_faults import STORE_FAULTS

FAULTS = {kind.name: kind for kind in (*PROCESS_FAULTS, *STORE_FAULTS, *NETWORK_FAULTS)}
TARGETS = ("leader", "web", "redis", "postgres", "network")
"""What is broken, in the order in which it is drawn."""


def _of(target: str) -> list[str]:
    return [kind.name for kind in FAULTS.values() if kind.target == target]


GROUPS = {target: _of(target) for target in TARGETS}
GROUPS["stores"] = [*GROUPS["redis"], *GROUPS["postgres"]]
GROUPS["all"] = list(FAULTS)
