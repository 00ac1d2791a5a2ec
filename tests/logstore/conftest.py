"""The two storages and a log on either."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from logstore.config import LogConfig
from logstore.log import Log
from logstore.memory import MemoryStorage
from logstore.steps import Step
from logstore.storage import LocalStorage, Storage

OPENING = ("now_ms", "recovery_point", "clean", "log_start")
NOW_MS = 1_700_000_000_000


@pytest.fixture
def memory() -> MemoryStorage:
    """A storage in memory whose crashes are always the same."""
    return MemoryStorage(random.Random(7))


@pytest.fixture(params=["local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Storage, str]:
    """A storage, and a directory that is there."""
    if request.param == "local":
        return LocalStorage(), str(tmp_path)
    storage = MemoryStorage(random.Random(7))
    storage.make_directory("/data")
    return storage, "/data"


@pytest.fixture
def open_log(memory: MemoryStorage) -> Callable[..., Log]:
    """Opens the log `/data/t-0` in `memory`; keywords of `Log.open` and of `LogConfig` alike."""

    def open_it(*, config: LogConfig | None = None, **keywords: Any) -> Log:
        keywords.setdefault("now_ms", NOW_MS)
        opening = {key: keywords.pop(key) for key in OPENING if key in keywords}
        return Log.open(memory, "/data/t-0", config or LogConfig(**keywords), **opening)

    return open_it


@pytest.fixture(scope="session")
def do_all() -> Callable[[Iterable[Step]], int]:
    """Does the steps of a long work one after the other, and counts them."""

    def do(steps: Iterable[Step]) -> int:
        count = 0
        for step in steps:
            count += 1
            if step is not None:
                step()
        return count

    return do
