"""Calls, streams and notifications between a real server and a real peer on loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kafkawire.errors import ErrorCode, KafkaError
from kraft.transport import Limits, Link, PeerOptions, PeerTimeout, PeerUnavailable, Reply
from logstore.storage import StorageError

BULK = pytest.mark.parametrize("bulk", [False, True], ids=["websocket", "bulk"])


@BULK
async def test_a_call_is_answered(loopback: Any, bulk: bool) -> None:
    server = loopback.server()
    server.handlers.handle(
        "whoami", lambda link, value: Reply([link.peer_id, link.peer_role, value], [b"pay", b"load"])
    )
    peer = await loopback.connect(await server.start("127.0.0.1", 0), PeerOptions(role="broker"))
    answer = await peer.call("whoami", {"n": 1}, timeout=5, bulk=bulk)
    assert answer.value == [loopback.client_id, "broker", {"n": 1}]
    assert bytes(answer.payload) == b"payload"


@BULK
async def test_calls_overtake_each_other(loopback: Any, bulk: bool) -> None:
    server, waiting = loopback.server(), dict[str, asyncio.Future[Reply]]()
    both = asyncio.Event()

    def later(link: Link, name: str) -> asyncio.Future[Reply]:
        waiting[name] = asyncio.get_running_loop().create_future()
        if len(waiting) == 2:
            both.set()
        return waiting[name]

    server.handlers.handle("later", later)
    peer = await loopback.connect(await server.start("127.0.0.1", 0))
    first = asyncio.create_task(peer.call("later", "first", timeout=5, bulk=bulk))
    second = asyncio.create_task(peer.call("later", "second", timeout=5, bulk=bulk))
    await loopback.soon(both)
    waiting["second"].set_result(Reply(2))
    assert (await second).value == 2
    assert not first.done()
    waiting["first"].set_result(Reply(1))
    assert (await first).value == 1


async def test_notifications_and_calls_arrive_in_the_order_they_were_sent(loopback: Any) -> None:
    server, seen = loopback.server(), list[int]()
    server.handlers.handle_notify("note", lambda link, value: seen.append(value))
    server.handlers.handle("seen", lambda link, value: Reply(list(seen)))
    peer = await loopback.connect(await server.start("127.0.0.1", 0))
    assert all(peer.notify("note", n) for n in range(500))
    assert (await peer.call("seen", None, timeout=5)).value == list(range(500))


async def test_a_notification_that_nobody_knows_is_ignored(loopback: Any) -> None:
    server = loopback.server()
    server.handlers.handle("echo", lambda link, value: Reply(value))
    peer = await loopback.connect(await server.start("127.0.0.1", 0))
    assert peer.notify("from a later version", 1)
    assert (await peer.call("echo", 1, timeout=5)).value == 1


async def test_many_calls_at_once_keep_apart(loopback: Any) -> None:
    async def echo(link: Link, value: int) -> Reply:
        await asyncio.sleep(0)
        return Reply(value, [bytes([value % 256]) * value])

    server = loopback.server()
    server.handlers.handle("echo", echo)
    peer = await loopback.connect(await server.start("127.0.0.1", 0))
    answers = await asyncio.gather(*(peer.call("echo", n, timeout=10) for n in range(1000)))
    assert [answer.value for answer in answers] == list(range(1000))
    assert all(bytes(answer.payload) == bytes([n % 256]) * n for n, answer in enumerate(answers))


async def test_big_values_and_payloads_cross_both_ways(loopback: Any) -> None:
    server = loopback.server()
    server.handlers.handle("turn", lambda link, value: Reply(value, [value]))
    peer = await loopback.connect(await server.start("127.0.0.1", 0))
    data = bytes(range(256)) * 32768
    for answer in await asyncio.gather(*(peer.call("turn", data, timeout=30) for _ in range(3))):
        assert answer.value == data
        assert answer.payload == data


@BULK
async def test_what_a_handler_raises_reaches_the_caller(loopback: Any, bulk: bool) -> None:
    def refuse(link: Link, value: Any) -> Reply:
        raise KafkaError(ErrorCode.NOT_CONTROLLER, "ask node 2")

    async def fail(link: Link, value: Any) -> Reply:
        raise StorageError("/data/t-0/0.log", "Input/output error")

    server = loopback.server()
    server.handlers.handle("refuse", refuse)
    server.handlers.handle("fail", fail)
    peer = await loopback.connect(await server.start("127.0.0.1", 0))
    with pytest.raises(KafkaError, match="ask node 2") as refused:
        await peer.call("refuse", None, timeout=5, bulk=bulk)
    assert refused.value.code is ErrorCode.NOT_CONTROLLER
    with pytest.raises(KafkaError) as failed:
        await peer.call("fail", None, timeout=5, bulk=bulk)
    assert failed.value.code is ErrorCode.KAFKA_STORAGE_ERROR
    with pytest.raises(KafkaError) as unknown:
        await peer.call("no-such-method", None, timeout=5, bulk=bulk)
    assert unknown.value.code is ErrorCode.UNSUPPORTED_VERSION
    assert loopback.fatal == []


@BULK
@pytest.mark.parametrize("style", ["inline", "task", "reply"])
async def test_a_bug_in_a_handler_is_fatal_to_its_node(loopback: Any, bulk: bool, style: str) -> None:
    def inline(link: Link, value: Any) -> Reply:
        raise ZeroDivisionError

    async def task(link: Link, value: Any) -> Reply:
        raise ZeroDivisionError

    def reply(link: Link, value: Any) -> Reply:
        return Reply(object())

    server = loopback.server()
    server.handlers.handle("bug", {"inline": inline, "task": task, "reply": reply}[style])
    peer = await loopback.connect(await server.start("127.0.0.1", 0))
    with pytest.raises(KafkaError) as caught:
        await peer.call("bug", None, timeout=5, bulk=bulk)
    assert caught.value.code is ErrorCode.UNKNOWN_SERVER_ERROR
    assert len(loopback.fatal) == 1


async def test_a_bug_in_a_notification_or_a_stream_is_fatal_too(loopback: Any) -> None:
    async def broken(link: Link, value: Any) -> AsyncIterator[Reply]:
        yield Reply(1)
        raise ZeroDivisionError

    def note(link: Link, value: Any) -> None:
        raise ZeroDivisionError

    server = loopback.server()
    server.handlers.handle_notify("note", note)
    server.handlers.handle_stream("broken", broken)
    peer = await loopback.connect(await server.start("127.0.0.1", 0))
    peer.notify("note", None)
    await loopback.soon(loopback.failed)
    items = peer.stream("broken", None)
    assert (await anext(items)).value == 1
    with pytest.raises(KafkaError) as caught:
        await anext(items)
    assert caught.value.code is ErrorCode.UNKNOWN_SERVER_ERROR
    assert [type(error) for error in loopback.fatal] == [ZeroDivisionError, ZeroDivisionError]


@BULK
async def test_a_call_times_out_and_a_late_answer_harms_nothing(loopback: Any, bulk: bool) -> None:
    server, answers = loopback.server(), list[asyncio.Future[Reply]]()

    def never(link: Link, value: Any) -> asyncio.Future[Reply]:
        answers.append(asyncio.get_running_loop().create_future())
        return answers[-1]

    server.handlers.handle("never", never)
    server.handlers.handle("echo", lambda link, value: Reply(value))
    peer = await loopback.connect(await server.start("127.0.0.1", 0))
    with pytest.raises(PeerTimeout, match="never"):
        await peer.call("never", None, timeout=0.05, bulk=bulk)
    assert (await peer.call("echo", 1, timeout=5, bulk=bulk)).value == 1
    assert peer.connected


async def test_giving_a_call_up_cancels_its_handler(loopback: Any) -> None:
    server, began, cancelled = loopback.server(), asyncio.Event(), asyncio.Event()

    async def forever(link: Link, value: Any) -> Reply:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return Reply(None)

    server.handlers.handle("forever", forever)
    peer = await loopback.connect(await server.start("127.0.0.1", 0))
    call = asyncio.create_task(peer.call("forever", None, timeout=60))
    await loopback.soon(began)
    call.cancel()
    await loopback.soon(cancelled)


async def test_a_stream_brings_its_items_in_order_and_ends(loopback: Any) -> None:
    async def count(link: Link, value: int) -> AsyncIterator[Reply]:
        for n in range(value):
            yield Reply(n, [b"x" * 3000])

    server = loopback.server()
    server.handlers.handle_stream("count", count)
    peer = await loopback.connect(await server.start("127.0.0.1", 0))
    items = [item async for item in peer.stream("count", 2000)]
    assert [item.value for item in items] == list(range(2000))
    assert all(bytes(item.payload) == b"x" * 3000 for item in items)


async def test_a_stream_ends_with_the_error_of_its_handler(loopback: Any) -> None:
    async def fails(link: Link, value: Any) -> AsyncIterator[Reply]:
        yield Reply("before")
        raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE, "take a snapshot")

    server = loopback.server()
    server.handlers.handle_stream("fails", fails)
    peer = await loopback.connect(await server.start("127.0.0.1", 0))
    items = peer.stream("fails", None)
    assert (await anext(items)).value == "before"
    with pytest.raises(KafkaError, match="take a snapshot"):
        await anext(items)
    with pytest.raises(KafkaError) as caught:
        await anext(peer.stream("nothing", None))
    assert caught.value.code is ErrorCode.UNSUPPORTED_VERSION


async def test_leaving_a_stream_early_ends_its_handler(loopback: Any) -> None:
    server, ended = loopback.server(), asyncio.Event()

    async def forever(link: Link, value: Any) -> AsyncIterator[Reply]:
        try:
            while True:
                yield Reply(1)
        finally:
            ended.set()

    server.handlers.handle_stream("forever", forever)
    peer = await loopback.connect(await server.start("127.0.0.1", 0))
    async with contextlib.aclosing(peer.stream("forever", None)) as items:
        async for _ in items:
            break
    await loopback.soon(ended)


async def test_a_lagging_consumer_bounds_its_stream_and_delays_nobody(loopback: Any) -> None:
    window, size, made = 100_000, 10_000, [0]

    async def flood(link: Link, value: Any) -> AsyncIterator[Reply]:
        while True:
            made[0] += 1
            yield Reply(made[0], [b"x" * size])

    limits = Limits(stream_window=window)
    server = loopback.server(limits=limits)
    server.handlers.handle_stream("flood", flood)
    server.handlers.handle("echo", lambda link, value: Reply(value))
    peer = await loopback.connect(await server.start("127.0.0.1", 0), PeerOptions(limits=limits))
    async with contextlib.aclosing(peer.stream("flood", None)) as items:
        assert (await anext(items)).value == 1
        for n in range(200):
            assert (await peer.call("echo", n, timeout=5)).value == n
        assert window // size - 1 <= made[0] <= window // size + 3
        for n in range(2, 100):
            assert (await anext(items)).value == n
        assert made[0] <= 99 + window // size + 3


async def test_a_stream_that_never_waits_lets_others_have_their_turn(loopback: Any) -> None:
    made, seen = [0], list[int]()

    async def flood(link: Link, value: Any) -> AsyncIterator[Reply]:
        while True:
            made[0] += 1
            yield Reply(None)

    def look(link: Link, value: Any) -> Reply:
        seen.append(made[0])
        return Reply(None)

    limits = Limits(stream_window=1 << 40)
    server = loopback.server(limits=limits)
    server.handlers.handle_stream("flood", flood)
    server.handlers.handle("look", look)
    peer = await loopback.connect(await server.start("127.0.0.1", 0), PeerOptions(limits=limits))
    async with contextlib.aclosing(peer.stream("flood", None)) as items:
        await anext(items)
        await peer.call("look", None, timeout=5)
    assert 0 < seen[0] < 10_000


async def test_more_calls_than_a_link_may_have_close_it(loopback: Any) -> None:
    limits = Limits(calls_per_link=8)
    server, forever = loopback.server(limits=limits), list[asyncio.Future[Reply]]()

    def wait(link: Link, value: Any) -> asyncio.Future[Reply]:
        forever.append(asyncio.get_running_loop().create_future())
        return forever[-1]

    server.handlers.handle("wait", wait)
    peer = await loopback.connect(await server.start("127.0.0.1", 0))
    calls = [asyncio.create_task(peer.call("wait", n, timeout=30)) for n in range(9)]
    for call in calls:
        with pytest.raises(PeerUnavailable):
            await call
    assert len(forever) == 8
    assert all(future.cancelled() for future in forever)


async def test_calls_to_a_peer_that_is_away_fail_at_once(loopback: Any) -> None:
    peer = loopback.peer(1)
    with pytest.raises(PeerUnavailable, match="not started"):
        await peer.call("echo", 1, timeout=5)
    with pytest.raises(PeerUnavailable):
        await peer.call("echo", 1, timeout=5, bulk=True)
    with pytest.raises(PeerUnavailable):
        await anext(peer.stream("echo", 1))
    assert not peer.notify("echo", 1)
    assert not peer.connected


@pytest.mark.parametrize("name", ["", "a/b", "white space", "x" * 101, "taken"])
def test_a_method_name_fits_into_a_url_and_is_used_once(loopback: Any, name: str) -> None:
    server = loopback.server()
    server.handlers.handle("taken", lambda link, value: Reply(None))
    with pytest.raises(ValueError, match=r"already|no method name"):
        server.handlers.handle_notify(name, lambda link, value: None)
