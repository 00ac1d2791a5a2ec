"""What a configuration key is: its type, its limits, who may set it, and how its text becomes a value."""

from __future__ import annotations

import re
from enum import Enum, Flag, IntEnum, auto
from typing import Final, NamedTuple, Protocol, TypeAlias, assert_never

import msgspec

from kafkawire.errors import ErrorCode, KafkaError

ConfigValue: TypeAlias = bool | int | float | str | tuple[str, ...] | None
"""A typed value. None is a key without default that nobody set."""

INT_MAX: Final = 2**31 - 1
LONG_MAX: Final = 2**63 - 1


class ConfigType(IntEnum):
    """The type of a value, by the numbers of DescribeConfigs."""

    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7
    CLASS = 8
    PASSWORD = 9


class ConfigSource(IntEnum):
    """Where a value comes from, by the numbers of DescribeConfigs; `metadata.config_keys` says what wins."""

    DYNAMIC_TOPIC_CONFIG = 1
    DYNAMIC_BROKER_CONFIG = 2
    DYNAMIC_DEFAULT_BROKER_CONFIG = 3
    STATIC_BROKER_CONFIG = 4
    DEFAULT_CONFIG = 5
    DYNAMIC_GROUP_CONFIG = 8


class Scope(Flag):
    """What a key is set on: topics, groups, or nodes of a role."""

    TOPIC = auto()
    GROUP = auto()
    BROKER = auto()
    CONTROLLER = auto()
    NODE = BROKER | CONTROLLER


class Update(Enum):
    """How a key may be changed while the cluster runs (KIP-226)."""

    READ_ONLY = "read-only"
    PER_BROKER = "per-broker"
    CLUSTER_WIDE = "cluster-wide"
    PER_TOPIC = "per-topic"
    PER_GROUP = "per-group"


class Validator(Protocol):
    """Limits of a value. `str(validator)` describes them in the documentation."""

    def problem(self, value: ConfigValue) -> str | None:
        """What is wrong with a value of the right type, or None."""


class Anything(msgspec.Struct, frozen=True):
    """No limits but those of the type."""

    def problem(self, value: ConfigValue) -> str | None:
        del value  # every one is welcome
        return None

    def __str__(self) -> str:
        return ""


class Between(msgspec.Struct, frozen=True):
    """A number within bounds, both inclusive; None is no bound."""

    low: float | None = None
    high: float | None = None

    def problem(self, value: ConfigValue) -> str | None:
        if not isinstance(value, (int, float)):
            return "Value must be a number"
        if self.low is not None and value < self.low:
            return f"Value must be at least {self.low}"
        if self.high is not None and value > self.high:
            return f"Value must be no more than {self.high}"
        return None

    def __str__(self) -> str:
        high = "..." if self.high in {None, INT_MAX, LONG_MAX} else self.high
        return f"[{self.low},{high}]"


class PositiveOrUnlimited(msgspec.Struct, frozen=True):
    """A number from 1 on, or -1 for no limit."""

    def problem(self, value: ConfigValue) -> str | None:
        fits = isinstance(value, int) and (value == -1 or value >= 1)
        return None if fits else "Value must be unlimited (-1) or, greater than or equal to 1"

    def __str__(self) -> str:
        return "-1 or [1,...]"


class OneOf(msgspec.Struct, frozen=True):
    """One of the given texts."""

    choices: tuple[str, ...]

    def problem(self, value: ConfigValue) -> str | None:
        return None if value in self.choices else f"String must be one of: {', '.join(self.choices)}"

    def __str__(self) -> str:
        return f"[{', '.join(self.choices)}]"


class SomeOf(msgspec.Struct, frozen=True):
    """A list of some of the given texts, each once; not empty unless that is said to have a meaning."""

    choices: tuple[str, ...]
    may_be_empty: bool = False

    def problem(self, value: ConfigValue) -> str | None:
        items = value if isinstance(value, tuple) else ()
        if not items and not self.may_be_empty:
            return "Configuration must not be empty"
        if not set(items) <= set(self.choices):
            return f"Each value must be one of: {', '.join(self.choices)}"
        return "Configuration must not have duplicate values" if len(set(items)) < len(items) else None

    def __str__(self) -> str:
        return f"[{', '.join(self.choices)}]"


