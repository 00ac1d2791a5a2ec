"""Where a node's configuration comes from: a file, the environment, flags. All of it as text, key by key.

A later source wins over an earlier one: file < environment < flags. What the keys mean is decided in
`kraft.config`; here only the notations are known. Every value keeps its origin, which a message names.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping

import msgspec

ENVIRONMENT_PREFIX = "KRAFT_"
_MAX_FILE_BYTES = 1 << 20

_NOT_CONFIGURATION = re.compile(
    r"KRAFT_(BOOTSTRAP|(\w+_)?SERVICE_HOST|(\w+_)?SERVICE_PORT(_\w+)?|(\w+_)?PORT(_\d+_(TCP|UDP)(_\w+)?)?)"
)
"""Our own variable for clients, and those that Kubernetes sets for a service called kraft."""


class ConfigError(Exception):
    """One line that names the key, the value or the place that is wrong."""


class Setting(msgspec.Struct, frozen=True):
    """A value as it was written, and where: `server.properties`, `KRAFT_NODE_ID`, `--node-id`."""

    text: str
    origin: str


def read_file(path: str) -> dict[str, Setting]:
    """The keys of a configuration file: TOML if its name ends in `.toml`, else Java properties."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
        if len(data) > _MAX_FILE_BYTES:
            raise ConfigError(f"{path}: a configuration file has at most {_MAX_FILE_BYTES} bytes")
        text = data.decode("utf-8-sig")  # editors on Windows put a byte order mark first
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from error
    pairs = parse_toml(text, path) if path.endswith(".toml") else parse_properties(text, path)
    return {key: Setting(value, path) for key, value in pairs.items()}


def from_environment(environment: Mapping[str, str]) -> dict[str, Setting]:
    """`KRAFT_NODE_ID=1` is `node.id=1`: the prefix goes, underscores become dots."""
    return {
        name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("_", "."): Setting(value, name)
        for name, value in environment.items()
        if name.startswith(ENVIRONMENT_PREFIX) and not _NOT_CONFIGURATION.fullmatch(name)
    }


def from_assignments(assignments: Iterable[str], origin: str = "--set") -> dict[str, Setting]:
    """`key=value` from the command line."""
    settings: dict[str, Setting] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{origin} {assignment}: not of the form key=value")
        settings[key.strip()] = Setting(value.strip(), origin)
    return settings


def parse_properties(text: str, name: str) -> dict[str, str]:
    """Java's notation: comments, `=`, `:` or a blank between key and value, escapes, continued lines."""
    pairs: dict[str, str] = {}
    for number, line in _logical_lines(text):
        separator = re.search(r"(?<!\\)(?:\\\\)*(\s*[=:]\s*|\s+)", line)
        key, value = (
            (line, "") if separator is None else (line[: separator.start(1)], line[separator.end(1) :])
        )
        pairs[_unescape(key, name, number)] = _unescape(value, name, number).rstrip()
    return pairs


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with what a trailing backslash continues, without comments and blank lines, and their numbers."""
    joined, start = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.lstrip()
        if not joined:
            if not line or line[0] in "#!":
                continue
            start = number
        joined += line
        if (len(joined) - len(joined.rstrip("\\"))) % 2:
            joined = joined[:-1]
            continue
        yield start, joined
        joined = ""
    if joined:
        yield start, joined


def _unescape(text: str, name: str, number: int) -> str:
    simple = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}

    def character(match: re.Match[str]) -> str:
        escape = match[1]
        if escape[0] != "u":
            return simple.get(escape, escape)
        if len(escape) != 5:
            raise ConfigError(f"{name}:{number}: \\u needs four hexadecimal digits")
        return chr(int(escape[1:], 16))

    return re.sub(r"\\(u[0-9a-fA-F]{4}|.)", character, text)


def parse_toml(text: str, name: str) -> dict[str, str]:
    """TOML whose tables spell the dots of a key: `[log] dirs = ["a", "b"]` is `log.dirs=a,b`."""
    try:
        return dict(_flattened("", tomllib.loads(text), name))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: {error}") from error


def _flattened(prefix: str, table: Mapping[str, object], name: str) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flattened(f"{prefix}{key}.", value, name)
        elif isinstance(value, list):
            yield f"{prefix}{key}", ",".join(_scalar(f"{prefix}{key}", item, name) for item in value)
        else:
            yield f"{prefix}{key}", _scalar(f"{prefix}{key}", value, name)


def _scalar(key: str, value: object, name: str) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int() | float():
            return str(value)
        case _:
            raise ConfigError(f"{name}: {key} is neither text, a number, a boolean nor a list of these")
