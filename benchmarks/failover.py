"""How long a producer waits when a node is killed, with default settings of brokers and client.

Three controllers, three brokers, one partition with three replicas and min.insync.replicas=2. Leaders are
killed with SIGKILL, then active controllers; after each trial the node comes back and the in-sync replicas
are complete again before the next. A wait is the longest time without an acknowledgement around the blow,
seen by an idempotent producer that sends every 2 ms. For the controller it is also the time from the kill
until the creation of a topic is acknowledged.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence

from benchmarks.bench import Bench
from benchmarks.figures import Figure
from benchmarks.scene import Scene, figures, scene, trials


async def measure(bench: Bench) -> Sequence[Figure]:
    """Leaders, then controllers."""
    count = bench.rounds(30, 6)
    creations: list[float] = []
    async with scene(bench, {}) as hurt:
        killed = await trials("kill a leader", count, lambda: _kill_leader(hurt), bench)
        unseated = await trials(
            "kill the active controller", count, lambda: _kill_controller(hurt, creations), bench
        )
    note = f"{hurt.traffic.acknowledged:,} records acknowledged, none refused"
    return [
        *figures("producer waits, leader killed", killed, (0.5, 1.0), note),
        *figures("creating a topic waits, active controller killed", creations, (1.5, 1.5)),
        *figures("producer waits, active controller killed", unseated, (1.5, 1.5)),
    ]


async def _kill_leader(hurt: Scene) -> float:
    leader = await hurt.leader()
    wait = await hurt.wait_after(lambda: leader.send_signal(signal.SIGKILL))
    await leader.wait()
    await leader.start()
    return wait


async def _kill_controller(hurt: Scene, creations: list[float]) -> float:
    controller = await hurt.active_controller()
    await hurt.traffic.flows(time.perf_counter())
    struck = time.perf_counter()
    controller.send_signal(signal.SIGKILL)
    creations.append(await hurt.create_topic(f"created-{len(creations)}") - struck)
    await hurt.traffic.flows(time.perf_counter())
    wait = hurt.traffic.longest_silence(struck)
    await controller.wait()
    await controller.start()
    return wait