class NotEmpty(msgspec.Struct, frozen=True):
    """A text or list that is not empty."""

    def problem(self, value: ConfigValue) -> str | None:
        return None if value else "Value must not be empty"

    def __str__(self) -> str:
        return "non-empty"


class ThrottledReplicas(msgspec.Struct, frozen=True):
    """`*`, or a list of partition:broker (KIP-73)."""

    def problem(self, value: ConfigValue) -> str | None:
        items = value if isinstance(value, tuple) else ()
        if items in {(), ("*",)} or all(re.fullmatch(r"\d+:\d+", item) for item in items):
            return None
        return "Value must be the literal '*' or a list of [partitionId]:[brokerId]"

    def __str__(self) -> str:
        return "[partitionId]:[brokerId],[partitionId]:[brokerId],..."


class Synonym(NamedTuple):
    """A broker key that gives a key of topics or groups its default. Its value counts `factor` of that key's
    units (minutes for milliseconds: 60,000); negative values mean "no limit" in every unit."""

    name: str
    factor: int = 1


class ConfigKey(msgspec.Struct, frozen=True):
    """One key. For those of topics and groups `synonyms` are the broker keys behind it, the first that is set
    wins."""

    name: str
    type: ConfigType
    default: ConfigValue
    doc: str
    limits: Validator = Anything()
    scope: Scope = Scope.TOPIC
    update: Update = Update.PER_TOPIC
    synonyms: tuple[Synonym, ...] = ()

    @property
    def sensitive(self) -> bool:
        """The value is never told to anybody."""
        return self.type is ConfigType.PASSWORD

    @property
    def read_only(self) -> bool:
        return self.update is Update.READ_ONLY


def parse_value(key: ConfigKey, text: str) -> ConfigValue:
    """The value of `key` that `text` stands for. Raises KafkaError(INVALID_CONFIG) that names key and
    value."""
    try:
        value = _parse(key.type, text.strip())
    except ValueError as error:
        raise invalid_value(key, text, str(error)) from None
    problem = key.limits.problem(value)
    if problem is not None:
        raise invalid_value(key, text, problem)
    return value


def invalid_value(key: ConfigKey, text: str, problem: str) -> KafkaError:
    """The error for a value that `key` must not have, in Kafka's words. A sensitive value is not repeated."""
    shown = "[hidden]" if key.sensitive else text
    return KafkaError(
        ErrorCode.INVALID_CONFIG, f"Invalid value {shown} for configuration {key.name}: {problem}"
    )


def format_value(value: ConfigValue) -> str | None:
    """A value as text, as it stands in a file and in DescribeConfigs."""
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case tuple():
            return ",".join(value)
        case int() | float() | str():
            return str(value)
        case _:
            assert_never(value)


_INTEGER_BITS: Final = {ConfigType.SHORT: 16, ConfigType.INT: 32, ConfigType.LONG: 64}


def _parse(kind: ConfigType, text: str) -> ConfigValue:
    match kind:
        case ConfigType.BOOLEAN:
            if text.lower() not in {"true", "false"}:
                raise ValueError("Expected value to be either true or false")
            return text.lower() == "true"
        case ConfigType.SHORT | ConfigType.INT | ConfigType.LONG:
            bits = _INTEGER_BITS[kind]
            if not re.fullmatch(r"[+-]?[0-9]{1,20}", text) or not -(2 ** (bits - 1)) <= int(text) < 2 ** (
                bits - 1
            ):
                raise ValueError(f"Not a number of type {kind.name}")
            return int(text)
        case ConfigType.DOUBLE:
            if not re.fullmatch(r"[+-]?[0-9]*\.?[0-9]+([eE][+-]?[0-9]{1,3})?", text):
                raise ValueError("Not a number of type DOUBLE")
            return float(text)
        case ConfigType.LIST:
            return tuple(item.strip() for item in text.split(",")) if text else ()
        case ConfigType.STRING | ConfigType.CLASS | ConfigType.PASSWORD:
            return text
        case _:
            assert_never(kind)
