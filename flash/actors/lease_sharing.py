"""How many leases a host should hand over, and to whom, so that all hosts hold about the same number. Pure.

Every host computes it for itself from the same numbers. A host gives, and never takes: so leases move only from one
that has too many, and a host that does not answer costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

_TOLERATED_SHARE = 0.1
"""A host that holds up to this much more than its share keeps it: each move is a short wait for somebody."""


class ProvenHosts:
    """Which hosts have lived for so long that they may be given leases. Times are Trio times.

    One that has just come may die again and again, and what it was given is then nobody's for as long as a lease.
    """

    def __init__(self, name: str, proven_seconds: float) -> None:
        self._name = name
        self._proven_seconds = proven_seconds
        self._seen_since: dict[str, float] = {}

    def among(self, counts: Mapping[str, int], now: float) -> dict[str, int]:
        """Those of `counts` that are proven, and this host."""
        self._seen_since = {host: self._seen_since.get(host, now) for host in counts}
        since = now - self._proven_seconds
        return {host: count for host, count in counts.items() if host == self._name or self._seen_since[host] <= since}


def surplus(counts: Mapping[str, int], host: str, most: int) -> dict[str, int]:
    """How many of its leases `host` hands over now to each of the others, `most` in all.

    `counts`: by host, what each holds. Those that have too many share in what the others lack, so that together they
    do not give more than that.
    """
    mean = sum(counts.values()) / max(1, len(counts))
    too_many = {name: count - mean for name, count in counts.items() if _is_too_many(count, mean)}
    if host not in too_many:
        return {}
    part = too_many[host] / sum(too_many.values())
    given: dict[str, int] = {}
    for name, count in sorted(counts.items(), key=lambda item: item[1]):
        wanted = min(int(part * (mean - count)), int(too_many[host]) - sum(given.values()), most - sum(given.values()))
        if wanted > 0:
            given[name] = wanted
    return given


def _is_too_many(count: int, mean: float) -> bool:
    return count > mean * (1 + _TOLERATED_SHARE) and count >= mean + 2
