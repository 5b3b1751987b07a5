"""Which of the two readers reads which inbox."""

from __future__ import annotations

import pytest

from flash.actors.mailbox import Mailbox
from flash.domain import SaleId
from flash.purchase_rpc.inbox import BUSY_SECONDS, Inbox, OpenInboxes


class Readers:
    """Both readers, and what each is reading at the moment."""

    def __init__(self) -> None:
        self.inboxes = OpenInboxes()
        self.busy: dict[str, Inbox] = {}
        self.quiet: dict[str, Inbox] = {}
        self.now = 0.0

    def open(self, key: str) -> Inbox:
        inbox = Inbox(SaleId(1), key, Mailbox(1))
        self.inboxes.add(inbox, self.now)
        return inbox

    def read_busy(self) -> set[str]:
        self.busy = self.inboxes.take_busy(self.now)
        return set(self.busy)

    def read_quiet(self) -> set[str]:
        self.quiet = self.inboxes.take_quiet(self.busy, self.now)
        return set(self.quiet)


@pytest.fixture
def readers() -> Readers:
    return Readers()


def test_a_new_inbox_is_busy_and_then_quiet_and_always_read(readers: Readers) -> None:
    readers.open("a")
    assert readers.read_busy() == {"a"}
    assert readers.read_quiet() == set()
    readers.now = BUSY_SECONDS
    assert readers.read_busy() == {"a"}, "the quiet reader does not read it yet"
    assert readers.read_quiet() == {"a"}
    assert readers.read_busy() == set()


def test_an_inbox_that_something_comes_to_is_read_as_quiet_until_it_is_read_as_busy(readers: Readers) -> None:
    inbox = readers.open("a")
    readers.now = BUSY_SECONDS
    readers.read_quiet()
    readers.read_busy()
    readers.inboxes.note_arrival(inbox, readers.now)
    assert readers.read_quiet() == {"a"}, "the busy reader is in the middle of a read without it"
    assert readers.read_busy() == {"a"}
    assert readers.read_quiet() == set()


def test_an_inbox_that_is_opened_before_the_busy_reader_reads_it_is_read_by_the_quiet_one(readers: Readers) -> None:
    readers.read_busy()
    readers.open("a")
    assert readers.read_quiet() == {"a"}


def test_an_inbox_that_was_closed_is_read_by_nobody_and_is_another_one_when_opened_again(readers: Readers) -> None:
    first = readers.open("a")
    readers.now = BUSY_SECONDS
    readers.read_quiet()
    readers.read_busy()
    readers.inboxes.remove(first)
    assert (readers.read_busy(), readers.read_quiet()) == (set(), set())
    second = readers.open("a")
    assert readers.inboxes.has(second)
    assert not readers.inboxes.has(first)
    assert readers.read_busy() == {"a"}
    assert readers.busy["a"] is second


def test_no_inbox_is_ever_read_by_nobody_whatever_comes_when() -> None:
    """All short interleavings of arrivals, reads and time, but for inboxes that neither reader could know yet."""
    for steps in range(4**7):
        readers = Readers()
        inbox = readers.open("a")
        readers.read_busy()
        readers.read_quiet()
        for _ in range(7):
            steps, step = divmod(steps, 4)
            if step == 0:
                readers.read_busy()
            elif step == 1:
                readers.read_quiet()
            elif step == 2:
                readers.inboxes.note_arrival(inbox, readers.now)
            else:
                readers.now += BUSY_SECONDS
            assert "a" in readers.busy or "a" in readers.quiet
