"""Which clients a run has, and which topics they need."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from chaos.harness.crew import RECORDS_PER_CLIENT
from chaos.harness.observations import READ_BACK
from chaos.harness.options import RunOptions, Workload
from chaos.harness.tasks import Library, Role, Task

PARTITIONS = 3
MEMBERS = 2
COPIERS = {Library.CONFLUENT, Library.KRAFT}
"""Libraries with transactions that are worth it; aiokafka's commit offsets without the group's generation."""
SHARE_OF_TIME = 0.95
"""Producers are paced to be done after this share of the run, if nothing holds them up."""


@dataclass(frozen=True, slots=True)
class Cast:
    """The clients of a run, its topics (name, partitions) and groups."""

    tasks: tuple[Task, ...]
    topics: tuple[tuple[str, int], ...]
    groups: tuple[str, ...]

    @property
    def records(self) -> int:
        """How many will be acknowledged: what is produced, and once more what is copied."""
        copied = {task.topic for task in self.tasks if task.role is Role.COPY}
        producers = [task for task in self.tasks if task.role is Role.PRODUCE]
        return sum(task.records * (2 if task.topic in copied else 1) for task in producers)


def cast(options: RunOptions, bootstrap: str, directory: Path) -> Cast:
    """Everybody: for each library of each workload a topic and those who work on it."""
    casting = _Casting(options, bootstrap, directory)
    for workload in options.workloads:
        match workload:
            case Workload.PRODUCE:
                casting.produce()
            case Workload.GROUP:
                casting.group()
            case Workload.COPY:
                casting.copy()
    return casting.done()


class _Casting:
    def __init__(self, options: RunOptions, bootstrap: str, directory: Path) -> None:
        self._options = options
        self._bootstrap = bootstrap
        self._directory = directory
        self._tasks: list[Task] = []
        self._topics: list[tuple[str, int]] = []
        self._groups: list[str] = []

    def done(self) -> Cast:
        """Records and rate are shared out among the producers."""
        producers = sum(task.role is Role.PRODUCE for task in self._tasks)
        share, rest = divmod(self._options.records, max(1, producers))
        rate = self._options.records / self._options.duration / SHARE_OF_TIME / max(1, producers)
        tasks, produced = [], 0
        for number, task in enumerate(self._tasks):
            named = replace(task, first_record=number * RECORDS_PER_CLIENT)
            if task.role is Role.PRODUCE:
                named = replace(named, records=share + (produced < rest), rate=rate)
                produced += 1
            tasks.append(named)
        return Cast(tuple(tasks), tuple(self._topics), tuple(self._groups))

    def produce(self) -> None:
        """Each library writes a topic, and reads that of the next one along."""
        libraries = self._options.libraries
        topics = [self._topic(f"produced-{library}") for library in libraries]
        for index, library in enumerate(libraries):
            self._add(library, Role.PRODUCE, f"producer-{library}", topics[index])
            self._add(library, Role.READ, f"reader-{library}", topics[(index + 1) % len(topics)])

    def group(self) -> None:
        """A producer, and a group of two members that reads and commits."""
        for library in self._options.libraries:
            topic = self._topic(f"grouped-{library}")
            group = f"group-{library}"
            self._groups.append(group)
            self._add(library, Role.PRODUCE, f"feeder-{library}", topic)
            for number in range(1, MEMBERS + 1):
                self._add(library, Role.GROUP, f"member-{library}-{number}", topic, group=group)

    def copy(self) -> None:
        """A producer, and two transactional copiers in a group."""
        for library in self._options.libraries:
            if library not in COPIERS:
                continue
            source, target = self._topic(f"source-{library}"), self._topic(f"copy-{library}")
            group = f"copiers-{library}"
            self._groups.append(group)
            self._add(library, Role.PRODUCE, f"writer-{library}", source)
            for number in range(1, MEMBERS + 1):
                self._add(
                    library, Role.COPY, f"copier-{library}-{number}", source, target=target, group=group
                )

    def _topic(self, name: str) -> str:
        self._topics.append((name, PARTITIONS))
        return name

    def _add(
        self, library: Library, role: Role, name: str, topic: str, *, target: str = "", group: str = ""
    ) -> None:
        journal = str(self._directory / f"{name}.journal")
        topics = ((topic, PARTITIONS),)
        self._tasks.append(Task(name, library, role, self._bootstrap, journal, topics, target, group))


def read_back_task(plan: Cast, bootstrap: str, directory: Path) -> Task:
    """Who reads everything in the end."""
    journal = str(directory / f"{READ_BACK}.journal")
    return Task(READ_BACK, Library.KRAFT, Role.READ_BACK, bootstrap, journal, plan.topics)
