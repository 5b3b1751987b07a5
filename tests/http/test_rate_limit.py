"""Token buckets, and whose they are: a bounded table, and a client's address that cannot be made up."""

from __future__ import annotations

import pytest

from flash.http.client_address import TrustedProxies, key_of
from flash.http.message import Header, Request
from flash.http.rate_limit import RateLimit
from flash.settings import networks


def test_a_key_gets_its_burst_and_then_its_rate() -> None:
    limit = RateLimit(5)
    assert [limit.take("a", 0.0) for _ in range(11)] == [*[0.0] * 10, pytest.approx(0.2)]
    assert limit.take("a", 0.1) == pytest.approx(0.1)
    assert limit.take("a", 0.2) == 0.0
    assert limit.take("a", 0.2) > 0
    assert limit.refused == 3
    assert [limit.take("a", 9.0) for _ in range(10)] == [0.0] * 10, "full again, and not fuller"
    assert limit.take("a", 9.0) > 0


def test_a_slow_rate_still_has_one_token() -> None:
    limit = RateLimit(0.1)
    assert limit.take("a", 0.0) == 0.0
    assert limit.take("a", 1.0) == pytest.approx(9.0)
    assert limit.take("b", 1.0) == 0.0


def test_who_asks_while_refused_is_not_kept_out_for_longer() -> None:
    limit = RateLimit(1)
    for _ in range(2):
        limit.take("a", 0.0)
    for _ in range(100):
        assert limit.take("a", 0.5) == pytest.approx(0.5)
    assert limit.take("a", 1.0) == 0.0


def test_a_look_at_a_bucket_takes_nothing_from_it() -> None:
    limit = RateLimit(0.5, buckets_max=2)
    assert [limit.wait("a", 0.0), limit.take("a", 0.0), limit.wait("a", 0.5)] == [0.0, 0.0, pytest.approx(1.5)]
    assert (limit.wait("a", 2.0), limit.refused) == (0.0, 0)
    limit.take("b", 0.0)
    assert limit.wait("c", 0.0) == 0.0


def test_full_buckets_are_forgotten() -> None:
    limit = RateLimit(1)
    for number in range(10_000):
        limit.take(number, number / 100)
    assert len(limit) < 150


def test_many_keys_neither_grow_the_table_nor_keep_newcomers_out_nor_reset_an_emptied_bucket() -> None:
    limit = RateLimit(1, buckets_max=100)
    for _ in range(2):
        limit.take("attacker", 0.0)
    refused = sum(limit.take(number, 0.0) > 0 for number in range(1_000))
    assert len(limit) == 100
    assert refused == 0, "everybody has a bucket of their own"
    assert limit.take("attacker", 0.0) > 0


def whose(
    peer: str | None, *forwarded: bytes, trusted: str = "10.0.0.0/8,fd00::/8", more: tuple[Header, ...] = ()
) -> str:
    headers = [(b"x-forwarded-for", value) for value in forwarded]
    return key_of(TrustedProxies(trusted))(Request("POST", "", b"/", b"", [*headers, *more], peer))


@pytest.mark.parametrize(
    ("peer", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        (None, "unix"),
    ],
)
def test_a_client_is_an_ipv4_address_or_an_ipv6_network(peer: str | None, key: str) -> None:
    assert whose(peer) == key


def test_only_a_trusted_peer_is_believed() -> None:
    assert whose("192.0.2.7", b"198.51.100.1") == "192.0.2.7"
    assert whose("10.1.2.3", b"198.51.100.1") == "198.51.100.1"
    assert whose("::ffff:10.1.2.3", b"198.51.100.1") == "198.51.100.1"
    assert whose("fd00::1", b"198.51.100.1") == "198.51.100.1"
    assert whose("10.1.2.3", b"198.51.100.1", trusted="") == "10.1.2.3"


@pytest.mark.parametrize(
    ("forwarded", "key"),
    [
        ((b"203.0.113.5, 198.51.100.1",), "198.51.100.1"),
        ((b"203.0.113.5", b"198.51.100.1, 10.9.9.9"), "198.51.100.1"),
        ((b"203.0.113.5, 198.51.100.1,10.9.9.9 , fd00::7",), "198.51.100.1"),
        ((b"198.51.100.1:4711",), "198.51.100.1"),
        ((b"[2001:db8::1]:4711",), "2001:db8::/64"),
        ((b"2001:db8::1",), "2001:db8::/64"),
        ((b"::ffff:198.51.100.1",), "198.51.100.1"),
        ((b"10.9.9.9",), "10.1.2.3"),
        ((), "10.1.2.3"),
        ((b"",), "10.1.2.3"),
        ((b"198.51.100.1, unknown",), "10.1.2.3"),
        ((b"198.51.100.1, ",), "10.1.2.3"),
        ((b"198.51.100.1, \xff\x00",), "10.1.2.3"),
        ((b"198.51.100.1, 10.0.0.1" + b", 10.0.0.1" * 64,), "10.1.2.3"),
        ((b"garbage, 198.51.100.1",), "198.51.100.1"),
    ],
)
def test_the_rightmost_entry_that_is_no_proxy_counts(forwarded: tuple[bytes, ...], key: str) -> None:
    assert whose("10.1.2.3", *forwarded) == key


def test_the_header_forwarded_is_not_believed_from_anybody() -> None:
    assert whose("10.1.2.3", more=((b"forwarded", b"for=198.51.100.1"),)) == "10.1.2.3"


@pytest.mark.parametrize("text", ["10.0.0.1/8", "proxy.example", "10.0.0.0/33", "10.0.0.0/8,,"])
def test_what_is_no_network_is_a_wrong_setting(text: str) -> None:
    with pytest.raises(ValueError, match=r"appear|host bits"):
        networks(text)
