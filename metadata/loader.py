"""Committed records and snapshots in, images out, to everyone who wants to know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from metadata.delta import MetadataDelta
from metadata.image import EMPTY_IMAGE, MetadataImage
from metadata.log import CommittedBatch
from metadata.serde import MalformedError, decode_record
from metadata.snapshot import decode_snapshot, encode_snapshot


class MetadataPublisher(Protocol):
    """Someone who acts on changes of the metadata."""

    def on_metadata(self, delta: MetadataDelta) -> None:
        """The metadata went from `delta.old` to `delta.new`. Called in order and never concurrently."""


class MetadataLoader:
    """The committed image of one node.

    Publishers are called in the order in which they are listed: what must be open goes before what tells
    clients about it.
    """

    def __init__(self, publishers: Sequence[MetadataPublisher] = ()) -> None:
        self._publishers = list(publishers)
        self._image = EMPTY_IMAGE

    @property
    def image(self) -> MetadataImage:
        """The image after the last batch or snapshot."""
        return self._image

    def add_publisher(self, publisher: MetadataPublisher) -> None:
        """Add a publisher at the end. It is told at once what there is, if there is anything."""
        self._publishers.append(publisher)
        if self._image is not EMPTY_IMAGE:
            publisher.on_metadata(MetadataDelta(EMPTY_IMAGE, self._image))

    def on_committed(self, batch: CommittedBatch) -> None:
        """Apply a batch. Raises MalformedError or UnknownRecordError for records that are none, and
        ValueError for a batch that does not follow: neither can be survived, the node's log is not the
        cluster's."""
        self.on_batches([batch])

    def on_batches(self, batches: Sequence[CommittedBatch]) -> None:
        """Apply batches that are at hand together and publish once. Raises like `on_committed`."""
        image = self._image
        for batch in batches:
            image = image.apply([decode_record(record) for record in batch.records], batch.first_offset)
        self._publish(image)

    def on_snapshot(self, snapshot: bytes, next_offset: int) -> None:
        """Replace the image. Raises MalformedError when the snapshot is not one that ends before
        `next_offset`."""
        image = decode_snapshot(snapshot)
        if image.next_offset != next_offset:
            raise MalformedError(
                f"a snapshot up to {image.next_offset} was announced as one up to {next_offset}"
            )
        self._publish(image)

    def take_snapshot(self) -> bytes:
        """The image, encoded."""
        return encode_snapshot(self._image)

    def _publish(self, image: MetadataImage) -> None:
        if image is self._image:
            return
        delta = MetadataDelta(self._image, image)
        self._image = image
        for publisher in self._publishers:
            publisher.on_metadata(delta)
