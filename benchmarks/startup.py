"""From nothing to the first acknowledged record, and the memory of nodes that have nothing to do.

The clock runs from the start of the processes, in an empty directory, until confluent-kafka has created a
topic with as many replicas as there are brokers and one record is acknowledged by all of them. Memory is read
from /proc ten seconds later.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks.bench import Bench, node_pids
from benchmarks.clients import ClientFailedError, quiet
from benchmarks.figures import Figure
from benchmarks.machine import memory_of
from kraft.local_cluster import LocalCluster, plan_cluster

ONE_NODE_BOUND = 0.8
SIX_NODES_BOUND = 4.0
MEMORY_BOUND = 70.0
IDLE = 10.0
PATIENCE = 30.0
IMPORT = "from cli.node_import import import_node; import_node()"


async def measure(bench: Bench) -> Sequence[Figure]:
    """One node with both roles, then three controllers and three brokers."""
    imports = await asyncio.to_thread(_imports, bench.rounds(5, 3))
    one = await _starts(bench, 1, "start to first acknowledgement, one node", ONE_NODE_BOUND)
    six = await _starts(bench, 3, "start to first acknowledgement, 3+3 processes", SIX_NODES_BOUND)
    floor = Figure(
        "a bare interpreter that imports what a node does", imports, "s", note="the floor of a start"
    )
    return [one[0], floor, *one[1:], *six]


def _imports(rounds: int) -> float:
    """The median seconds that a process lives which does nothing but import a node's modules.

    The first one is not counted: it may have to compile them.
    """
    taken = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        subprocess.run(
            (sys.executable, "-c", "from cli.node_import import import_node as i; i()"), check=True
        )
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


async def _starts(bench: Bench, nodes: int, name: str, bound: float) -> list[Figure]:
    times: list[tuple[float, float]] = []
    memory: dict[str, tuple[float, float]] = {}
    count = bench.rounds(5, 3)
    for number in range(count):
        with bench.directory() as directory:
            plan = plan_cluster(nodes, nodes, directory)
            started = time.perf_counter()
            async with LocalCluster(plan) as cluster:
                await cluster.start()
                ready = time.perf_counter() - started
                await asyncio.to_thread(_first_record, plan.bootstrap, nodes)
                times.append((ready, time.perf_counter() - started))
                bench.say(f"{nodes}+{nodes}: ready in {ready:.2f} s, acknowledged in {times[-1][1]:.2f} s")
                if number == count - 1:
                    memory = await _idle_memory(cluster)
    ready_in, acknowledged_in = (statistics.median(column) for column in zip(*times, strict=True))
    largest = max(memory, key=lambda node: memory[node][0])
    return [
        Figure(name, acknowledged_in, "s", bound, f"median of {count}; ready after {ready_in:.2f} s"),
        Figure(
            f"idle memory, {'one node' if nodes == 1 else 'largest of 3+3'}, RSS",
            memory[largest][0],
            "MB",
            MEMORY_BOUND,
            ", ".join(f"{node} {rss:.0f} (PSS {pss:.0f})" for node, (rss, pss) in memory.items()),
        ),
    ]


async def _idle_memory(cluster: LocalCluster) -> dict[str, tuple[float, float]]:
    """RSS and PSS in 10⁶ bytes of each node."""
    await asyncio.sleep(IDLE)
    found = {name: memory_of(pid) for name, pid in node_pids(cluster).items()}
    return {name: (memory.rss / 1e6, memory.pss / 1e6) for name, memory in found.items()}


def _first_record(bootstrap: str, replicas: int) -> None:
    """Create a topic and produce one record to it."""
    admin = AdminClient(quiet(bootstrap))
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            admin.create_topics([NewTopic("first", 1, replicas)])["first"].result(timeout=PATIENCE)
            break
        except KafkaException:
            # A broker that is ready may know others that are not yet.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    acknowledged: list[KafkaError | None] = []

    def reported(error: KafkaError | None, _message: Message) -> None:
        acknowledged.append(error)

    producer = Producer({**quiet(bootstrap), "acks": "all", "linger.ms": 0})
    producer.produce("first", b"value", on_delivery=reported)
    producer.flush(PATIENCE)
    if acknowledged != [None]:
        raise ClientFailedError(f"the first record: {acknowledged}")
