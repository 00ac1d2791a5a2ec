"""Compaction of this broker's logs: which is due, and the work spread over time.

The log goes on meanwhile. If it is cut, retained or deleted, the cleaning is given up, and begun anew another
time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import msgspec

from kafkawire.errors import KafkaError
from kraft.broker.configuration import BrokerConfiguration
from kraft.broker.log_directories import LogDirectories
from kraft.broker.spread_steps import REST, spread
from kraft.clock import Clock
from kraft.events import Events
from logstore.compaction import CleaningAborted
from logstore.storage import StorageError, StorageFullError
from metadata.image import MetadataImage
from replication.partition import Partition
from replication.replicas import Replicas

_LOOKS_AT_ONCE = 64


class CleanerSettings(msgspec.Struct, frozen=True):
    """The node's `log.cleaner.*`: seconds between looks when nothing is due, bytes for keys and for one read,
    bytes read and written per second."""

    enabled: bool
    backoff: float
    memory: int
    chunk: int
    bytes_per_second: float

    @classmethod
    def of(cls, configuration: BrokerConfiguration, image: MetadataImage) -> CleanerSettings:
        """What the node's file says, and what was changed since."""
        rate = configuration.current_value(image, "log.cleaner.io.max.bytes.per.second")
        assert isinstance(rate, (int, float))
        return cls(
            enabled=bool(configuration.value("log.cleaner.enable")),
            backoff=configuration.current(image, "log.cleaner.backoff.ms") / 1000,
            memory=configuration.current(image, "log.cleaner.dedupe.buffer.size"),
            chunk=configuration.current(image, "log.cleaner.io.buffer.size"),
            bytes_per_second=rate,
        )


class LogCleaner:
    """Cleans one log at a time, the dirtiest first. `settings` tells those of now; `sync` makes the logs of
    partitions durable."""

    def __init__(
        self,
        replicas: Replicas,
        directories: LogDirectories,
        clock: Clock,
        settings: Callable[[], CleanerSettings],
        sync: Callable[[Iterable[Partition]], Awaitable[None]],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._replicas = replicas
        self._directories = directories
        self._clock = clock
        self._settings = settings
        self._sync = sync
        self._on_failure = on_failure
        self._uncleanable: set[tuple[bytes, int]] = set()
        self._events = Events("log")

    async def run(self) -> None:
        """Until cancelled, or until the disk has failed."""
        if not self._settings().enabled:
            return
        try:
            while True:
                partition = await self._dirtiest()
                if partition is None or not await self._clean(partition):
                    await asyncio.sleep(max(self._settings().backoff, REST))
        except StorageError as failure:
            self._on_failure(failure)

    async def _dirtiest(self) -> Partition | None:
        """Of the logs that are due the one with the largest dirty share."""
        now_ms = self._clock.wall_ms()
        dirtiest, most = None, -1.0
        self._uncleanable.intersection_update(partition.key for partition in self._replicas)
        for number, partition in enumerate(self._replicas, 1):
            if number % _LOOKS_AT_ONCE == 0:
                await asyncio.sleep(0)
            if partition.key in self._uncleanable or not self._is_wanted(partition):
                continue
            try:
                dirt = partition.log.compaction.dirt(_stable_end(partition), now_ms)
            except KafkaError as error:
                self._give_up(partition, error)
                continue
            if dirt.ratio > most and dirt.is_due(partition.log.config):
                dirtiest, most = partition, dirt.ratio
        return dirtiest

    def _is_wanted(self, partition: Partition) -> bool:
        """Whether the replica is still here, and its topic compacted."""
        here = self._replicas.by_key(partition.key) is partition
        return here and partition.log.failed is None and partition.log.config.compacts

    def _give_up(self, partition: Partition, error: KafkaError) -> None:
        self._uncleanable.add(partition.key)
        partition.log.integrity.doubt_all()  # whoever looks at it next finds what is damaged
        self._events.error("log.uncleanable", **_name(partition), failure=error)

    async def _clean(self, partition: Partition) -> bool:
        """Clean a log; False if that came to nothing. Raises StorageError."""
        log = partition.log
        size, before, began = log.size, log.compaction.cleaned_to, self._clock.monotonic()
        try:
            await self._sync((partition,))
            await self._do(partition)
        except (CleaningAborted, FileNotFoundError):
            self._events.info("log.cleaning_aborted", **_name(partition))
            return False
        except KafkaError as error:
            self._give_up(partition, error)
            return False
        except StorageFullError as error:
            if log.failed is not None:
                raise
            self._events.warning("log.cleaning_aborted", **_name(partition), reason=str(error))
            return False
        self._directories.checkpoint_cleaned(self._replicas)
        seconds = round(self._clock.monotonic() - began, 3)
        cleaned_to = log.compaction.cleaned_to
        self._events.info(
            "log.cleaned", **_name(partition), to=cleaned_to, before=size, after=log.size, seconds=seconds
        )
        return cleaned_to > before

    async def _do(self, partition: Partition) -> None:
        self._check_wanted(partition)
        settings = self._settings()
        steps = partition.log.compaction.clean(
            _stable_end(partition), self._clock.wall_ms(), memory=settings.memory, chunk=settings.chunk
        )
        with contextlib.closing(steps):
            await spread(
                steps,
                self._clock,
                settings.bytes_per_second,
                partial(self._check_wanted, partition),
            )

    def _check_wanted(self, partition: Partition) -> None:
        if not self._is_wanted(partition):
            raise CleaningAborted

    def retry(self, partition: Partition) -> None:
        """The log was given up, and may be right by now."""
        self._uncleanable.discard(partition.key)


def _stable_end(partition: Partition) -> int:
    return partition.log.last_stable_offset(partition.high_watermark)


def _name(partition: Partition) -> dict[str, object]:
    return {"topic": partition.topic, "partition": partition.index}
