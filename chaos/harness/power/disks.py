"""The disks of a cluster's nodes, each of which can lose its power."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from chaos.harness.power.mounting import bind, unmount
from kraft.local_cluster import ClusterPlan
from kraft.processes import ManagedProcess

ANSWER_TIMEOUT = 30.0


class Disks:
    """A volume, mounted once, of which every node has a directory for its data; an async context manager.

    The process has to be in a mount namespace of its own (`enter_private_mounts`).
    """

    def __init__(self, plan: ClusterPlan, volume: Path) -> None:
        self._plan = plan
        self._volume = volume
        arguments = [sys.executable, "-m", "chaos.harness.power.server", str(volume)]
        self._process = ManagedProcess("disk", arguments, volume.with_suffix(".log"))
        self._mounted: list[Path] = []
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        self._volume.mkdir(parents=True)
        addresses = await self._process.start()
        self._mounted.append(self._volume)
        try:
            self._streams = await asyncio.open_connection(*addresses.node)
            await asyncio.to_thread(self._bind)
        except BaseException:
            await self._close()
            raise
        return self

    def _bind(self) -> None:
        # In a thread: each call waits for the process that serves it.
        for node in self._plan.nodes:
            source, directory = self._volume / node.name, self._plan.directory / node.name
            source.mkdir()
            directory.mkdir(parents=True)
            bind(source, directory)
            self._mounted.append(directory)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        for directory in reversed(self._mounted):
            with contextlib.suppress(OSError):
                unmount(directory)
        if self._process.running:
            await self._process.kill()

    async def cut_power(self, node_id: int, seed: str) -> int:
        """The disk of a node whose process is dead is as a power cut left it; returns how much it lost."""
        if self._streams is None:
            raise ValueError("the disks are not mounted")
        reader, writer = self._streams
        name = next(node.name for node in self._plan.nodes if node.node_id == node_id)
        async with asyncio.timeout(ANSWER_TIMEOUT):
            writer.write(f"{name} {seed}\n".encode())
            line = await reader.readline()
        if not line:
            raise ConnectionError("the process that serves the disks is gone")
        return int(line)
