"""Long work cut into short steps, which whoever drives it may spread over time.

A `Steps` generator yields None after each bit of work, and an `Aside` where something has to be done before
it goes on that takes long and touches nothing that anybody else writes: a shell runs it in a thread. Between
two steps the world may change; the generator may be closed at any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

from kafkawire.errors import KafkaError
from logstore.storage import StorageError

T = TypeVar("T")


class Aside(Generic[T]):
    """A piece of work to call once, and then to ask for its `result`. `size` is how many bytes it moves to or
    from a disk."""

    __slots__ = ("_error", "_result", "_work", "size")

    def __init__(self, work: Callable[[], T], size: int = 0) -> None:
        self.size = size
        self._work = work
        self._result: list[T] = []
        self._error: Exception | None = None

    def __call__(self) -> None:
        """Do it. Raises nothing that the world or the data did: that comes with the result."""
        try:
            self._result.append(self._work())
        except (KafkaError, StorageError, FileNotFoundError) as error:
            self._error = error

    @property
    def result(self) -> T:
        """What came out. Raises StorageError, KafkaError, FileNotFoundError."""
        if self._error is not None:
            raise self._error
        return self._result[0]


Step = Aside[Any] | None
Steps = Generator[Step, None, T]
