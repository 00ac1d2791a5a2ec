"""A whole cluster on loopback: which nodes there are, on which ports, and each as a process of its own."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from kraft.processes import ManagedProcess, reserve_port
from kraft.readiness import NodeAddresses

HOST = "127.0.0.1"
FIRST_CONTROLLER_ID = 101
MAX_NODES = 100


class NodePlan(msgspec.Struct, frozen=True):
    """One node: its id, roles as Kafka writes them, and ports; `kafka_port` is None on a controller.

    Others reach it on `reached_at` (node port, Kafka port) if that is given, where a proxy may stand.
    """

    node_id: int
    roles: str
    node_port: int
    kafka_port: int | None
    reached_at: tuple[int, int] | None = None

    @property
    def votes(self) -> bool:
        return "controller" in self.roles

    @property
    def serves(self) -> bool:
        return self.kafka_port is not None

    @property
    def public_node_port(self) -> int:
        return self.node_port if self.reached_at is None else self.reached_at[0]

    @property
    def public_kafka_port(self) -> int | None:
        return self.kafka_port if self.reached_at is None or not self.serves else self.reached_at[1]

    @property
    def name(self) -> str:
        return f"{self.roles.replace(',', '-')}-{self.node_id}"


class ClusterPlan(msgspec.Struct, frozen=True):
    """All nodes of a cluster and where they keep their data and logs."""

    nodes: tuple[NodePlan, ...]
    directory: Path

    @property
    def bootstrap(self) -> str:
        """`host:port,…` of all brokers."""
        return ",".join(f"{HOST}:{node.public_kafka_port}" for node in self.nodes if node.serves)

    @property
    def voters(self) -> str:
        """The value of `controller.quorum.voters`."""
        return ",".join(f"{node.node_id}@{HOST}:{node.public_node_port}" for node in self.nodes if node.votes)


def plan_cluster(controllers: int, brokers: int, directory: Path, port: int | None = None) -> ClusterPlan:
    """Nodes with free ports; brokers are 1, 2, …, controllers 101, 102, …

    One controller and one broker are one node with both roles. `port` is the first broker's, the others'
    follow it; without it all are picked from the free ones. Raises ValueError for a count out of range.
    """
    if not 1 <= controllers <= MAX_NODES or not 1 <= brokers <= MAX_NODES:
        raise ValueError(f"a cluster has 1 to {MAX_NODES} controllers and 1 to {MAX_NODES} brokers")

    def kafka_port(index: int) -> int:
        return reserve_port(HOST) if port is None else port + index

    if controllers == brokers == 1:
        return ClusterPlan((NodePlan(1, "controller,broker", reserve_port(HOST), kafka_port(0)),), directory)
    voters = [
        NodePlan(FIRST_CONTROLLER_ID + index, "controller", reserve_port(HOST), None)
        for index in range(controllers)
    ]
    others = [
        NodePlan(1 + index, "broker", reserve_port(HOST), kafka_port(index)) for index in range(brokers)
    ]
    return ClusterPlan((*voters, *others), directory)


def kraft_program(_: NodePlan) -> Sequence[str]:
    """The command that runs a node."""
    return (sys.executable, "-m", "kraft")


class LocalCluster:
    """The running processes of a plan. An async context manager: whatever happens, none is left behind.

    `program` gives the command that runs a node, if it is not to be this Python's `kraft`.
    """

    def __init__(
        self,
        plan: ClusterPlan,
        settings: Mapping[str, str] | None = None,
        program: Callable[[NodePlan], Sequence[str]] = kraft_program,
    ) -> None:
        self.plan = plan
        secret = secrets.token_hex(32)
        self.processes: dict[int, ManagedProcess] = {
            node.node_id: _process(plan, node, program(node), secret, settings or {}) for node in plan.nodes
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self.processes.values():
            process.kill_now()
        for process in self.processes.values():
            if process.running:
                await process.wait()

    async def start(self, timeout: float = 30.0) -> dict[int, NodeAddresses]:
        """Start all nodes at once and wait until each is ready; raises StartError."""
        self.plan.directory.mkdir(parents=True, exist_ok=True)
        started: dict[int, asyncio.Task[NodeAddresses]] = {}
        try:
            async with asyncio.TaskGroup() as group:
                for node_id, process in self.processes.items():
                    started[node_id] = group.create_task(process.start(timeout))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return {node_id: task.result() for node_id, task in started.items()}

    async def stop(self, timeout: float = 15.0) -> None:
        """A controlled shutdown of the brokers, then of the controllers."""
        for votes in (False, True):
            running = [
                self.processes[node.node_id]
                for node in self.plan.nodes
                if node.votes == votes and self.processes[node.node_id].running
            ]
            await asyncio.gather(*(process.terminate(timeout) for process in running))


def _process(
    plan: ClusterPlan, node: NodePlan, program: Sequence[str], secret: str, settings: Mapping[str, str]
) -> ManagedProcess:
    """The process of one node. The secret goes by the environment, since others can read a command line."""
    arguments = [*program, "run"]
    arguments += ["--role", node.roles, "--node-id", str(node.node_id)]
    arguments += ["--controller-quorum-voters", plan.voters]
    arguments += ["--node-listener", f"{HOST}:{node.node_port}"]
    arguments += ["--log-dirs", str(plan.directory / node.name)]
    if node.kafka_port is not None:
        arguments += ["--listeners", f"PLAINTEXT://{HOST}:{node.kafka_port}"]
    if node.reached_at is not None:
        arguments += ["--set", f"advertised.node.listener={HOST}:{node.public_node_port}"]
    if node.reached_at is not None and node.serves:
        arguments += ["--set", f"advertised.listeners=PLAINTEXT://{HOST}:{node.public_kafka_port}"]
    for key, value in settings.items():
        arguments += ["--set", f"{key}={value}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KRAFT_")}
    environment["KRAFT_CLUSTER_SECRET"] = secret
    return ManagedProcess(node.name, arguments, plan.directory / f"{node.name}.log", environment)
