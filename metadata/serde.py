"""Frozen structs as CBOR: the records of the log, and the values that nodes send to each other.

A struct becomes a map of field names, so that a newer node may add fields: unknown fields are ignored and
missing ones take their default. A field that has its default is left out, which makes the default part of the
format: it must not change. NamedTuples and tuples become arrays,
UUIDs 16 bytes, enums their value. Decoding is driven by the declared types alone: nothing in the bytes can
name a class.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from typing import Any, Final, NamedTuple, TypeVar, Union, cast, get_args, get_origin, get_type_hints
from uuid import UUID

import cbor2
import msgspec
from msgspec.structs import fields

from kafkawire.errors import ErrorCode, KafkaError
from metadata.records import RECORD_TYPES, Record

T = TypeVar("T")

MAX_RECORD_BYTES: Final = 1 << 20
"""The longest encoded record that is accepted."""

RECORD_VERSION: Final = 0
"""The version that every record is written with. A higher one is only for changes that older nodes must not
misread, so it is refused."""


class MalformedError(KafkaError):
    """Bytes or a value that are not what they claim to be. The message says where."""

    def __init__(self, message: str, code: ErrorCode = ErrorCode.INVALID_REQUEST) -> None:
        super().__init__(code, message)


class UnknownRecordError(MalformedError):
    """A record of a type or version that this release does not know."""

    def __init__(self, message: str) -> None:
        super().__init__(message, ErrorCode.UNSUPPORTED_VERSION)


class _Codec(NamedTuple):
    """How one type is written to and read from plain CBOR values. `load` raises MalformedError."""

    dump: Callable[[Any], Any]
    load: Callable[[Any], Any]


def to_wire(value: Any) -> Any:
    """The CBOR-able form of a frozen struct: a dict of the fields that do not have their default."""
    return _codec_of(type(value)).dump(value)


def from_wire(cls: type[T], value: Any) -> T:
    """The `cls` (a struct) that `value`, decoded CBOR, stands for.

    Raises MalformedError when a field is missing or has another type than declared.
    """
    return cast(T, _codec_of(cls).load(value))


def encode_record(record: Record) -> bytes:
    """One record as `[type, version, {field: value}]`."""
    return cbor2.dumps(record_to_wire(record))


def decode_record(data: bytes) -> Record:
    """The record in `data`. Raises UnknownRecordError for a type or version of a later release,
    MalformedError for anything else that is not a record."""
    if len(data) > MAX_RECORD_BYTES:
        raise MalformedError(f"a metadata record of {len(data)} bytes exceeds {MAX_RECORD_BYTES}")
    return record_from_wire(load_cbor(data))


def record_to_wire(record: Record) -> list[Any]:
    """The plain form of a record, for embedding into a larger CBOR value."""
    return [_RECORD_NUMBERS[type(record)], RECORD_VERSION, to_wire(record)]


def record_from_wire(value: Any) -> Record:
    """Inverse of `record_to_wire`; raises like `decode_record`."""
    if not isinstance(value, list) or len(value) != 3:
        raise MalformedError("a metadata record is an array [type, version, fields]")
    number, version, body = value
    if type(number) is not int or type(version) is not int:
        raise MalformedError("type and version of a metadata record are integers")
    cls = RECORD_TYPES.get(number)
    if cls is None:
        raise UnknownRecordError(f"unknown metadata record type {number}")
    if version != RECORD_VERSION:
        raise UnknownRecordError(f"unknown version {version} of {cls.__name__}")
    return from_wire(cls, body)


def load_cbor(data: bytes) -> Any:
    """Decode CBOR that is not trusted; raises MalformedError, whatever the bytes are."""
    try:
        return cbor2.loads(data)
    except (cbor2.CBORDecodeError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise MalformedError(f"not CBOR: {error}") from error


_RECORD_NUMBERS: Final[Mapping[type, int]] = {cls: number for number, cls in RECORD_TYPES.items()}


def _same(value: Any) -> Any:
    return value


def _wrong(value: Any, expected: str) -> MalformedError:
    return MalformedError(f"expected {expected}, got {type(value).__name__}")


def _codec_of(cls: Any) -> _Codec:
    return _codec(cls)


@cache
def _codec(tp: Any) -> _Codec:
    """The codec of a declared type, built once. Raises TypeError for a type that has none (a bug)."""
    origin, args = get_origin(tp), get_args(tp)
    if tp in (int, str, bytes, bool):
        return _Codec(_same, _exactly(tp))
    if tp is float:
        return _Codec(_same, _load_float)
    if tp is UUID:
        return _Codec(lambda value: value.bytes, _load_uuid)
    if isinstance(tp, type) and issubclass(tp, Enum):
        return _Codec(lambda value: value.value, _enum_loader(tp))
    if isinstance(tp, type) and issubclass(tp, tuple):
        return _named_tuple_codec(tp)
    if isinstance(tp, type) and issubclass(tp, msgspec.Struct):
        return _struct_codec(tp)
    if origin is tuple:
        return _sequence_codec(_codec(args[0])) if args[1:] == (...,) else _array_codec(tp, args, tuple)
    if origin in (dict, Mapping):
        return _mapping_codec(_codec(args[0]), _codec(args[1]))
    if origin in (Union, types.UnionType) and len(args) == 2 and type(None) in args:
        return _optional_codec(_codec(next(arg for arg in args if arg is not type(None))))
    raise TypeError(f"no CBOR form for {tp!r}")


def _exactly(cls: type) -> Callable[[Any], Any]:
    def load(value: Any) -> Any:
        if type(value) is not cls:
            raise _wrong(value, cls.__name__)
        return value

    return load


def _load_float(value: Any) -> float:
    if type(value) not in (int, float):
        raise _wrong(value, "float")
    return float(value)


def _load_uuid(value: Any) -> UUID:
    if type(value) is not bytes or len(value) != 16:
        raise _wrong(value, "16 bytes")
    return UUID(bytes=value)


def _enum_loader(cls: type[Enum]) -> Callable[[Any], Enum]:
    by_value = {member.value: member for member in cls}

    def load(value: Any) -> Enum:
        if type(value) not in (int, str) or value not in by_value:
            raise MalformedError(f"{value!r} is no {cls.__name__}")
        return by_value[value]

    return load


def _optional_codec(inner: _Codec) -> _Codec:
    return _Codec(
        lambda value: None if value is None else inner.dump(value),
        lambda value: None if value is None else inner.load(value),
    )


def _sequence_codec(item: _Codec) -> _Codec:
    dump_item, load_item = item

    def load(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)):
            raise _wrong(value, "array")
        return tuple([load_item(each) for each in value])

    if dump_item is _same:
        return _Codec(list, load)
    return _Codec(lambda value: [dump_item(each) for each in value], load)


def _named_tuple_codec(cls: type) -> _Codec:
    hints = get_type_hints(cls)
    return _array_codec(cls, [hints[name] for name in cast(Any, cls)._fields], cast(Any, cls)._make)


def _array_codec(tp: Any, item_types: Any, make: Callable[[Any], Any]) -> _Codec:
    items = [_codec(item_type) for item_type in item_types]

    def dump(value: Any) -> list[Any]:
        return [codec.dump(each) for codec, each in zip(items, value, strict=True)]

    def load(value: Any) -> Any:
        if not isinstance(value, (list, tuple)) or len(value) != len(items):
            raise MalformedError(f"expected an array of {len(items)} for {getattr(tp, '__name__', tp)}")
        return make([codec.load(each) for codec, each in zip(items, value, strict=True)])

    return _Codec(dump, load)


def _mapping_codec(key: _Codec, item: _Codec) -> _Codec:
    def load(value: Any) -> dict[Any, Any]:
        if not isinstance(value, Mapping):
            raise _wrong(value, "map")
        return {key.load(name): item.load(each) for name, each in value.items()}

    return _Codec(lambda value: {key.dump(name): item.dump(each) for name, each in value.items()}, load)


class _Field(NamedTuple):
    """One field of a struct. `default` is _REQUIRED when it has none."""

    name: str
    codec: _Codec
    default: Any


_REQUIRED: Final = object()


def _fields(cls: type[msgspec.Struct]) -> list[_Field]:
    hints = get_type_hints(cls)
    found = []
    for field in fields(cls):
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        elif default is msgspec.NODEFAULT:
            default = None if _accepts_none(hints[field.name]) else _REQUIRED
        found.append(_Field(field.name, _codec(hints[field.name]), default))
    return found


def _struct_codec(cls: type[msgspec.Struct]) -> _Codec:
    layout = _fields(cls)

    def dump(value: Any) -> dict[str, Any]:
        body = {}
        for name, codec, default in layout:
            item = getattr(value, name)
            if item != default:
                body[name] = codec.dump(item)
        return body

    def load(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise _wrong(value, f"map of {cls.__name__}")
        arguments: list[Any] = []
        for name, codec, default in layout:
            if name in value:
                try:
                    arguments.append(codec.load(value[name]))
                except MalformedError as error:
                    raise MalformedError(f"{cls.__name__}.{name}: {error.message}") from error
            elif default is _REQUIRED:
                raise MalformedError(f"{cls.__name__} lacks {name}")
            else:
                arguments.append(default)
        return cls(*arguments)

    return _Codec(dump, load)


def _accepts_none(tp: Any) -> bool:
    return type(None) in get_args(tp)
