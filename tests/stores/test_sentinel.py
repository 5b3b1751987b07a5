"""Both clients find the primary through real Sentinels, and believe none of them; and what the doctor says of each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from flash import bridge
from flash.config import Config
from flash.errors import OutcomeUnknown, Unavailable
from flash.local.doctor_redis import redis_findings
from flash.stores.redis import call_redis, open_redis
from flash.stores.redis_link import RedisLink
from flash.testing.cluster import until
from flash.testing.sentinel import NAME, SentinelGroup, is_primary, running_sentinel_group, tell


@pytest.fixture(scope="module")
def group() -> Iterator[SentinelGroup]:
    """Nobody breaks this one."""
    with running_sentinel_group() as made:
        yield made


def port_of(group: SentinelGroup, number: int) -> int:
    port: str = tell(group.servers[number], "CONFIG GET", "port")["port"]
    return int(port)


async def port_by_both_clients(url: str) -> tuple[int, int]:
    """The port of the server that each of them is led to."""
    async with RedisLink(url, timeout_seconds=5) as link, bridge.open_loop():
        ((_, ours),) = await link.execute(("CONFIG", "GET", "port"))
        async with open_redis(url, timeout_seconds=5) as client:
            theirs = await call_redis(client, client.config_get, "port")
    return int(ours), int(theirs["port"] or 0)


async def test_both_clients_are_led_to_the_primary(group: SentinelGroup) -> None:
    primary = port_of(group, 0)
    assert await port_by_both_clients(group.url) == (primary, primary)


@asynccontextmanager
async def answering(serve: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    """The address of a server on this machine."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield f"127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


