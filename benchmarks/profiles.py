"""Profiles of the nodes while something is measured, taken by `sampler/sitecustomize.py` inside them."""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_SAMPLER = Path(__file__).with_name("sampler")
_TOP = 14


class Profiles:
    """Profiles go to files `<label>-<node>.folded` in `directory`, their summaries to the terminal."""

    def __init__(self, directory: Path, clock: str) -> None:
        self._directory = directory.resolve()
        self._directory.mkdir(parents=True, exist_ok=True)
        # Nodes that are started from now on inherit these.
        os.environ["BENCHMARK_PROFILES"] = str(self._directory)
        os.environ["BENCHMARK_CLOCK"] = clock
        os.environ["PYTHONPATH"] = os.pathsep.join(
            filter(None, (str(_SAMPLER), os.environ.get("PYTHONPATH")))
        )

    @contextlib.contextmanager
    def taken(self, label: str, pids: Mapping[str, int]) -> Iterator[None]:
        """Profile these processes for as long as the block runs."""
        for pid in pids.values():
            os.kill(pid, signal.SIGUSR1)
        try:
            yield
        finally:
            for pid in pids.values():
                os.kill(pid, signal.SIGUSR2)
        for name, pid in pids.items():
            folded = self._directory / f"{label}-{name}.folded"
            _wait_for(self._directory / str(pid))
            (self._directory / str(pid)).rename(folded)
            print(f"\nprofile of {name}, {label}:\n{summary(folded)}", flush=True)


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 5
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no profile came to {path}")
        time.sleep(0.01)


def summary(folded: Path) -> str:
    """The lines that took most of the time themselves, and the functions that did with all they called."""
    own: collections.Counter[str] = collections.Counter()
    below: collections.Counter[str] = collections.Counter()
    for line in folded.read_text(encoding="utf-8").splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [_short(frame) for frame in stack.split(";")]
        own[frames[-1]] += int(count)
        for name in {frame.rpartition(":")[0] for frame in frames}:
            below[name] += int(count)
    total = sum(own.values())
    if not total:
        return "  no samples"
    lines = [f"  {total / 1e6:.2f} s; own share, by line:"]
    lines += [f"  {count / total:6.1%}  {name}" for name, count in own.most_common(_TOP)]
    lines += ["  with all that it calls, by function:"]
    # What everything runs below, from `main` to the event loop, says nothing.
    shares = [(name, count) for name, count in below.most_common() if count < 0.995 * total]
    lines += [f"  {count / total:6.1%}  {name}" for name, count in shares[: 2 * _TOP]]
    return "\n".join(lines)


def _short(frame: str) -> str:
    """A path relative to the checkout, or to what it is installed in."""
    path, _, rest = frame.partition(":")
    if path.startswith(f"{_ROOT}/") and "site-packages" not in path:
        path = path[len(str(_ROOT)) + 1 :]
    else:
        path = path.rpartition("site-packages/")[2].rpartition("/lib/")[2]
    return f"{path}:{rest}"
