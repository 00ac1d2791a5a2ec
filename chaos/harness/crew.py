"""The clients of a run: processes that are started, followed by their journals, and brought to an end.

When a library gives up, another process takes over from where its journal ends.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from chaos.harness.client_process import GAVE_UP
from chaos.harness.observations import Observations, Tail
from chaos.harness.tasks import Role, Task, encode_task
from kraft.processes import ManagedProcess, StartError

MOST_PROCESSES = 50
"""That may take each other's place, for one client."""

RECORDS_PER_PROCESS = 10**8
RECORDS_PER_CLIENT = MOST_PROCESSES * RECORDS_PER_PROCESS
DRAIN_TIMEOUT = 150.0


class ClientError(Exception):
    """A client did not do what it was to do; says which one, and its last words."""


@dataclass(slots=True)
class _Member:
    task: Task
    process: ManagedProcess
    number: int = 1
    watch: asyncio.Task[None] | None = None
    is_ready: bool = True


class Crew:
    """All clients; an async context manager that leaves none behind."""

    def __init__(self, directory: Path, observations: Observations) -> None:
        self._directory = directory
        self._observations = observations
        self._members: dict[str, _Member] = {}
        self._tails: dict[Path, Tail] = {}
        self.replaced = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        watches = [member.watch for member in self._members.values() if member.watch is not None]
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
        for member in self._members.values():
            if member.process.running:
                await member.process.kill()

    @property
    def journals(self) -> list[Path]:
        """Every journal that was begun."""
        return [path for path in self._tails if path.exists()]

    async def start(self, tasks: Sequence[Task]) -> None:
        """Start clients at once; raises StartError."""
        for task in tasks:
            self._members[task.name] = _Member(task, self._process(task))
        await asyncio.gather(*(self._members[task.name].process.start() for task in tasks))
        for task in tasks:
            member = self._members[task.name]
            member.watch = asyncio.create_task(self._watch(member))

    def _process(self, task: Task) -> ManagedProcess:
        self._tails[Path(task.journal)] = Tail(Path(task.journal))
        arguments = [sys.executable, "-m", "chaos.harness.client_process", encode_task(task)]
        return ManagedProcess(task.name, arguments, self._directory / f"{task.name}.log")

    async def _watch(self, member: _Member) -> None:
        """Until the client has done its part; raises ClientError if it cannot."""
        while (status := await member.process.wait()) != 0:
            if status != GAVE_UP or member.number >= MOST_PROCESSES:
                said = member.process.log_path.read_text(errors="replace").strip().splitlines()
                words = said[-1] if said else "it said nothing"
                raise ClientError(f"client {member.process.name} ended with status {status}: {words}")
            self.look()
            self.replaced += 1
            member.number += 1
            task = self._successor(member)
            member.process, member.is_ready = self._process(task), False
            try:
                await member.process.start()
            except StartError as error:
                raise ClientError(str(error)) from None
            member.is_ready = True

    def _successor(self, member: _Member) -> Task:
        """What is left to be done, for a process of the next number."""
        task, number = member.task, member.number
        sent = self._observations.clients[task.name].sent
        return replace(
            task,
            name=f"{task.name}#{number}",
            journal=str(self._directory / f"{task.name}#{number}.journal"),
            first_record=task.first_record + (number - 1) * RECORDS_PER_PROCESS,
            records=max(0, task.records - sent),
        )

    def look(self) -> None:
        """Take in what the journals have that is new; raises ClientError if a client has failed."""
        for path, tail in self._tails.items():
            for line in tail.lines():
                self._observations.take(path.stem, line)
        for member in self._members.values():
            if member.watch is not None and member.watch.done() and not member.watch.cancelled():
                member.watch.result()

    def running(self, *roles: Role) -> list[str]:
        """The clients of these roles that are at work."""
        return [member.task.name for member in self._of(roles) if not _over(member)]

    def _of(self, roles: Sequence[Role]) -> list[_Member]:
        return [member for member in self._members.values() if member.task.role in roles]

    async def done(self, *roles: Role, timeout: float) -> None:
        """Wait until the clients of these roles have ended by themselves, or for `timeout` seconds."""
        waiting = [member.watch for member in self._of(roles) if member.watch is not None]
        await asyncio.wait(waiting, timeout=timeout)
        self.look()

    async def finish(self, *roles: Role, timeout: float = DRAIN_TIMEOUT) -> None:
        """Ask the clients of these roles to come to an end, and wait for it; raises ClientError."""
        members = [member for member in self._of(roles) if not _over(member)]
        try:
            async with asyncio.timeout(timeout):
                while not all(map(_over, members)):
                    for member in members:
                        # Again and again: a process that took over has not been asked yet.
                        if member.is_ready:
                            member.process.ask_to_end()
                    waiting = [member.watch for member in members if member.watch is not None]
                    await asyncio.wait(waiting, timeout=1.0, return_when=asyncio.ALL_COMPLETED)
        except TimeoutError:
            names = ", ".join(member.process.name for member in members if not _over(member))
            raise ClientError(f"not done {timeout:.0f} s after the last fault: {names}") from None
        self.look()


def _over(member: _Member) -> bool:
    return member.watch is None or member.watch.done()
