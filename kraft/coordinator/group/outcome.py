"""What comes together while one command is worked through."""

from __future__ import annotations

from typing import Any, TypeVar

from kraft.coordinator.decision import Answer, Decision, LogRecord, Ticket

R = TypeVar("R")


class Outcome:
    """The records to write and the members to answer, so far."""

    __slots__ = ("answers", "records")

    def __init__(self) -> None:
        self.records: list[LogRecord] = []
        self.answers: list[Answer] = []

    def write(self, key: bytes, value: bytes | None) -> None:
        """Write a record; without a value, take back what was said of the key."""
        self.records.append(LogRecord(key, value))

    def answer(self, ticket: Ticket, reply: Any) -> None:
        """Answer who has waited."""
        self.answers.append(Answer(ticket, reply))

    def decision(self, reply: R | Ticket) -> Decision[R]:
        """All of it, with the reply to who asked."""
        return Decision(tuple(self.records), reply, tuple(self.answers))
