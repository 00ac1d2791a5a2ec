"""What all shards of one broker have to say together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from kafkawire.errors import ErrorCode, KafkaError
from kraft.coordinator.decision import Shard
from kraft.coordinator.runtime import CoordinatorRuntime

S = TypeVar("S", bound=Shard)
R = TypeVar("R")


async def listing(runtime: CoordinatorRuntime[S], read: Callable[[S, float, int], list[R]]) -> list[R]:
    """What `read(shard, now, now_ms)` finds in every shard of this broker; see `CoordinatorRuntime.observe`.
    Shards that have just moved to another broker are left out, and listed there.

    Raises KafkaError(COORDINATOR_LOAD_IN_PROGRESS).
    """
    pending = [runtime.observe(index, read) for index in runtime.indices()]
    found: list[R] = []
    for part in await asyncio.gather(*pending, return_exceptions=True):
        if not isinstance(part, BaseException):
            found += part
        elif not (isinstance(part, KafkaError) and part.code is ErrorCode.NOT_COORDINATOR):
            raise part
    return found
