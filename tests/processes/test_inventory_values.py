"""What an inventory process tells Prometheus of the sales that it leads, and of those whose leases it only holds."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from flash.actors.leader_counts import LeaderCounts
from flash.actors.led_terms import LedTerms
from flash.actors.term_turns import TermTurns
from flash.board.identity import Identity
from flash.domain import Epoch, SaleId, Term
from flash.errors import Unavailable
from flash.metrics.exposition import render
from flash.processes.inventory_status import InventoryParts
from flash.processes.inventory_values import inventory_values
from flash.purchase_rpc.server import PurchaseServer
from flash.stores.redis_link import RedisLink
from tests.deployments import DEPLOYMENT
from tests.metrics.scraping import Scraped

HELD = [SaleId(1), SaleId(2), SaleId(3)]


@pytest.fixture
def parts() -> InventoryParts:
    """Those of a process that holds three leases. It says what it knows, so no store is asked."""
    link = RedisLink("redis://127.0.0.1:1", timeout_seconds=1)
    server = PurchaseServer(DEPLOYMENT, link, link, link, on_wake_up=lambda: None, on_demand=lambda _: None)
    return InventoryParts(LeaderCounts(), LedTerms(), TermTurns(2), server, lambda: HELD, databases=(), links=(link,))


def seen(parts: InventoryParts) -> dict[str, float]:
    page = Scraped(render(inventory_values(Identity.of_this_process("inventory"), parts))[0].decode())
    names = {"held": "flash_leases_held", "led": "flash_sales_led", "begun": "flash_terms_begun_total"}
    names |= {"taken over": "flash_terms_taken_over_total", "failed": "flash_terms_failed_total"}
    return {short: page.sum(name) for short, name in names.items()}


async def lead(parts: InventoryParts, sale_id: SaleId, epoch: int) -> None:
    with parts.terms.leading(sale_id):
        parts.terms.began(Term(sale_id, Epoch(epoch), b"token"))
        await trio.sleep_forever()


async def test_a_lease_that_is_held_is_not_a_sale_that_is_led(parts: InventoryParts) -> None:
    assert seen(parts) == {"held": 3, "led": 0, "begun": 0, "taken over": 0, "failed": 0}
    async with trio.open_nursery() as leaders:
        leaders.start_soon(lead, parts, HELD[0], 1)
        await trio.testing.wait_all_tasks_blocked()
        assert seen(parts) == {"held": 3, "led": 1, "begun": 1, "taken over": 0, "failed": 0}
        leaders.cancel_scope.cancel()  # put down, or trust in its lease has ended, as it does without Redis
    assert seen(parts) == {"held": 3, "led": 0, "begun": 1, "taken over": 0, "failed": 0}


async def test_a_sale_that_was_put_down_begins_again_and_is_not_taken_over(parts: InventoryParts) -> None:
    for epoch in (1, 2, 4):  # epoch 3 is somebody else's
        async with trio.open_nursery() as leaders:
            leaders.start_soon(lead, parts, HELD[0], epoch)
            await trio.testing.wait_all_tasks_blocked()
            leaders.cancel_scope.cancel()
    assert seen(parts) == {"held": 3, "led": 0, "begun": 3, "taken over": 1, "failed": 0}


async def test_nothing_is_led_when_every_term_fails(parts: InventoryParts) -> None:
    for sale_id in HELD:
        with pytest.raises(Unavailable), parts.terms.leading(sale_id):
            raise Unavailable("PostgreSQL")
    assert seen(parts) == {"held": 3, "led": 0, "begun": 0, "taken over": 0, "failed": 3}
