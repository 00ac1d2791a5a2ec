"""A history on disk: a JSON array a line, which is the event's name and its fields in their order.

It is written while the run goes on, so that there is something to judge whatever becomes of the run. A last
line that was torn off is no error. Fields that have a default may be missing at the end of a line.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO, TypeAlias, get_args, get_origin, get_type_hints

from chaos.history import Event, Outcome, Read

FORM = "kraft-history"
VERSION = 1
BUFFER = 1 << 20


class HistoryFileError(Exception):
    """A file is not a history; the message names the line."""


class HistoryWriter:
    """Writes events to a new file; close it, or use it as a context manager. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("w", encoding="utf-8", buffering=BUFFER)
        self._encode = json.JSONEncoder(separators=(",", ":"), default=_outcome_value).encode
        self._file.write(self._encode([FORM, VERSION]) + "\n")

    def append(self, event: Event) -> None:
        """Write one event; it is on its way to the disk at the next `flush`, or when there are many."""
        self._file.write(self._encode([type(event).__name__, *event]) + "\n")

    def flush(self) -> None:
        """Hand everything to the operating system."""
        self._file.flush()

    def close(self) -> None:
        """Flush and close."""
        self._file.close()

    def __enter__(self) -> HistoryWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_history(path: Path) -> Iterator[Event]:
    """Every event of a file. Raises HistoryFileError at a line that is none, and OSError."""
    with path.open("rb") as file:
        _check_head(file.readline())
        for number, line in enumerate(file, 2):
            try:
                event = _event(json.loads(line))
            except (ValueError, TypeError, LookupError) as error:
                if not line.endswith(b"\n"):
                    return
                raise HistoryFileError(f"line {number} is no event: {line[:80]!r}") from error
            yield event


def recorded(events: Iterable[Event], path: Path) -> Iterator[Event]:
    """The same events, each written down as it passes. Raises OSError."""
    with HistoryWriter(path) as writer:
        for event in events:
            writer.append(event)
            yield event


def _check_head(line: bytes) -> None:
    try:
        form, version = json.loads(line)
    except (ValueError, TypeError) as error:
        raise HistoryFileError("this is no history: its first line does not say so") from error
    if (form, version) != (FORM, VERSION):
        raise HistoryFileError(f"this is {form} {version}, not {FORM} {VERSION}")


def _outcome_value(outcome: object) -> str:
    if not isinstance(outcome, Outcome):
        raise TypeError(f"{outcome!r} does not belong into an event")
    return str(outcome.value)


_Convert: TypeAlias = Callable[[Any], Any]


class _Form(NamedTuple):
    """How an event's fields are checked and which of them are not what JSON has."""

    event: Callable[..., Event]
    kinds: tuple[tuple[type, ...], ...]
    converted: tuple[tuple[int, _Convert], ...]


def _event(fields: list[Any]) -> Event:
    form = _FORMS[fields[0]]
    del fields[0]
    if not all(map(isinstance, fields, form.kinds)):
        raise TypeError("a field is of another type")
    for index, convert in form.converted:
        if index < len(fields):
            fields[index] = convert(fields[index])
    return form.event(*fields)


def _reads(values: list[list[Any]]) -> tuple[Read, ...]:
    return tuple(Read(*value) for value in values if _is_read(*value))


def _is_read(topic: str, partition: int, offset: int, record: int) -> bool:
    if isinstance(topic, str) and isinstance(partition, int) and isinstance(offset, int):
        return isinstance(record, int)
    raise TypeError("this is no record that was read")


def _numbers(values: list[Any]) -> tuple[int, ...]:
    if not all(isinstance(value, int) for value in values):
        raise TypeError("these are no numbers")
    return tuple(values)


def _pairs(values: list[list[Any]]) -> tuple[tuple[str, int], ...]:
    return tuple((str(topic), int(partition)) for topic, partition in values)


_CONVERTED: dict[Any, _Convert] = {
    Outcome: Outcome,
    tuple[Read, ...]: _reads,
    tuple[int, ...]: _numbers,
    tuple[tuple[str, int], ...]: _pairs,
}


def _kinds(hint: Any) -> tuple[type, ...]:
    """The types that JSON may give for a field: a float may be written without a point."""
    if hint in _CONVERTED:
        return (str,) if hint is Outcome else (list,)
    options: Iterable[Any] = get_args(hint) if get_origin(hint) is types.UnionType else (hint,)
    found = tuple(options)
    return (*found, int) if float in found else found


def _form(event: type[Event]) -> _Form:
    hints = get_type_hints(event)
    converted = ((index, _CONVERTED.get(hint)) for index, hint in enumerate(hints.values()))
    return _Form(
        event,
        tuple(map(_kinds, hints.values())),
        tuple((index, convert) for index, convert in converted if convert is not None),
    )


_FORMS: dict[str, _Form] = {event.__name__: _form(event) for event in get_args(Event)}
