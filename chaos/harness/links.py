"""The network between the processes of a run, which can be cut and slowed, pair by pair and way by way."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from chaos.harness.callers import CLIENT
from chaos.harness.proxy import HOST
from kraft.local_cluster import ClusterPlan
from kraft.processes import ManagedProcess, reserve_port

ANSWER_TIMEOUT = 10.0


def behind_proxies(plan: ClusterPlan) -> ClusterPlan:
    """The same nodes, reached by everybody through ports of a proxy."""
    return replace(
        plan,
        nodes=tuple(
            replace(node, reached_at=(reserve_port(HOST), reserve_port(HOST) if node.serves else 0))
            for node in plan.nodes
        ),
    )


class Network:
    """The proxies of a plan, one process; an async context manager that starts and ends it.

    A link has a way there and a way back. Names are node ids; CLIENT is all clients together.
    """

    def __init__(self, plan: ClusterPlan, log_path: Path) -> None:
        ports: list[tuple[int, str, int]] = []
        for node in plan.nodes:
            if node.reached_at is None:
                raise ValueError(f"{node.name} is not behind a proxy")
            ports.append((node.reached_at[0], str(node.node_id), node.node_port))
            if node.kafka_port is not None:
                ports.append((node.reached_at[1], str(node.node_id), node.kafka_port))
        self._process = ManagedProcess(
            "proxy",
            [sys.executable, "-m", "chaos.harness.proxy", "--ports", json.dumps(ports)],
            log_path,
        )
        self._delays: dict[tuple[str, str], float | None] = {}
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._telling = asyncio.Lock()

    async def __aenter__(self) -> Self:
        addresses = await self._process.start()
        self._streams = await asyncio.open_connection(*addresses.node)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._streams is not None:
            self._streams[1].close()
        if self._process.running:
            await self._process.kill()

    @property
    def broken(self) -> int:
        """How many ways are cut or slow."""
        return len(self._delays)

    async def cut(self, ways: Iterable[tuple[int | str, int | str]]) -> None:
        """Let nothing through from the one to the other of each pair."""
        self._delays |= {(str(source), str(target)): None for source, target in ways}
        await self._tell()

    async def slow(self, ways: Iterable[tuple[int | str, int | str]], delay: float) -> None:
        """Deliver everything `delay` seconds late."""
        self._delays |= {(str(source), str(target)): delay for source, target in ways}
        await self._tell()

    async def heal(self) -> None:
        """Everything flows again; what was held back arrives now."""
        self._delays.clear()
        await self._tell()

    async def _tell(self) -> None:
        if self._streams is None:
            raise ValueError("the proxy has not been started")
        reader, writer = self._streams
        async with self._telling, asyncio.timeout(ANSWER_TIMEOUT):
            rules = [[source, target, delay] for (source, target), delay in self._delays.items()]
            writer.write(json.dumps(rules).encode() + b"\n")
            if not await reader.readline():
                raise ConnectionError("the proxy is gone")


def both_ways(ones: Iterable[int | str], others: Iterable[int | str]) -> list[tuple[int | str, int | str]]:
    """Every way between the one side and the other."""
    others = list(others)
    return [way for one in ones for other in others for way in ((one, other), (other, one))]


__all__ = ["CLIENT", "Network", "behind_proxies", "both_ways"]
