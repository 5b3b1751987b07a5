"""Hosts come to hold about the same number of leases, with few moves and without giving one back and forth."""

from __future__ import annotations

from random import Random

import pytest

from flash.actors.lease_sharing import surplus


@pytest.mark.parametrize(
    ("counts", "given"),
    [
        ({"a": 10}, {}),
        ({"a": 0, "b": 0}, {}),
        ({"a": 1, "b": 0}, {}),
        ({"a": 3, "b": 0}, {}),
        ({"a": 4, "b": 0}, {"b": 2}),
        ({"a": 2, "b": 1}, {}),
        ({"a": 110, "b": 90}, {}),
        ({"a": 112, "b": 88}, {"b": 12}),
        ({"a": 2_000, "b": 0}, {"b": 64}),
        ({"a": 60, "b": 0, "c": 0}, {"b": 20, "c": 20}),
        ({"a": 60, "b": 60, "c": 0}, {"c": 20}),
        ({"a": 0, "b": 60}, {}),
    ],
)
def test_a_host_gives_what_it_has_too_many_of_to_those_that_have_too_few(
    counts: dict[str, int], given: dict[str, int]
) -> None:
    assert surplus(counts, "a", 64) == given


def test_hosts_that_all_give_at_once_come_to_rest_near_their_shares() -> None:
    random = Random(1)
    for _ in range(300):
        counts = {str(n): random.choice((0, random.randrange(3), random.randrange(3_000))) for n in range(5)}
        mean = sum(counts.values()) / 5
        for _ in range(200):
            moves = {host: surplus(counts, host, 64) for host in counts}
            assert all(to not in moves or not moves[to] for gifts in moves.values() for to in gifts)
            for host, gifts in moves.items():
                for to, number in gifts.items():
                    counts[host] -= number
                    counts[to] += number
            if not any(moves.values()):
                break
        assert max(counts.values()) <= max(1.2 * mean, mean + 3), counts
        assert not any(moves.values())
