"""How long writes wait when a leader is paused with SIGSTOP: its connections stay open, nothing answers.

The cluster's part is the time until another broker has the leadership and accepts a record with acks=all; it
is seen by a plain connection to a broker that runs. A producer may wait longer, since it has requests under
way to the paused broker: librdkafka gives them up after socket.timeout.ms, a minute by default, 1 s here.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Sequence

from benchmarks.bench import Bench
from benchmarks.clients import ClientFailedError
from benchmarks.figures import Figure
from benchmarks.scene import PATIENCE, TOPIC, Scene, figures, scene, trials
from benchmarks.wire import Wire
from kafkawire.apis import ApiKey
from kafkawire.messages import request_class
from kafkawire.produce import ProducePartition, ProduceRequest
from kafkawire.produce_client import decode_produce_response, encode_produce_request
from kafkawire.records import build_batch
from kraft.local_cluster import HOST

BOUND = 5.0
SOCKET_TIMEOUT_MS = 1000
METADATA_VERSION = 9
PRODUCE_VERSION = 9


async def measure(bench: Bench) -> Sequence[Figure]:
    """Both waits, in the same trials."""
    accepted: list[float] = []
    async with scene(bench, {"socket.timeout.ms": SOCKET_TIMEOUT_MS}) as hurt:
        waits = await trials("pause a leader", bench.rounds(5, 2), lambda: _pause(hurt, accepted), bench)
    client = f"socket.timeout.ms={SOCKET_TIMEOUT_MS}"
    return [
        *figures("leader paused, writes accepted again", accepted, (BOUND, BOUND)),
        *figures(f"producer waits, leader paused, {client}", waits, (BOUND, BOUND)),
    ]


async def _pause(hurt: Scene, accepted: list[float]) -> float:
    leader = await hurt.leader()
    ports = {node.node_id: node.kafka_port for node in hurt.cluster.plan.nodes if node.kafka_port is not None}
    paused = next(node_id for node_id in ports if hurt.cluster.processes[node_id] is leader)
    await hurt.traffic.flows(time.perf_counter())
    struck = time.perf_counter()
    leader.send_signal(signal.SIGSTOP)
    try:
        accepted.append(await asyncio.to_thread(accepted_again, ports, paused) - struck)
        await hurt.traffic.flows(time.perf_counter())
        return hurt.traffic.longest_silence(struck)
    finally:
        leader.send_signal(signal.SIGCONT)


def accepted_again(ports: dict[int, int], paused: int) -> float:
    """When a leader other than `paused` has accepted a record for all in-sync replicas."""
    deadline = time.monotonic() + PATIENCE
    witness = next(port for node_id, port in ports.items() if node_id != paused)
    with Wire(HOST, witness) as wire:
        while (leader := _leader(wire)) in (paused, -1):
            if time.monotonic() > deadline:
                raise ClientFailedError(f"{paused} still leads")
            time.sleep(0.02)
    batch = memoryview(build_batch([(round(time.time() * 1000), None, b"accepted")]))
    request = ProduceRequest(None, -1, 30_000, [ProducePartition(TOPIC, 0, batch)])
    with Wire(HOST, ports[leader]) as wire:
        while time.monotonic() < deadline:
            wire.socket.sendall(encode_produce_request(PRODUCE_VERSION, 1, request, "benchmark"))
            (result,) = decode_produce_response(PRODUCE_VERSION, memoryview(wire.receive())).results
            if not result.error_code:
                return time.perf_counter()
            time.sleep(0.02)
    raise ClientFailedError(f"the new leader answers {result.error_code}")


def _leader(wire: Wire) -> int:
    metadata = request_class(ApiKey.METADATA)
    request = metadata(topics=[metadata.MetadataRequestTopic(name=TOPIC)], allow_auto_topic_creation=False)
    (topic,) = wire.call(ApiKey.METADATA, METADATA_VERSION, request).topics
    return int(topic.partitions[0].leader_id)
