"""The command that changes configs, and its reply. `metadata.controller.commands` has the rest."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import msgspec

from kafkawire.errors import ErrorCode


class AlterConfigOp(IntEnum):
    """What to do with a config value (KIP-339). APPEND and SUBTRACT are for lists."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


class ConfigAlteration(NamedTuple):
    """One change of one key; `value` is not looked at for DELETE. `op` may be a number that is no
    AlterConfigOp: the resource is then refused."""

    name: str
    op: int
    value: str | None = None


class AlterConfigsResource(msgspec.Struct, frozen=True):
    """The changes of one resource: a topic or a group by name, a broker by its id as text, or all
    brokers by ''."""

    type: int
    name: str
    ops: tuple[ConfigAlteration, ...] = ()


class IncrementalAlterConfigs(msgspec.Struct, frozen=True):
    """Change configs; the changes of one resource happen together or not at all.

    `replace` is how clients did it before KIP-339: what is not named goes back to its default.
    """

    resources: tuple[AlterConfigsResource, ...]
    validate_only: bool = False
    replace: bool = False


class AlterConfigsResult(msgspec.Struct, frozen=True):
    """What became of one resource."""

    type: int
    name: str
    error_code: ErrorCode = ErrorCode.NONE
    error_message: str | None = None


class IncrementalAlterConfigsReply(msgspec.Struct, frozen=True):
    """One result per resource, in the order of the command."""

    resources: tuple[AlterConfigsResult, ...]
