"""Oracles: kio (all of Kafka's schemas, only ever fed well-formed input) and strategies for its messages."""

from __future__ import annotations

import dataclasses
import io
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from types import NoneType
from typing import Any, get_args, get_origin

import kio.index
import pytest
from hypothesis import strategies as st
from kio.schema.errors import ErrorCode
from kio.serial import entity_reader, entity_writer

_INTEGERS = {
    "int8": st.integers(-(2**7), 2**7 - 1),
    "int16": st.integers(-(2**15), 2**15 - 1),
    "uint16": st.integers(0, 2**16 - 1),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
}
_MILLISECONDS = st.integers(-(2**31), 2**31 - 1).map(lambda count: timedelta(milliseconds=count))
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    **_INTEGERS,
    "bool": st.booleans(),
    "float64": st.floats(allow_nan=False),
    "string": st.text(max_size=8),
    "bytes": st.binary(max_size=40),
    "records": st.binary(max_size=200),
    "uuid": st.one_of(st.uuids(), st.just(uuid.UUID(int=0))),
    "error_code": st.sampled_from(ErrorCode),
    "timedelta_i32": _MILLISECONDS,
    "timedelta_i64": _MILLISECONDS,
    "datetime_i64": st.integers(0, 2**32).map(lambda seconds: datetime.fromtimestamp(seconds, tz=UTC)),
}


@cache
def _messages(cls: type) -> st.SearchStrategy[Any]:
    fields = {field.name: _field_values(field.type, field) for field in dataclasses.fields(cls)}
    return st.builds(cls, **fields)


def _field_values(kind: Any, field: dataclasses.Field[Any]) -> st.SearchStrategy[Any]:
    options = get_args(kind)
    if get_origin(kind) is tuple:
        return st.lists(_field_values(options[0], field), max_size=3).map(tuple)
    if NoneType in options:
        (inner,) = (option for option in options if option is not NoneType)
        if inner is uuid.UUID:
            # Zeros are none: kio would write them out where a tag with that default is left away.
            return st.one_of(st.none(), st.uuids())
        return st.one_of(st.none(), _field_values(inner, field))
    if dataclasses.is_dataclass(kind):
        return _messages(kind)
    return _VALUES[field.metadata["kafka_type"]]


class Kio:
    """kio's messages by API key and version."""

    def request_class(self, key: int, version: int) -> Any:
        return kio.index.load_request_schema(key, version)

    def response_class(self, key: int, version: int) -> Any:
        return kio.index.load_response_schema(key, version)

    def requests(self, key: int, version: int) -> st.SearchStrategy[Any]:
        return _messages(self.request_class(key, version))

    def responses(self, key: int, version: int) -> st.SearchStrategy[Any]:
        return _messages(self.response_class(key, version))

    def encode(self, message: Any) -> bytes:
        buffer = io.BytesIO()
        entity_writer(type(message))(buffer, message)
        return buffer.getvalue()

    def decode(self, cls: type, body: bytes) -> Any:
        message, size = entity_reader(cls)(body, 0)
        assert size == len(body)
        return message


@pytest.fixture(scope="session")
def kio_oracle() -> Kio:
    return Kio()


@pytest.fixture(scope="session")
def with_ids() -> Callable[[bool, Any], Any]:
    """Puts an id in the place of each topic's name, if asked to: the same one for the same name."""

    def replaced(wanted: bool, items: list[Any]) -> list[Any]:
        if not wanted:
            return items
        ids = [uuid.uuid5(uuid.NAMESPACE_OID, item[0]).bytes for item in items]
        return [
            item._replace(topic=topic_id) if hasattr(item, "_replace") else (topic_id, *item[1:])
            for topic_id, item in zip(ids, items, strict=True)
        ]

    return replaced


@pytest.fixture(scope="session")
def mutations() -> Callable[[bytes], st.SearchStrategy[bytes]]:
    """Damaged forms of well-formed bytes: flipped bits, overwritten runs, cut off, made longer."""

    def damaged(original: bytes) -> st.SearchStrategy[bytes]:
        positions = st.integers(0, max(0, len(original) - 1))
        flips = st.lists(st.tuples(positions, st.integers(0, 7)), min_size=1, max_size=4)
        lies = st.sampled_from([b"\xff" * 5, b"\x7f\xff\xff\xff", b"\x80", b"\x00" * 4])
        return st.one_of(
            flips.map(lambda places: _flip(original, places)),
            st.builds(lambda at, lie: original[:at] + lie + original[at + len(lie) :], positions, lies),
            positions.map(lambda end: original[:end]),
            st.binary(max_size=8).map(lambda tail: original + tail),
            st.binary(max_size=64),
        )

    return damaged


def _flip(original: bytes, places: list[tuple[int, int]]) -> bytes:
    damaged = bytearray(original or b"\x00")
    for position, bit in places:
        damaged[position] ^= 1 << bit
    return bytes(damaged)
