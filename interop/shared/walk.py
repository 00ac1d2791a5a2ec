"""The walk of a Python client through all steps, from its command line on."""

from __future__ import annotations

import argparse
import contextlib
from functools import partial

from interop.shared import administration, data, groups, transactions
from interop.shared.client import Client, Where
from interop.shared.telling import tell, tell_library

STEPS = (*data.STEPS, *groups.STEPS, *transactions.STEPS, *administration.STEPS)


def main(kind: type[Client]) -> None:
    """What a client's `__main__` calls. With `--member` it is one member of a group, until it is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--replication-factor", type=int, default=1)
    parser.add_argument("--member", nargs=2, metavar=("GROUP", "TOPIC"))
    said = parser.parse_args()
    with contextlib.closing(kind(Where(said.bootstrap, said.prefix, said.replication_factor))) as client:
        if said.member:
            groups.poll_until_killed(client, *said.member)
        tell_library(*client.library())
        own = client.own_steps()
        for step in STEPS:
            tell(step.__name__, own.get(step.__name__, partial(step, client)), client.code)
