"""What the values of several processes add up to, and that Prometheus' own parser reads them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from flash.metrics import families, shared_values
from flash.metrics.counts import SECONDS_BOUNDS, Histogram
from flash.metrics.exposition import format_of, render
from flash.metrics.families import FAMILIES
from flash.metrics.shared_values import SharedValues, make_file
from flash.metrics.values import Values, decode


def some(requests: int, waiting: int = 0, seconds: float = 0.01, store_up: bool = True) -> Values:
    values, histogram = Values(), Histogram(SECONDS_BOUNDS)
    for _ in range(requests):
        histogram.observe(seconds)
    values.put(families.REQUESTS, requests, "POST", "/purchase", "200", "")
    values.observe(families.REQUEST_SECONDS, histogram, "POST", "/purchase", "2xx")
    values.put(families.QUEUE, waiting, "purchases")
    values.put(families.QUEUE_WAIT, waiting / 10, "purchases")
    values.put(families.STORE_UP, store_up, "redis")
    return values


def number(values: Values, name: str) -> float:
    """The only sample called `name`."""
    text = render(values)[0].decode()
    (found,) = [s.value for family in parse(text) for s in family.samples if s.name == name]
    return found


def test_processes_add_up_and_the_worst_of_a_state_is_shown() -> None:
    total = some(3, waiting=1)
    total.add(some(4, waiting=5, store_up=False))
    assert number(total, "flash_http_requests_total") == 7
    assert number(total, "flash_http_request_duration_seconds_count") == 7
    assert number(total, "flash_http_request_duration_seconds_sum") == pytest.approx(0.07)
    assert number(total, "flash_queue_waiting") == 6
    assert number(total, "flash_queue_wait_seconds") == 0.5
    assert number(total, "flash_store_up") == 0


def test_buckets_are_cumulative_and_end_with_all() -> None:
    text = render(some(2, seconds=0.01))[0].decode()
    buckets = [
        (float(sample.labels["le"]), sample.value)
        for family in parse(text)
        for sample in family.samples
        if sample.name.endswith("_bucket")
    ]
    assert [bound for bound, _ in buckets] == [*SECONDS_BOUNDS, float("inf")]
    assert dict(buckets)[0.008] == 0
    assert dict(buckets)[0.012] == dict(buckets)[float("inf")] == 2


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", b"text/plain; version=0.0.4; charset=utf-8"),
        ("text/html", b"text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", b"application/openmetrics-text; version=1.0.0"),
        ("application/openmetrics-text;version=nonsense", b"text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;version=9.9.9", b"application/openmetrics-text; version=1.0.0"),
        ("text/plain;version=1.0.0;escaping=allow-utf-8", b"text/plain; version=0.0.4; charset=utf-8"),
    ],
)
def test_the_format_is_the_one_that_is_asked_for(accept: str, content_type: bytes) -> None:
    text, found = render(some(1), format_of(accept))
    assert found.startswith(content_type)
    parser = parse_openmetrics if b"openmetrics" in found else parse
    assert list(parser(text.decode()))


def test_names_follow_the_conventions_and_no_label_names_a_buyer_or_a_thing() -> None:
    for family in FAMILIES:
        assert family.name.startswith("flash_")
        assert family.name.endswith("_total") == (family.kind == "counter"), family.name
        assert not {"user", "user_id", "item", "item_id", "sale", "sale_id", "path", "address"} & set(family.labels)
        assert family.help
        if family.bounds is SECONDS_BOUNDS:
            assert family.name.endswith("_seconds")
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


def test_what_is_written_for_others_is_what_they_read() -> None:
    values = some(3, waiting=2)
    assert render(decode(values.encode())) == render(values)


@contextmanager
def a_file() -> Iterator[int]:
    fd = make_file()
    try:
        yield fd
    finally:
        os.close(fd)


def in_a_child(fd: int, values: Values) -> int:
    """A process that leaves `values` and lives until it is ended. Locks are a process's own. Returns its pid."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        SharedValues(fd, slots_max=4).write(values)
        os.write(tell, b"1")
        signal.pause()
    os.read(told, 1)
    os.close(told)
    os.close(tell)
    return pid


def end_child(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_whichever_process_is_asked_answers_for_all() -> None:
    with a_file() as fd:
        children = [in_a_child(fd, some(requests, waiting=1)) for requests in (10, 20)]
        ours = SharedValues(fd, slots_max=4)
        assert number(ours.total(some(5)), "flash_http_requests_total") == 35
        assert number(ours.total(some(5)), "flash_queue_waiting") == 2
        for child in children:
            end_child(child)


def test_no_counter_falls_when_a_process_dies_and_another_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_file() as fd:
        end_child(in_a_child(fd, some(10, waiting=7)))
        successor = SharedValues(fd, slots_max=4)  # in the slot of the dead one
        assert number(successor.total(some(1)), "flash_http_requests_total") == 11
        assert number(successor.total(some(1)), "flash_queue_waiting") == 0, "what waited there waits no more"
        successor.write(some(2))
        monkeypatch.setattr(shared_values, "_FRESH_SECONDS", -1.0)  # everything is old
        other = in_a_child(fd, some(0))
        assert number(SharedValues(fd, slots_max=0).total(some(0)), "flash_http_requests_total") == 0
        end_child(other)


def test_the_gauges_of_a_dead_process_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_file() as fd:
        first = in_a_child(fd, some(10, waiting=7))
        ours = SharedValues(fd, slots_max=4)
        end_child(first)
        monkeypatch.setattr(shared_values, "_FRESH_SECONDS", -1.0)
        assert number(ours.total(some(1)), "flash_http_requests_total") == 11
        assert number(ours.total(some(1, waiting=1)), "flash_queue_waiting") == 1


def test_a_process_that_finds_no_place_still_answers() -> None:
    with a_file() as fd:
        children = [in_a_child(fd, some(1)) for _ in range(4)]
        late = SharedValues(fd, slots_max=4)
        late.write(some(9))
        assert number(late.total(some(9)), "flash_http_requests_total") == 13
        for child in children:
            end_child(child)


def test_what_another_release_has_left_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_file() as fd:
        with monkeypatch.context() as patch:
            patch.setattr(shared_values, "_SEED", 1)
            child = in_a_child(fd, some(10))
        assert number(SharedValues(fd, slots_max=4).total(some(1)), "flash_http_requests_total") == 1
        end_child(child)
