"""Every step, with the console tools alone."""

from __future__ import annotations

import argparse
import os
import sys
import time
from functools import partial
from pathlib import Path

from interop.java_tools import data, groups, topics, transactions
from interop.java_tools.tools import code_of, tools_for
from interop.shared.telling import tell, tell_library

STEPS = (*data.STEPS, *groups.STEPS, *transactions.STEPS, *topics.STEPS)


def main() -> None:
    """Walk."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--replication-factor", type=int, default=1)
    said = parser.parse_args()
    (jar,) = Path("jars").glob("kafka-tools-[0-9]*.jar")
    tell_library("org.apache.kafka:kafka-tools", jar.stem.removeprefix("kafka-tools-"))
    with tools_for(said.bootstrap, said.prefix, said.replication_factor) as tools:
        for step in STEPS:
            begun = time.monotonic()
            tell(step.__name__, partial(step, tools), code_of)
            if "INTEROP_TIMES" in os.environ:
                print(f"{step.__name__} took {time.monotonic() - begun:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
