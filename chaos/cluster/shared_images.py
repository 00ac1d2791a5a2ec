"""Metadata that every node works out for itself, worked out once.

All nodes of a cluster decode the same records and apply them to the same images. Both are values that nobody
changes, so nodes in one process may share them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

from metadata import loader
from metadata.image import MetadataImage
from metadata.records import Record


@contextmanager
def shared_images() -> Iterator[None]:
    """While inside, equal records are one record, and an image with records applied to it is one image."""
    names = vars(loader)
    decode, apply = names["decode_record"], MetadataImage.apply
    known: dict[tuple[int, ...], tuple[MetadataImage, Sequence[Record], MetadataImage]] = {}

    def applied(image: MetadataImage, records: Sequence[Record], first_offset: int) -> MetadataImage:
        key = (id(image), first_offset, *map(id, records))
        found = known.get(key)
        if found is None:
            # What the key names by its place in memory is kept, so that nothing else takes that place.
            found = known[key] = (image, records, apply(image, records, first_offset))
        return found[2]

    names["decode_record"] = cache(decode)
    setattr(MetadataImage, "apply", applied)  # noqa: B010 - a method is put in another's place
    try:
        yield
    finally:
        names["decode_record"] = decode
        setattr(MetadataImage, "apply", apply)  # noqa: B010
