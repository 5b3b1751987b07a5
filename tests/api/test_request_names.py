"""Names of requests stay unique where a counter alone would repeat itself."""

from __future__ import annotations

import os

from flash.api.request_names import RequestNames


def test_no_name_is_given_twice_by_any_number_of_processes() -> None:
    names = [maker.next() for maker in (RequestNames(), RequestNames()) for _ in range(1_000)]
    assert len(set(names)) == 2_000


def test_a_forked_child_does_not_go_on_with_its_parents_names() -> None:
    names = RequestNames()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, names.next().encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        childs = pipe.read().decode()
    assert childs
    assert childs.rpartition("-")[0] != names.next().rpartition("-")[0]
