"""A cursor over the fields of one message.

Produce and Fetch requests, which have one field more than anything else, are read without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from struct import Struct
from typing import Any

from kafkawire.primitives import invalid, read_unsigned, skip_tags

_LONGEST_TEXT = 0x7FFF
"""Bytes; Kafka's bound on a string in both encodings."""

_INT8 = Struct(">b")
_INT16 = Struct(">h")
_INT32 = Struct(">i")
_INT64 = Struct(">q")


@lru_cache(64)
def _int32s(count: int) -> Struct:
    return Struct(f">{count}i")


class Reader:
    """Reads fields in order, in the plain or the compact encoding (KIP-482).

    Every method raises IndexError or struct.error at the end of the data, KafkaError(INVALID_REQUEST) for
    lengths that do not fit, and UnicodeDecodeError for text that is none.
    """

    __slots__ = ("_compact", "_data", "position")

    def __init__(self, data: memoryview, *, compact: bool, position: int = 0) -> None:
        self.position = position
        self._data = data
        self._compact = compact

    def int8(self) -> int:
        value: int = _INT8.unpack_from(self._data, self.position)[0]
        self.position += 1
        return value

    def int16(self) -> int:
        value: int = _INT16.unpack_from(self._data, self.position)[0]
        self.position += 2
        return value

    def int32(self) -> int:
        value: int = _INT32.unpack_from(self._data, self.position)[0]
        self.position += 4
        return value

    def int64(self) -> int:
        value: int = _INT64.unpack_from(self._data, self.position)[0]
        self.position += 8
        return value

    def fields(self, struct: Struct) -> tuple[Any, ...]:
        """Several fields of fixed size at once."""
        values = struct.unpack_from(self._data, self.position)
        self.position += struct.size
        return values

    def uuid(self) -> bytes:
        content = self._content(16)
        assert content is not None
        return bytes(content)

    def string(self) -> str:
        text = self.nullable_string()
        if text is None:
            raise invalid("null where a text has to be")
        return text

    def nullable_string(self) -> str | None:
        data, position = self._data, self.position
        if self._compact:
            length, position = data[position], position + 1
            if length > 0x7F:
                length, position = read_unsigned(data, position - 1)
            length -= 1
        else:
            (length,) = _INT16.unpack_from(data, position)
            position += 2
        if length == -1:
            self.position = position
            return None
        self.position = end = position + length
        if not 0 <= length <= _LONGEST_TEXT or end > len(data):
            raise invalid(f"a text of {length} bytes")
        return str(data[position:end], "utf-8")

    def nullable_bytes(self) -> memoryview | None:
        """A view, not a copy."""
        return self._content(self._count())

    def int32s(self) -> tuple[int, ...]:
        """A whole array of them; null counts as empty."""
        count = self._count()
        if count <= 0:
            if count < -1:
                raise invalid(f"an array of {count} items")
            return ()
        if count * 4 > len(self._data) - self.position:
            raise invalid(f"an array of {count} items")
        values = _int32s(count).unpack_from(self._data, self.position)
        self.position += 4 * count
        return values

    def items(self) -> Iterator[int]:
        """The indexes of an array's items: read one item in each round. Null counts as empty."""
        return iter(self.nullable_items() or ())

    def nullable_items(self) -> range | None:
        """Like `items`; None for null. An item has one byte at least, so a hostile count ends here."""
        count = self._count()
        if count < -1 or count > len(self._data) - self.position:
            raise invalid(f"an array of {count} items")
        return None if count < 0 else range(count)

    def required_items(self, most: int) -> range:
        """Like `items`, where null is refused, and more than `most`."""
        if self._compact:
            count, self.position = read_unsigned(self._data, self.position)
            count -= 1
        else:
            (count,) = _INT32.unpack_from(self._data, self.position)
            self.position += 4
        if not 0 <= count <= most or count > len(self._data) - self.position:
            raise invalid(f"an array of {count} items")
        return range(count)

    def skip_tags(self) -> None:
        """Go on after the tagged fields at this place, whatever they say."""
        if self._compact:
            if self._data[self.position] == 0:
                self.position += 1
            else:
                self.position = skip_tags(self._data, self.position)

    def tags(self) -> dict[int, Reader]:
        """The tagged fields at this place by number; none in the plain encoding."""
        if not self._compact:
            return {}
        if self._data[self.position] == 0:  # hardly anything is tagged
            self.position += 1
            return {}
        found: dict[int, Reader] = {}
        for _ in range(self._varint()):
            tag = self._varint()
            content = self._content(self._varint())
            assert content is not None
            found[tag] = Reader(content, compact=True)
        return found

    def _varint(self) -> int:
        value = self._data[self.position]
        if value < 0x80:
            self.position += 1
            return value
        value, self.position = read_unsigned(self._data, self.position)
        return value

    def _count(self) -> int:
        return self._varint() - 1 if self._compact else self.int32()

    def _content(self, length: int) -> memoryview | None:
        if length < 0:
            if length < -1:
                raise invalid(f"a field of {length} bytes")
            return None
        end = self.position + length
        if end > len(self._data):
            raise invalid(f"{length} bytes do not fit")
        content = self._data[self.position : end]
        self.position = end
        return content