def naming(port: int) -> Callable[[trio.SocketStream], Awaitable[None]]:
    """A Sentinel that names this port, whatever it is asked."""

    async def serve(stream: trio.SocketStream) -> None:
        async for _ in stream:
            await stream.send_all(b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n" % (len(str(port)), port))

    return serve


async def be_silent(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await trio.sleep_forever()


async def hang_up(stream: trio.SocketStream) -> None:
    await stream.aclose()


@pytest.mark.parametrize("wrong", ["lags", "lies", "is silent", "hangs up"])
async def test_the_next_sentinel_is_asked_when_one_is_wrong_or_away(wrong: str, group: SentinelGroup) -> None:
    nobody = 1
    serve = {
        "lags": naming(port_of(group, 1)),  # which is the replica
        "lies": naming(nobody),
        "is silent": be_silent,
        "hangs up": hang_up,
    }[wrong]
    async with answering(serve) as place:
        url = group.url.replace("redis+sentinel://", f"redis+sentinel://{place},")
        primary = port_of(group, 0)
        async with RedisLink(url, timeout_seconds=1) as link:
            for _ in range(2):
                ((_, port),) = await link.execute(("CONFIG", "GET", "port"))
                assert int(port) == primary
                began = trio.current_time()
                await link.__aexit__()  # connects anew, and remembers who was right
            assert trio.current_time() - began < 0.2
        assert await port_by_both_clients(url) == (primary, primary)


async def test_a_lie_that_nobody_corrects_is_told_as_it_is_and_in_time(group: SentinelGroup) -> None:
    replica = port_of(group, 1)
    async with (
        answering(naming(replica)) as one,
        answering(be_silent) as other,
        RedisLink(f"redis+sentinel://{one},{other}/{NAME}", timeout_seconds=0.6) as link,
    ):
        with trio.fail_after(1.0), pytest.raises(Unavailable) as caught:
            await link.execute(("PING",))
    text = str(caught.value)
    assert f"127.0.0.1:{replica} is said to be the primary, and says that it is a slave" in text
    assert f"the Sentinel at {other} does not answer: no answer within 0." in text


async def until_accepted(call: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await call()
        except (Unavailable, OutcomeUnknown):
            await trio.sleep(0.05)
        else:
            return


async def test_a_client_that_was_connected_follows_a_fail_over() -> None:
    with running_sentinel_group(sentinels=1) as group:
        await until(group.is_whole)
        async with (
            RedisLink(group.url, timeout_seconds=1) as link,
            bridge.open_loop(),
            open_redis(group.url, timeout_seconds=1) as client,
        ):
            await link.execute(("SET", "before", "1"))
            assert await call_redis(client, client.set, "before", "1")
            await until(group.sentinels[0].fail_over)
            await until(lambda: is_primary(group.servers[1]))
            await until(lambda: not is_primary(group.servers[0]))
            with trio.fail_after(5):
                await until_accepted(partial(link.execute, ("SET", "after", "1")))
                await until_accepted(partial(call_redis, client, client.set, "after", "1"))
        assert tell(group.servers[1], "GET", "after") == b"1"


async def test_servers_and_sentinels_have_a_user_and_a_password_each() -> None:
    shop = "ACL SETUSER shop on >s3cret ~k:* -@all +role +get +select +client|setname"
    with running_sentinel_group(sentinels=1) as group:
        for server in group.servers:
            tell(server, *shop.split())
        sentinel = group.sentinels[0]
        asking = "ACL SETUSER asker on >0ther resetkeys resetchannels -@all +sentinel|get-master-addr-by-name"
        sentinel.tell(*asking.split())
        sentinel.tell(*["ACL", "SETUSER", "default", "-@all", "+ping", "+acl"])
        url = group.url.replace("//", "//shop:s3cret@") + "/3?sentinel_username=asker&sentinel_password=0ther"
        async with RedisLink(url, timeout_seconds=5) as link, bridge.open_loop():
            assert await link.execute(("GET", "k:1")) == [None]
            async with open_redis(url, timeout_seconds=5) as client:
                assert await call_redis(client, client.get, "k:1") is None
        assert b"asker" not in [word for entry in sentinel.tell("ACL", "LOG") for word in entry], "denied nothing"
        async with RedisLink(group.url, timeout_seconds=5) as link:
            with pytest.raises(Unavailable, match=r"the Sentinel at \S+ refused: NOPERM"):
                await link.execute(("PING",))


@pytest.fixture
def clock() -> MockClock:
    """Jumps as soon as everybody waits. All who answer here are tasks of the test."""
    return MockClock(autojump_threshold=0.02)


def primary(round_seconds: float) -> Callable[[trio.SocketStream], Awaitable[None]]:
    """A server that takes so long for each answer."""

    async def serve(stream: trio.SocketStream) -> None:
        async for sent in stream:
            await trio.sleep(round_seconds)
            await stream.send_all(b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n" if b"ROLE" in sent else b"+OK\r\n")

    return serve


def port_in(place: str) -> int:
    return int(place.rpartition(":")[2])


@pytest.mark.parametrize(
    ("silent", "honest", "round_seconds"),
    [(0, 3, 0.15), (0, 3, 0.24), (2, 1, 0.15), (2, 1, 0.24), (0, 1, 0.45)],  # greeting and ROLE are a round each
)
async def test_a_slow_primary_has_the_time_that_its_sentinels_leave(
    silent: int, honest: int, round_seconds: float, clock: MockClock
) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(answering(primary(round_seconds)))
        serves = [be_silent] * silent + [naming(port_in(server))] * honest
        places = [await stack.enter_async_context(answering(serve)) for serve in serves]
        link = RedisLink(f"redis+sentinel://{','.join(places)}/{NAME}", timeout_seconds=1.0)
        async with link, RedisLink(f"redis://{server}", timeout_seconds=1.0) as direct:
            assert await direct.execute(("PING",)) == await link.execute(("PING",)) == [b"OK"]


@pytest.mark.parametrize("silent", [0, 1, 2])
async def test_however_many_are_silent_connecting_takes_one_time_out(silent: int, clock: MockClock) -> None:
    """Each Sentinel that answers names another server, and all of these are silent."""
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(answering(be_silent)) for _ in range(3 - silent)]
        serves = [be_silent] * silent + [naming(port_in(server)) for server in servers]
        places = [await stack.enter_async_context(answering(serve)) for serve in serves]
        async with RedisLink(f"redis+sentinel://{','.join(places)}/{NAME}", timeout_seconds=1.0) as link:
            began = trio.current_time()
            with pytest.raises(Unavailable) as caught:
                await link.execute(("PING",))
            assert trio.current_time() - began == pytest.approx(1.0)
    text = str(caught.value)
    for place in places[:silent]:
        assert f"the Sentinel at {place} does not answer: no answer within 0.25 s" in text
    for server in servers:
        assert f"the primary at {server} cannot be reached: no answer within 0." in text


async def test_the_client_for_leases_says_too_who_was_silent() -> None:
    async with (
        answering(be_silent) as server,
        answering(naming(port_in(server))) as place,
        bridge.open_loop(),
        open_redis(f"redis+sentinel://{place}/{NAME}", timeout_seconds=0.5) as client,
    ):
        with pytest.raises(Unavailable, match=f"the primary at {server} cannot be reached: no answer within"):
            await call_redis(client, client.ping)


def found(url: str) -> list[tuple[str, str, str]]:
    """What the doctor says of this REDIS_URL."""
    findings = redis_findings(replace(Config(), redis_url=url))
    return [(finding.verdict, finding.subject, finding.text) for finding in findings]


def test_the_doctor_is_content_with_a_whole_group(group: SentinelGroup) -> None:
    trio.run(until, group.is_whole)
    primary = port_of(group, 0)
    assert found(group.url) == [
        ("ok", "Sentinel", f"the primary of {NAME} is 127.0.0.1:{primary}"),
        ("ok", "REDIS_URL", f"{group.url} answers"),
        ("ok", "eviction", "maxmemory-policy is noeviction"),
    ]


def test_the_doctor_says_what_is_wrong_with_sentinels_and_what_to_do(group: SentinelGroup) -> None:
    ((verdict, _, text),) = found("redis+sentinel://127.0.0.1:1,127.0.0.1:2/cache")
    assert (verdict, "no Sentinel can be asked" in text) == ("fail", True)
    assert text.endswith("nothing listens there: start it, or correct host and port in REDIS_URL")
    ((verdict, _, text),) = found(group.url.replace(NAME, "cache"))
    assert (verdict, "knows no primary by the name cache" in text) == ("fail", True)
    assert "`SENTINEL MASTERS` lists those there are" in text
    one = f"redis+sentinel://127.0.0.1:{group.sentinels[0].port}/{NAME}"
    assert ("warn", "Sentinel") in [finding[:2] for finding in found(one)], "one may be away"
    warnings = [text for verdict, _, text in found(one.replace("//", "//127.0.0.1:1,")) if verdict == "warn"]
    assert any("the Sentinel at 127.0.0.1:1 does not answer" in text for text in warnings)
    ((verdict, _, text),) = found("redis+sentinel://127.0.0.1:1")
    assert (verdict, "needs the name" in text) == ("fail", True)
