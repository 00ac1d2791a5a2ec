"""Incremental replica fetches (KIP-227): what changed is listed, nothing is sent twice, nobody starves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from kafkawire.errors import ErrorCode, KafkaError
from replication.fetch_messages import NEW_SESSION, FetchFrom, ReplicaFetch
from replication.fetcher import FIRST_RETRY_AFTER, LAST_RETRY_AFTER

Refused = Callable[..., ErrorCode]


def asked(exchange: Any) -> list[int]:
    return [each.partition for each in exchange.request.changed]


def answered(exchange: Any) -> list[int]:
    return [each.partition for each in exchange.reply.partitions]


@pytest.fixture
def many(make_bench: Callable[..., Any]) -> Any:
    """Ten partitions that 1 leads and 2 follows."""
    bench = make_bench(2)
    bench.create(*[(1, 2)] * 10)
    return bench


def test_the_first_request_lists_all_and_the_next_ones_what_changed(many: Any) -> None:
    assert asked(many.fetch(2, 1)) == list(range(10))
    assert asked(many.fetch(2, 1)) == []
    many.produce(1, index=4)
    assert answered(many.fetch(2, 1)) == [4]
    exchange = many.fetch(2, 1)
    assert asked(exchange) == [4]
    assert exchange.request.changed[0].offset == 1


def test_idle_partitions_are_not_looked_at(many: Any) -> None:
    many.fetch(2, 1, times=2)
    many.produce(1, index=4)
    exchange = many.ask(2, 1)
    assert answered(exchange) == [4]


def test_a_new_session_tells_the_high_watermark_at_once(many: Any) -> None:
    """A follower that came back holds all records but may know an old high watermark; no record will bring
    the new one."""
    many.produce(1, index=3)
    many.fetch(2, 1, times=2)
    assert many.partition(1, 3).high_watermark == 1
    assert many.partition(2, 3).high_watermark == 1
    many.restart(2)
    assert many.partition(2, 3).high_watermark == 0
    many.hear()
    many.fetch(2, 1)
    assert many.partition(2, 3).high_watermark == 1


def test_what_was_told_in_another_leader_epoch_is_told_again(many: Any) -> None:
    """The follower ignores an answer that crosses a new leader epoch, though the session goes on."""
    many.produce(1, index=3)
    many.fetch(2, 1)
    crossing = many.ask(2, 1)
    partition = many.partition(1, 3)
    assert partition.high_watermark == 1
    image = many.image.topics.by_name["t"].partitions[3]
    again = replace(image, leader_epoch=1, partition_epoch=1)
    for number in (1, 2):
        broker = many.brokers[number]
        many.partition(number, 3).update(again, broker.replicas.broker_epoch_if_eligible, many.now)
    fetcher = many.brokers[2].replicas.fetchers[1]
    follower = many.partition(2, 3)
    fetcher.unfollow(follower.key)
    fetcher.follow(follower)
    many.deliver(2, 1, crossing)
    assert follower.high_watermark == 0
    many.fetch(2, 1)
    assert follower.high_watermark == 1


def test_nothing_is_sent_again_while_it_is_unanswered(many: Any) -> None:
    many.fetch(2, 1)
    many.produce(1, b"a")
    exchange = many.ask(2, 1)
    assert exchange.content
    many.produce(1, b"b")
    session = many.brokers[1].sessions.of(2)
    assert session.collect(1 << 20, patient=False) is None
    many.deliver(2, 1, exchange)
    exchange = many.fetch(2, 1)
    assert answered(exchange) == [0]
    assert many.log_of(2) == [(0, 0), (1, 0)]


def test_a_patient_look_answers_for_records_but_not_for_high_watermarks_alone(many: Any) -> None:
    many.fetch(2, 1, times=2)
    many.produce(1)
    many.fetch(2, 1)
    session = many.brokers[1].sessions.of(2)
    request = many.brokers[2].replicas.fetchers[1].next_request(many.brokers[2].epoch, many.now, 500, 1 << 20)
    many.brokers[1].sessions.receive(request, many.brokers[1].replicas.by_key, many.now)
    assert session.collect(1 << 20, patient=True) is None
    reply, slices = session.collect(1 << 20, patient=False)
    assert [(each.high_watermark, each.size) for each in reply.partitions] == [(1, 0)]
    assert slices == []
    assert session.collect(1 << 20, patient=False) is None


def test_small_answers_take_the_partitions_in_turn(many: Any) -> None:
    """What did not fit comes first the next time, even when the first ones always have more."""
    many.fetch(2, 1)
    for _ in range(4):
        for index in range(10):
            many.produce(1, index=index)
    seen: list[int] = []
    for _ in range(10):
        exchange = many.fetch(2, 1, max_bytes=1)
        seen += [each.partition for each in exchange.reply.partitions if each.size]
    assert sorted(seen) == list(range(10))


def test_an_answer_is_about_as_large_as_was_asked(many: Any) -> None:
    many.fetch(2, 1)
    for index in range(10):
        many.produce(1, b"x" * 1000, index=index)
    assert 2000 < len(many.ask(2, 1, max_bytes=2500).content) < 3500


def test_a_lost_session_begins_anew_with_everything(many: Any) -> None:
    many.produce(1, index=3)
    many.fetch(2, 1)
    many.lose_connection(2, 1)
    exchange = many.fetch(2, 1)
    assert exchange.request.session_id == NEW_SESSION
    assert asked(exchange) == list(range(10))
    many.produce(1, index=3)
    many.fetch(2, 1)
    assert many.log_of(2, 3) == [(0, 0), (1, 0)]


def test_requests_out_of_turn_are_refused(many: Any, refused: Refused) -> None:
    exchange = many.fetch(2, 1)
    sessions, lookup = many.brokers[1].sessions, many.brokers[1].replicas.by_key
    session_id = exchange.reply.session_id
    for changes, code in (
        ({"session_id": session_id + 1, "session_epoch": 2}, ErrorCode.FETCH_SESSION_ID_NOT_FOUND),
        ({"session_id": session_id, "session_epoch": 1}, ErrorCode.INVALID_FETCH_SESSION_EPOCH),
        ({"session_id": session_id, "session_epoch": 3}, ErrorCode.INVALID_FETCH_SESSION_EPOCH),
        (
            {"session_id": session_id, "session_epoch": 2, "replica_id": 9},
            ErrorCode.FETCH_SESSION_ID_NOT_FOUND,
        ),
    ):
        assert refused(sessions.receive, replace(exchange.request, **changes), lookup, many.now) is code
    assert asked(many.fetch(2, 1)) == []


def test_a_late_request_of_the_session_before_acknowledges_nothing(many: Any, refused: Refused) -> None:
    many.fetch(2, 1)
    many.produce(1)
    many.fetch(2, 1)
    fetcher = many.brokers[2].replicas.fetchers[1]
    late = fetcher.next_request(many.brokers[2].epoch, many.now, 500, 100)
    assert late.changed[0].offset == 1
    many.lose_connection(2, 1)
    many.brokers[2].replicas.find("t", 0).log.truncate_to(0)
    many.fetch(2, 1)
    sessions, lookup = many.brokers[1].sessions, many.brokers[1].replicas.by_key
    assert refused(sessions.receive, late, lookup, many.now) is ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    assert many.partition(1).high_watermark == 0


def test_a_new_session_ends_the_old_one_and_tells_who_waits(many: Any) -> None:
    many.fetch(2, 1)
    session = many.brokers[1].sessions.of(2)
    woken: list[bool] = []
    session.wake = lambda: woken.append(True)
    many.lose_connection(2, 1)
    many.fetch(2, 1)
    assert woken == [True]
    assert many.brokers[1].sessions.of(2) is not session
    assert session not in many.partition(1).watchers


def test_sessions_of_brokers_that_are_gone_end(many: Any) -> None:
    many.fetch(2, 1)
    many.brokers[1].sessions.retain([1, 2])
    assert many.brokers[1].sessions.of(2) is not None
    many.brokers[1].sessions.retain([1])
    assert many.brokers[1].sessions.of(2) is None
    assert many.partition(1).watchers == {}


def test_a_partition_that_is_no_longer_followed_is_dropped(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(2)
    bench.create((1, 2), (1, 2))
    bench.fetch(2, 1)
    fetcher = bench.brokers[2].replicas.fetchers[1]
    key = bench.partition(2, 1).key
    fetcher.unfollow(key)
    assert fetcher.has_news
    exchange = bench.fetch(2, 1)
    assert exchange.request.dropped == [key]
    bench.produce(1, index=1)
    assert answered(bench.fetch(2, 1)) == []
    assert bench.partition(1, 1).watchers == {}


def test_dropped_and_taken_up_again_is_only_listed(many: Any) -> None:
    many.fetch(2, 1)
    fetcher = many.brokers[2].replicas.fetchers[1]
    follower = many.partition(2, 5)
    fetcher.unfollow(follower.key)
    fetcher.follow(follower)
    exchange = many.fetch(2, 1)
    assert asked(exchange) == [5]
    assert exchange.request.dropped == []


def test_appends_wake_a_session_that_waits(many: Any) -> None:
    many.fetch(2, 1)
    woken: list[bool] = []
    many.brokers[1].sessions.of(2).wake = lambda: woken.append(True)
    many.produce(1, index=7)
    assert woken


def test_a_refused_partition_is_asked_for_again_later_and_later(bench: Any) -> None:
    """3 knows of a leader epoch of which 1 has not heard: nothing is lost, 3 asks again after a while."""
    bench.fence(1)
    bench.hear(3)
    exchange = bench.fetch(3, 2)
    (answer,) = exchange.reply.partitions
    assert answer.error in (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.UNKNOWN_LEADER_EPOCH)
    after = FIRST_RETRY_AFTER
    for _ in range(8):
        assert asked(bench.fetch(3, 2)) == []
        bench.now += after * 0.9
        assert asked(bench.fetch(3, 2)) == []
        bench.now += after * 0.2
        assert asked(bench.fetch(3, 2)) == [0]
        after = min(2 * after, LAST_RETRY_AFTER)
    bench.hear(2)
    bench.now += LAST_RETRY_AFTER
    bench.fetch(3, 2)
    assert bench.leader(2).followers[3].end_offset == 0


def test_a_request_does_not_wait_beyond_the_next_retry(bench: Any) -> None:
    bench.fence(1)
    bench.hear(3)
    bench.fetch(3, 2)
    assert bench.ask(3, 2).request.wait_ms == round(FIRST_RETRY_AFTER * 1000)


def test_a_partition_that_the_leader_does_not_have_is_refused_alone(many: Any) -> None:
    exchange = many.ask(2, 1)
    session_id = exchange.reply.session_id
    request = replace(
        exchange.request,
        session_id=session_id,
        session_epoch=2,
        changed=[FetchFrom(b"?" * 16, 0, 0, 0, -1), *exchange.request.changed[:1]],
    )
    many.produce(1, index=0)
    answers = {each.topic_id: each.error for each in many.serve(1, request).reply.partitions}
    assert answers == {b"?" * 16: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, many.partition(1).key[0]: 0}


def test_a_leader_that_steps_down_tells_its_followers(bench: Any) -> None:
    bench.fetch(3, 1)
    bench.fence(1)
    bench.hear(1)
    exchange = bench.fetch(3, 1)
    assert exchange.reply.partitions[0].error == ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_an_error_of_the_whole_session_begins_anew(many: Any) -> None:
    exchange = many.fetch(2, 1)
    reply = replace(exchange.reply, error=int(ErrorCode.FETCH_SESSION_ID_NOT_FOUND), partitions=())
    many.deliver(2, 1, dataclasses.replace(exchange, reply=reply, content=b""))
    assert asked(many.ask(2, 1)) == list(range(10))


def test_damaged_bytes_are_not_appended_and_fetched_again(many: Any) -> None:
    many.fetch(2, 1)
    many.produce(1, index=0)
    many.produce(1, index=1)
    exchange = many.ask(2, 1)
    content = bytearray(exchange.content)
    content[65] ^= 1
    many.deliver(2, 1, dataclasses.replace(exchange, content=bytes(content)))
    assert many.log_of(2, 0) == []
    assert many.log_of(2, 1) == [(0, 0)]
    many.now += FIRST_RETRY_AFTER
    many.fetch(2, 1)
    assert many.log_of(2, 0) == [(0, 0)]


def test_an_answer_that_is_shorter_than_it_says_is_corrupt(many: Any) -> None:
    many.fetch(2, 1)
    many.produce(1)
    exchange = many.ask(2, 1)
    with pytest.raises(KafkaError) as caught:
        many.deliver(2, 1, dataclasses.replace(exchange, content=exchange.content[:-1]))
    assert caught.value.code is ErrorCode.CORRUPT_MESSAGE
    assert many.log_of(2) == []


def test_a_request_travels_as_it_is(many: Any) -> None:
    request = many.ask(2, 1).request
    assert ReplicaFetch.from_wire(request.to_wire()) == request
