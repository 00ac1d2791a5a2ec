"""A cursor over the fields of one message, for code that is read more often than it is run."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from kafkawire.primitives import invalid, read_unsigned

_INT8 = Struct(">b")
_INT16 = Struct(">h")
_INT32 = Struct(">i")
_INT64 = Struct(">q")


class Reader:
    """Reads fields in order, in the plain or the compact encoding (KIP-482).

    Every method raises IndexError or struct.error at the end of the data, KafkaError(INVALID_REQUEST) for
    lengths that do not fit, and UnicodeDecodeError for text that is none.
    """

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
        length = self._varint() - 1 if self._compact else self.int16()
        content = self._content(length)
        return None if content is None else str(content, "utf-8")

    def nullable_bytes(self) -> memoryview | None:
        """A view, not a copy."""
        return self._content(self._count())

    def items(self) -> Iterator[int]:
        """The indexes of an array's items: read one item in each round. Null counts as empty."""
        return iter(self.nullable_items() or ())

    def nullable_items(self) -> range | None:
        """Like `items`; None for null. An item has one byte at least, so a hostile count ends here."""
        count = self._count()
        if count < -1 or count > len(self._data) - self.position:
            raise invalid(f"an array of {count} items")
        return None if count < 0 else range(count)

    def tags(self) -> dict[int, Reader]:
        """The tagged fields at this place by number; none in the plain encoding."""
        found: dict[int, Reader] = {}
        if self._compact:
            for _ in range(self._varint()):
                tag = self._varint()
                content = self._content(self._varint())
                assert content is not None
                found[tag] = Reader(content, compact=True)
        return found

    def _varint(self) -> int:
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
