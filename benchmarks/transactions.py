"""How long a transaction takes: confluent-kafka begins one, sends 100 records to three partitions, commits.

One controller and three brokers, three replicas of everything, the coordinator's topic included. The time is
from `begin_transaction` until `commit_transaction` returns; a transaction that is not the first begins after
the markers of the one before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from confluent_kafka import Producer

from benchmarks import clients
from benchmarks.bench import Bench
from benchmarks.clients import quiet
from benchmarks.figures import Figure, percentile

TOPIC = "transactional"
PARTITIONS = 3
RECORDS = 100
PATIENCE = 30.0


async def measure(bench: Bench) -> Sequence[Figure]:
    """One after the other."""
    count = bench.rounds(200, 40)
    bench.say(f"{count} transactions")
    async with bench.cluster(1, 3) as cluster:
        bootstrap = cluster.plan.bootstrap
        await asyncio.to_thread(clients.create_topic, bootstrap, TOPIC, PARTITIONS, 3)
        taken = await asyncio.to_thread(_commit_each, bootstrap, count)
    name = f"transaction of {RECORDS} records, {PARTITIONS} partitions, three replicas"
    return [
        Figure(f"{name}, p50", percentile(taken, 0.5) * 1000, "ms", 25),
        Figure(f"{name}, p99", percentile(taken, 0.99) * 1000, "ms"),
    ]


def _commit_each(bootstrap: str, count: int) -> list[float]:
    producer = Producer({**quiet(bootstrap), "transactional.id": "measured", "linger.ms": 0})
    producer.init_transactions(PATIENCE)
    taken = []
    for number in range(count + 5):
        started = time.perf_counter()
        producer.begin_transaction()
        for record in range(RECORDS):
            producer.produce(TOPIC, b"%d" % record, partition=record % PARTITIONS)
        producer.commit_transaction(PATIENCE)
        if number >= 5:
            taken.append(time.perf_counter() - started)
    return taken
