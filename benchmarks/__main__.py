"""Measure what the project promises: `python -m benchmarks [NAME …]`, or `make bench`.

Nodes are real processes and clients real clients. One table comes at the end: what was measured, what it
should be, and whether it is. See docs/benchmarks.md for what each figure means.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import inspect
import json
import os
import sys
import time
from pathlib import Path

from benchmarks import machine
from benchmarks.bench import Bench
from benchmarks.figures import Figure, markdown_table, text_table
from benchmarks.profiles import Profiles

NAMES = (
    "throughput",
    "small_requests",
    "replicated",
    "failover",
    "paused_leader",
    "startup",
    "many_partitions",
    "metadata_commit",
    "groups",
    "transactions",
)
"""Modules of this package with a coroutine function `measure`, in the order they run."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure: {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="fewer records and rounds; rougher figures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument(
        "--directory", type=Path, help="where nodes keep their data; default: a temporary one"
    )
    parser.add_argument(
        "--profile", type=Path, metavar="DIR", help="sample the nodes' stacks into DIR; figures get larger"
    )
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu", help="what profiles count")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - set(NAMES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    return chosen


async def run(bench: Bench, names: list[str], figures: list[Figure]) -> None:
    """Measure one after the other; `figures` has what there is so far, also when one of them fails."""
    for name in names:
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"{name}: {(inspect.getdoc(module) or '').splitlines()[0]}", flush=True)
        figures += await module.measure(bench)


def main() -> int:
    """Returns the exit status: 0 also when a bound is missed, since a loaded machine is no failure."""
    chosen = arguments()
    # An installed node finds its bytecode; compiling itself at each start is not what a start costs.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    profiles = Profiles(chosen.profile, chosen.clock) if chosen.profile else None
    bench = Bench(chosen.quick, chosen.directory, profiles)
    described, started = machine.describe(), time.monotonic()
    figures: list[Figure] = []
    try:
        asyncio.run(run(bench, chosen.names or list(NAMES), figures))
    finally:
        table = markdown_table(figures) if chosen.markdown else text_table(figures)
        print(f"\n{table}\n\n{described}; took {time.monotonic() - started:.0f} s", flush=True)
    if chosen.json is not None:
        document = {"machine": described, "quick": chosen.quick, "figures": [f.as_json() for f in figures]}
        chosen.json.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
