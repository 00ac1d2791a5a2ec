"""The shape of a message, taken from its schema, and a check of bytes against it.

kafka-python's generated decoders trust lengths: a string that ends beyond the data is cut short in silence,
a varint may be as long as the frame, a null comes through where none is allowed, and every tagged section
copies what is left.
`check` walks the bytes first, without building anything, so that only well-formed bodies of bearable size
reach them.

A schema is Kafka's JSON message definition (`clients/src/main/resources/common/message`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct as Layout
from struct import error as struct_error
from typing import Any, assert_never

import msgspec

from kafkawire.primitives import invalid, read_unsigned

Buffer = bytes | bytearray | memoryview

_INT16 = Layout(">h")
_INT32 = Layout(">i")

_FIXED_SIZES = {
    "bool": 1,
    "int8": 1,
    "int16": 2,
    "uint16": 2,
    "int32": 4,
    "bitfield": 4,
    "int64": 8,
    "float64": 8,
    "uuid": 16,
}

# Kafka's limit in both encodings: the plain one has no room for more, and records are written in it.
_LONGEST_TEXT = 0x7FFF

# kafka-python copies the rest of the body for every struct with tags: bytes copied at most.
_MAX_TAG_COPIES = 256 * 1024 * 1024


class Fixed(msgspec.Struct, frozen=True):
    """Fields of fixed size that follow each other; `size` in bytes."""

    size: int


class Text(msgspec.Struct, frozen=True):
    """A string: its length as int16, or as a varint if compact."""

    nullable: bool
    compact: bool


class Blob(msgspec.Struct, frozen=True):
    """Bytes or records: their length as int32, or as a varint if compact."""

    nullable: bool
    compact: bool


class Array(msgspec.Struct, frozen=True):
    """A count as int32, or as a varint if compact, and as many items. `least` is the fewest bytes of one."""

    nullable: bool
    compact: bool
    item: Shape
    least: int


class Structure(msgspec.Struct, frozen=True):
    """Fields in order; `tags` of a flexible version by number, None in a version without tags."""

    nullable: bool
    fields: tuple[Shape, ...]
    tags: Mapping[int, Shape] | None


Shape = Fixed | Text | Blob | Array | Structure


def shape_of(schema: Mapping[str, Any], version: int) -> Structure:
    """The shape of the message that `schema` defines, in `version`."""
    flexible = _includes(schema["flexibleVersions"], version)
    return _structure(schema["fields"], version, flexible, nullable=False)


def check(shape: Structure, body: Buffer, *, most_items: int) -> None:
    """Raise KafkaError(INVALID_REQUEST) unless `body` starts with a message of this shape.

    `most_items` bounds the array items of all arrays together. What follows the message is not looked at.
    """
    try:
        _Walk(body, most_items).structure(shape, 0)
    except (IndexError, struct_error):
        raise invalid("the message is cut off") from None


def _includes(versions: str | None, version: int) -> bool:
    """True if `version` is among `versions`: "none", "3", "3+" or "3-5"."""
    if not versions or versions == "none":
        return False
    first, separator, last = versions.partition("-")
    if separator:
        return int(first) <= version <= int(last)
    return version >= int(first[:-1]) if first.endswith("+") else version == int(first)


def _structure(
    fields: Sequence[Mapping[str, Any]], version: int, flexible: bool, *, nullable: bool
) -> Structure:
    shapes: list[Shape] = []
    tags: dict[int, Shape] = {}
    for field in fields:
        if not _includes(field["versions"], version):
            continue
        shape = _field(field, version, flexible)
        if "tag" in field and _includes(field.get("taggedVersions"), version):
            tags[field["tag"]] = shape
        elif isinstance(shape, Fixed) and shapes and isinstance(shapes[-1], Fixed):
            shapes[-1] = Fixed(shapes[-1].size + shape.size)
        else:
            shapes.append(shape)
    return Structure(nullable, tuple(shapes), tags if flexible else None)


def _field(field: Mapping[str, Any], version: int, flexible: bool) -> Shape:
    nullable = _includes(field.get("nullableVersions"), version)
    kind: str = field["type"]
    if kind.startswith("[]"):
        item = _field({**field, "type": kind[2:], "nullableVersions": None}, version, flexible)
        return Array(nullable, flexible, item, _least(item))
    if kind in _FIXED_SIZES:
        return Fixed(_FIXED_SIZES[kind])
    if kind == "string":
        return Text(nullable, flexible)
    if kind in ("bytes", "records"):
        return Blob(nullable, flexible)
    return _structure(field["fields"], version, flexible, nullable=nullable)


def _least(shape: Shape) -> int:
    """The fewest bytes that a value of this shape takes."""
    match shape:
        case Fixed(size):
            return size
        case Text(compact=compact):
            return 1 if compact else 2
        case Blob(compact=compact) | Array(compact=compact):
            return 1 if compact else 4
        case Structure(nullable=True):
            return 1
        case Structure(fields=fields, tags=tags):
            return sum(map(_least, fields)) + (0 if tags is None else 1)
        case _:
            assert_never(shape)


class _Walk:
    """One pass over a body. Each method takes the position of a value and returns the one after it."""

    def __init__(self, body: Buffer, most_items: int) -> None:
        self._body = body
        self._size = len(body)
        self._items_left = most_items
        self._tagged_sections = 0

    def value(self, shape: Shape, position: int) -> int:
        match shape:
            case Fixed(size):
                return self._end(position, size)
            case Text(nullable, compact):
                if compact:
                    length, position = read_unsigned(self._body, position)
                    length -= 1
                    if length > _LONGEST_TEXT:
                        raise invalid(f"a text of {length} bytes")
                else:
                    (length,) = _INT16.unpack_from(self._body, position)
                    position += 2
                return self._content(length, nullable, position)
            case Blob(nullable, compact):
                length, position = self._count(compact, position)
                return self._content(length, nullable, position)
            case Array():
                return self._array(shape, position)
            case Structure():
                return self.structure(shape, position)
            case _:
                assert_never(shape)

    def structure(self, shape: Structure, position: int) -> int:
        if shape.nullable:
            if self._body[position] == 0xFF:
                return position + 1
            position += 1
        for field in shape.fields:
            position = self.value(field, position)
        return position if shape.tags is None else self._tags(shape.tags, position)

    def _array(self, shape: Array, position: int) -> int:
        count, position = self._count(shape.compact, position)
        if count < 0:
            if count == -1 and shape.nullable:
                return position
            raise invalid(f"an array of {count} items")
        self._items_left -= count
        if self._items_left < 0 or count * shape.least > self._size - position:
            raise invalid(f"an array of {count} items")
        if isinstance(shape.item, Fixed):
            return self._end(position, count * shape.item.size)
        for _ in range(count):
            position = self.value(shape.item, position)
        return position

    def _tags(self, tags: Mapping[int, Shape], position: int) -> int:
        count, position = read_unsigned(self._body, position)
        if count == 0:
            return position
        self._tagged_sections += 1
        if self._tagged_sections * self._size > _MAX_TAG_COPIES:
            raise invalid(f"{self._tagged_sections} tagged sections in a message of {self._size} bytes")
        if count * 2 > self._size - position:
            raise invalid(f"{count} tagged fields")
        for _ in range(count):
            tag, position = read_unsigned(self._body, position)
            length, position = read_unsigned(self._body, position)
            end = self._end(position, length)
            if tag in tags and self.value(tags[tag], position) != end:
                raise invalid(f"tagged field {tag} does not have {length} bytes")
            position = end
        return position

    def _count(self, compact: bool, position: int) -> tuple[int, int]:
        if compact:
            count, position = read_unsigned(self._body, position)
            return count - 1, position
        return _INT32.unpack_from(self._body, position)[0], position + 4

    def _content(self, length: int, nullable: bool, position: int) -> int:
        if length < 0:
            if length == -1 and nullable:
                return position
            raise invalid(f"a field of {length} bytes")
        return self._end(position, length)

    def _end(self, position: int, length: int) -> int:
        end = position + length
        if end > self._size:
            raise invalid(f"{length} bytes do not fit")
        return end
