"""Which names a topic may have: Kafka's rules (`Topic.validate`, `Topic.hasCollision`)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from kafkawire.errors import ErrorCode, KafkaError
from metadata.image import INTERNAL_TOPICS

MAX_NAME_LENGTH: Final = 249
"""Leaves room for the partition number in the name of its directory."""

METADATA_LOG_NAME: Final = "__cluster_metadata"
"""The quorum's own log goes by this name, and lies in a directory of this name."""

_LEGAL: Final = re.compile(r"[a-zA-Z0-9._-]+", re.ASCII)


def check_name(name: str) -> None:
    """Raise KafkaError(INVALID_TOPIC_EXCEPTION) for a name that no topic may have."""
    problem = ""
    if not name:
        problem = "the empty string is not allowed"
    elif name in {".", ".."}:
        problem = f"'{name}' is not allowed"
    elif len(name) > MAX_NAME_LENGTH:
        problem = f"the length of '{name}' is longer than the max allowed length {MAX_NAME_LENGTH}"
    elif not _LEGAL.fullmatch(name):
        problem = f"'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    elif name == METADATA_LOG_NAME:
        problem = f"'{name}' is the metadata log"
    if problem:
        raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, f"Topic name is invalid: {problem}")


class TakenNames:
    """Names that topics have. They are looked through once, however many new ones are compared with them."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = names
        self._by_plain: dict[str, str] | None = None

    def check(self, name: str) -> None:
        """Raise KafkaError(INVALID_TOPIC_EXCEPTION) when another name differs only by '.' and '_', which
        metric names do not tell apart."""
        if not _is_ambiguous(name):
            return
        if self._by_plain is None:
            self._by_plain = {
                each.replace(".", "_"): each for each in self._names if "." in each or "_" in each
            }
        other = self._by_plain.get(name.replace(".", "_"))
        if other is not None:
            raise KafkaError(
                ErrorCode.INVALID_TOPIC_EXCEPTION, f"Topic '{name}' collides with existing topic: {other}"
            )

    def add(self, name: str) -> None:
        """A name that was checked is taken."""
        if self._by_plain is not None and _is_ambiguous(name):
            self._by_plain[name.replace(".", "_")] = name


def _is_ambiguous(name: str) -> bool:
    return "." in name or "_" in name


def check_not_internal(name: str) -> None:
    """Raise KafkaError(INVALID_TOPIC_EXCEPTION) for a topic that the cluster keeps for itself."""
    if name in INTERNAL_TOPICS:
        raise KafkaError(
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            f"Topic '{name}' is internal: only the cluster itself changes it.",
        )
