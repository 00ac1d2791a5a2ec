"""What the controllers committed, as the first of them said it, and whether all others say the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from chaos.cluster.nodes import NodeProcess
from chaos.replication.invariants import ViolationError
from metadata.image import MetadataImage
from metadata.loader import MetadataLoader
from metadata.log import CommittedBatch
from metadata.snapshot import encode_snapshot


class MetadataTruth:
    """`changed` is told of every image, old and new. Looks, and raises ViolationError, in a check of its own:
    whoever broke the truth is not to handle that.
    """

    def __init__(
        self,
        checks: list[Callable[[], None]],
        changed: Callable[[MetadataImage, MetadataImage], None],
    ) -> None:
        self._checks = checks
        self._changed = changed
        self._loader = MetadataLoader()
        self._records: list[tuple[bytes, int]] = []
        """Each record and its term, by offset."""
        self._leaders: dict[int, int] = {}
        self._positions: dict[NodeProcess, int] = {}

    @property
    def image(self) -> MetadataImage:
        """The image after the last record that anybody called committed."""
        return self._loader.image

    def follow(self, process: NodeProcess) -> None:
        """Look at what a controller's process delivers, from its start on."""
        assert process.member is not None
        self._positions[process] = 0
        process.member.service.observe(partial(self._checks.append, partial(self._look, process)))

    def _look(self, process: NodeProcess) -> None:
        assert process.member is not None
        service = process.member.service
        leadership = service.leadership
        if leadership.leader_id is not None:
            known = self._leaders.setdefault(leadership.term, leadership.leader_id)
            if known != leadership.leader_id:
                raise ViolationError(f"{known} and {leadership.leader_id} lead term {leadership.term}")
        position = self._positions[process]
        if service.image.next_offset < position:
            raise ViolationError(f"controller {process.node_id} went back from offset {position}")
        batches = service.batches_from(position)
        if batches is None:
            self._restored(process)
            return
        for batch in batches:
            self._delivered(process, batch)
        self._positions[process] = service.image.next_offset

    def _delivered(self, process: NodeProcess, batch: CommittedBatch) -> None:
        known = len(self._records)
        if batch.first_offset > known:
            raise ViolationError(f"controller {process.node_id} delivers {batch.first_offset} after {known}")
        here = [(bytes(record), batch.term) for record in batch.records]
        there = self._records[batch.first_offset : batch.first_offset + len(here)]
        if here[: len(there)] != there:
            raise ViolationError(f"controller {process.node_id} has other records at {batch.first_offset}")
        if len(there) < len(here):
            if there:
                raise ViolationError(f"controller {process.node_id} has a longer batch at {known}")
            self._records += here
            before = self.image
            self._loader.on_committed(batch)
            self._changed(before, self.image)

    def _restored(self, process: NodeProcess) -> None:
        assert process.member is not None
        image = process.member.service.image
        if image.next_offset > self.image.next_offset:
            raise ViolationError(f"controller {process.node_id} restored a snapshot of the future")
        if image.next_offset == self.image.next_offset and encode_snapshot(image) != encode_snapshot(
            self.image
        ):
            raise ViolationError(f"controller {process.node_id} restored another image")
        self._positions[process] = image.next_offset
