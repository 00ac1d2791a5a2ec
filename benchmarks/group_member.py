"""A consumer in a process of its own, to be killed: `python -m benchmarks.group_member BOOTSTRAP TOPIC`.

It says "assigned" for each assignment, and leaves the group in order when its standard input ends.
"""

from __future__ import annotations

import sys
import threading

from confluent_kafka import Consumer

from benchmarks.clients import member_settings


def main() -> None:
    """Consume until told to leave."""
    bootstrap, topic = sys.argv[1:]
    leaving = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        leaving.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    consumer = Consumer(member_settings(bootstrap))
    consumer.subscribe([topic], on_assign=lambda *_: print("assigned", flush=True))
    while not leaving.is_set():
        consumer.poll(0.05)
    consumer.close()


if __name__ == "__main__":
    main()
