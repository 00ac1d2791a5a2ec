"""Transactions."""

from __future__ import annotations

import contextlib

from interop.shared.client import Client, Member, Membership
from interop.shared.data import make_topic, read_numbers, send_numbers
from interop.shared.groups import poll_until
from interop.shared.telling import Deadline, expect, refused

COUNT, BATCH = 30, 10
COPY = "copy"
"""The transactional id of `transactions_copy`, and the group."""


def transactions_copy(client: Client) -> None:
    """Doubles what it reads; each batch and its offsets are one transaction. The second is aborted once."""
    how = Membership(client.at.name(COPY), make_topic(client, "source"))
    target = make_topic(client, "target")
    send_numbers(client, how.topic, range(COUNT))
    with (
        contextlib.closing(client.transactional(client.at.name(COPY))) as producer,
        contextlib.closing(client.join(how)) as reader,
    ):
        poll_until([reader], lambda: len(reader.values) >= COUNT, "records to copy")
        expect("records read", reader.values, list(range(COUNT)))
        for start, good in ((0, True), (BATCH, False), (BATCH, True), (2 * BATCH, True)):
            producer.begin()
            producer.send(target, [2 * number for number in reader.values[start : start + BATCH]])
            producer.send_offset(reader, how, start + BATCH)
            if good:
                producer.commit()
            else:
                producer.abort()
            # The answer to the end of a transaction does not wait for the markers.
            _wait_for_offset(reader, start + BATCH if good else start)
    doubled = [2 * number for number in range(COUNT)]
    expect("copy", read_numbers(client, target, COUNT, committed=True), doubled)


def _wait_for_offset(reader: Member, offset: int) -> None:
    deadline = Deadline()
    while reader.committed() != offset and deadline.left(f"the committed offset {offset}"):
        pass


def transaction_abort(client: Client) -> None:
    """Five aborted, five committed."""
    topic = make_topic(client, "abort")
    with contextlib.closing(client.transactional(client.at.name("abort"))) as producer:
        for first, end in ((0, producer.abort), (5, producer.commit)):
            producer.begin()
            producer.send(topic, range(first, first + 5))
            end()
    expect("read_committed", read_numbers(client, topic, 5, committed=True), list(range(5, 10)))
    expect("read_uncommitted", read_numbers(client, topic, 10, committed=False), list(range(10)))


def read_committed(client: Client) -> None:
    """What stands behind an open transaction waits for its end."""
    topic = make_topic(client, "open")
    with contextlib.closing(client.transactional(client.at.name("open"))) as producer:
        producer.begin()
        producer.send(topic, range(3))
        send_numbers(client, topic, range(3, 5))
        stable = client.stable_offset(topic)
        if stable is not None:
            expect("last stable offset", stable, 0)
        expect("read while it is open", read_numbers(client, topic, 0, committed=True), [])
        producer.commit()
    expect("read afterwards", read_numbers(client, topic, 5, committed=True), list(range(5)))


def fenced_producer(client: Client) -> None:
    """The first of two with the same id."""
    topic, name = make_topic(client, "fenced"), client.at.name("fenced")
    with contextlib.closing(client.transactional(name)) as first:
        first.begin()
        first.send(topic, [1])
        with contextlib.closing(client.transactional(name)):
            first.commit()
    raise refused("the first producer's commit")


STEPS = (transactions_copy, transaction_abort, read_committed, fenced_producer)
