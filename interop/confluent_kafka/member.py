"""A member that polls until it is killed: `python -m … BOOTSTRAP GROUP TOPIC`."""

from __future__ import annotations

import sys

from interop.confluent_kafka.groups import CLASSIC, Member, poll_until
from interop.shared.telling import Where
from interop.shared.vanishing import READY


def main() -> None:
    """Never returns."""
    bootstrap, group, topic = sys.argv[1:]
    member = Member(Where(bootstrap, group, 1), group, topic, **CLASSIC)
    poll_until([member], lambda: bool(member.partitions), "partitions")
    print(READY, flush=True)
    while True:
        member.poll()


if __name__ == "__main__":
    main()
