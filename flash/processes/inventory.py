"""The root of an inventory process: builds it from its parts, and leads sales until it is told to stop."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import trio

from flash.actors.command_log import LoggingReplies
from flash.actors.inventory import InventoryActor, load_inventory
from flash.actors.leader_counts import LeaderCounts
from flash.actors.lease_elector import LeaseElector
from flash.actors.led_terms import LedTerms
from flash.actors.sale_scheduler import SLEEP_MAX_SECONDS, SaleScheduler
from flash.actors.term_turns import TermTurns
from flash.board.identity import Identity
from flash.board.publisher import BoardPublisher
from flash.codes import digest_user
from flash.config import Config
from flash.errors import FlashError
from flash.metrics.page import MetricsPage
from flash.processes.inventory_status import InventoryParts, InventoryStatus
from flash.processes.inventory_values import inventory_values
from flash.processes.lifecycle import (
    Told,
    open_database,
    open_link,
    open_redis_client,
    open_reserved,
    run_process,
    wait_until,
    warn_of_eviction,
)
from flash.processes.observing import open_spans
from flash.processes.operators import listen_for_metrics, serve_metrics
from flash.processes.service_manager import ServiceManager
from flash.purchase_rpc import messages
from flash.purchase_rpc.server import PurchaseServer
from flash.shutdown import HANDOVER_SECONDS
from flash.sold_feed.publisher import PublishingReplies
from flash.stores.keys import Secrets, read_secrets
from flash.stores.leases import Leases
from flash.stores.postgres import Postgres
from flash.stores.redis import ping
from flash.stores.redis_link import RedisLink
from flash.stores.schedule import SaleSchedule
from flash.stores.terms import Terms

if TYPE_CHECKING:
    from flash.processes.spans import Spans

log = logging.getLogger(__name__)

_CONNECTIONS_MAX = 6
_BEGINNINGS_MAX = 2
"""Terms that begin at a time. The other connections are left to the sales that are led already."""
_RELEASE_SECONDS = 1.0


def run_inventory(config: Config) -> int:
    """Lead sales until SIGTERM or SIGINT. Returns the exit code: 0, or 1 if anything died."""
    return run_process("inventory", _run_inventory, config)


async def _run_inventory(config: Config, told: Told, manager: ServiceManager) -> None:
    stop = told.stop
    async with (
        open_database(config, stop, "flash inventory", _CONNECTIONS_MAX) as database,
        open_reserved(config, "flash scheduler") as scheduler_database,
        open_redis_client(config) as lease_client,
        open_link(config) as writer,
        open_link(config) as reader,
        open_link(config) as quiet_reader,
        open_link(config) as board_link,
        open_spans(config, "inventory") as spans,
    ):
        secrets = await wait_until("PostgreSQL", stop, partial(read_secrets, database))
        terms = Terms(database, linger_seconds=config.request_timeout_seconds)
        purchase_server = PurchaseServer(
            secrets.deployment,
            reader,
            quiet_reader,
            writer,
            on_wake_up=lambda: elector.wake_up(),
            on_demand=lambda lease: elector.lead_now(lease),
        )
        parts = InventoryParts(
            LeaderCounts(),
            LedTerms(),
            TermTurns(_BEGINNINGS_MAX),
            purchase_server,
            list_held=lambda: [messages.sale_of_lease(lease) for lease in elector.held],
            databases=(database, scheduler_database),
            links=(writer, reader, quiet_reader, board_link),
        )
        elector = LeaseElector(
            Leases(secrets.deployment, lease_client, config.lease_seconds),
            purchase_server,
            list_wanted=partial(_list_wanted, terms),
            lead=partial(_lead, config, secrets, terms, parts, spans),
            on_release=purchase_server.notify,
            lease_seconds=config.lease_seconds,
            margin_seconds=config.lease_margin_seconds,
        )
        identity = Identity.of_this_process("inventory")
        metrics = MetricsPage(partial(inventory_values, identity, parts))
        async with trio.open_nursery() as workers:
            workers.start_soon(serve_metrics, config, metrics, listen_for_metrics(config), stop)
            workers.start_soon(database.watch_servers)
            workers.start_soon(_schedule, config, scheduler_database, purchase_server)
            workers.start_soon(_publisher(identity, secrets, board_link, parts).run)
            await wait_until("Redis", stop, lambda: ping(lease_client))  # the schedule does not
            await warn_of_eviction(lease_client, stop)
            workers.start_soon(purchase_server.run)
            workers.start_soon(elector.run)
            log.info("ready to lead")
            manager.ready()
            await stop.wait()
            await trio.sleep(HANDOVER_SECONDS)
            workers.cancel_scope.cancel()
    log.info("stopped")


async def _schedule(config: Config, database: Postgres, purchase_server: PurchaseServer) -> None:
    """Make sales until cancelled, then let another process do it at once."""
    schedule = SaleSchedule(database, config.lease_seconds)
    scheduler = SaleScheduler(
        schedule,
        purchase_server.notify,
        period_seconds=config.sale_period_seconds,
        size=config.sale_size,
        user_limit=config.user_limit,
        sleep_max_seconds=min(SLEEP_MAX_SECONDS, config.lease_seconds / 3),
    )
    try:
        await scheduler.run()
    finally:
        with trio.move_on_after(_RELEASE_SECONDS, shield=True):
            try:
                await schedule.release()
            except FlashError as error:
                log.warning("could not hand over the sale scheduler, its time will end: %s", error)


async def _list_wanted(terms: Terms) -> list[str]:
    return [messages.lease_key(sale_id) for sale_id in await terms.list_leadable()]


def _publisher(identity: Identity, secrets: Secrets, link: RedisLink, parts: InventoryParts) -> BoardPublisher:
    status = InventoryStatus(identity, parts)
    return BoardPublisher(secrets.deployment, link, card=status.card, sample=status.sample, new_marks=status.new_marks)


async def _lead(
    config: Config, secrets: Secrets, terms: Terms, parts: InventoryParts, spans: Spans | None, key: str
) -> None:
    """Do what the lease `key` entitles to, until cancelled or there is nothing left to do."""
    with parts.terms.leading(messages.sale_of_lease(key)):
        await _lead_term(config, secrets, terms, parts, spans, key)


async def _lead_term(
    config: Config, secrets: Secrets, terms: Terms, parts: InventoryParts, spans: Spans | None, key: str
) -> None:
    digest = partial(digest_user, secrets.user_key)
    async with parts.turns.turn(sale_id := messages.sale_of_lease(key)):
        term, sale, now = await terms.begin_term(sale_id)
        inventory = await load_inventory(terms, term, sale, config.code_ttl_seconds, digest)
    parts.terms.began(term)
    log.info("leading sale %d, epoch %d: %d of %d sold", sale.id, term.epoch, sale.sold, sale.stock)
    actor = InventoryActor(
        term,
        inventory,
        terms,
        LoggingReplies(PublishingReplies(parts.server, secrets.deployment, term, sale.sold), sale.id),
        now=now,
        digest_user=digest,
        batch_max=config.purchase_batch_max,
        linger_seconds=config.request_timeout_seconds,
        counts=parts.counts,
        around=None if spans is None else spans.batches(sale.id),
    )
    with parts.server.open(sale.id) as mailbox:
        await parts.server.wake_up_reader()  # it may be blocked on the sales that it knew before
        await actor.run(mailbox)
    log.info("done with sale %d: sold out", sale.id)
