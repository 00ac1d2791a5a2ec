"""Structured logs: one line for each event, with a stable name and named values.

    events = Events("broker")
    events.info("partition.led", topic="orders", partition=3, epoch=7)

reads, for people and for programs,

    2026-01-31 12:00:00.123 INFO    broker partition.led topic=orders partition=3 epoch=7
    {"at": "2026-01-31T12:00:00.123Z", "level": "info", "from": "broker", "event": "partition.led", …}

The standard library's logging carries them, below the logger `kraft`, so that whoever embeds a node can send
them elsewhere. What other libraries log goes the same way with the event name `log`.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import TextIO

_ROOT = "kraft"
_FIELDS = "kraft_fields"
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:/+,@")
_RESERVED = frozenset({"at", "level", "from", "event", "node", "trace"})


class LogFormat(Enum):
    """For people or for programs."""

    HUMAN = "human"
    JSON = "json"


class Events:
    """Logs events of one part of a node. `source` names the part; `bound` values go into every event."""

    __slots__ = ("_bound", "_logger", "_source")

    def __init__(self, source: str, **bound: object) -> None:
        self._source = source
        self._logger = logging.getLogger(f"{_ROOT}.{source}")
        self._bound = bound

    def bind(self, **values: object) -> Events:
        """The same source with more values bound."""
        return Events(self._source, **{**self._bound, **values})

    def debug(self, event: str, /, **values: object) -> None:
        """What helps while looking for a mistake."""
        self._log(logging.DEBUG, event, values)

    def info(self, event: str, /, **values: object) -> None:
        """What an operator wants to know happened."""
        self._log(logging.INFO, event, values)

    def warning(self, event: str, /, **values: object) -> None:
        """What went wrong and is being coped with."""
        self._log(logging.WARNING, event, values)

    def error(self, event: str, /, *, failure: BaseException | None = None, **values: object) -> None:
        """What went wrong and costs something; `failure` adds its traceback."""
        self._log(logging.ERROR, event, values, failure)

    def _log(
        self, level: int, event: str, values: Mapping[str, object], failure: BaseException | None = None
    ) -> None:
        if self._logger.isEnabledFor(level):
            fields = {**self._bound, **values}
            self._logger.log(level, "%s", event, exc_info=failure, extra={_FIELDS: fields}, stacklevel=3)


def _parts(record: logging.LogRecord) -> tuple[str, str, dict[str, object]]:
    """Source, event and values of a record, whoever logged it."""
    fields = getattr(record, _FIELDS, None)
    if isinstance(fields, dict):
        return record.name.removeprefix(f"{_ROOT}."), record.getMessage(), fields
    return record.name, "log", {"message": record.getMessage()}


def _plain(value: object) -> str:
    text = str(value)
    return text if text and _PLAIN.issuperset(text) else json.dumps(text, ensure_ascii=False)


class HumanFormatter(logging.Formatter):
    """`time LEVEL source event key=value …`; values with spaces are quoted; a traceback follows below."""

    def __init__(self, node_id: int | None = None) -> None:
        super().__init__()
        self._node = "" if node_id is None else f"[{node_id}] "

    def format(self, record: logging.LogRecord) -> str:
        source, event, fields = _parts(record)
        at = datetime.fromtimestamp(record.created, UTC).astimezone()
        line = f"{at:%Y-%m-%d %H:%M:%S}.{int(record.msecs):03d} {record.levelname:<7} "
        line += f"{self._node}{source} {event}"
        line += "".join(f" {name}={_plain(value)}" for name, value in fields.items())
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object on one line; times in UTC; a traceback is the value of `trace`."""

    def __init__(self, node_id: int | None = None) -> None:
        super().__init__()
        self._node_id = node_id

    def format(self, record: logging.LogRecord) -> str:
        source, event, fields = _parts(record)
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "at": f"{at:%Y-%m-%dT%H:%M:%S}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "from": source,
            "event": event,
        }
        if self._node_id is not None:
            line["node"] = self._node_id
        line |= {f"{name}_" if name in _RESERVED else name: value for name, value in fields.items()}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def configure_logging(
    log_format: LogFormat,
    *,
    node_id: int | None = None,
    level: int = logging.INFO,
    stream: TextIO | None = None,
) -> None:
    """Send all events, and warnings of other libraries, to `stream` (stderr); a later call replaces this."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    match log_format:
        case LogFormat.HUMAN:
            handler.setFormatter(HumanFormatter(node_id))
        case LogFormat.JSON:
            handler.setFormatter(JsonFormatter(node_id))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger(_ROOT).setLevel(level)
