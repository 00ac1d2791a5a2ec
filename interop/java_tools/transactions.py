"""Transactions: the tools have one producer of them, kafka-producer-perf-test."""

from __future__ import annotations

import re

from interop.java_tools.tools import Tools
from interop.shared.telling import Unsupported, expect

COUNT = 160


def transactions_copy(_: Tools) -> None:
    """Not with these tools."""
    raise Unsupported("no tool copies in transactions")


def transaction_abort(_: Tools) -> None:
    """Not with these tools."""
    raise Unsupported("no tool ends a transaction of its own by aborting it")


def fenced_producer(_: Tools) -> None:
    """Not with these tools."""
    raise Unsupported("no tool tells what a fenced producer gets")


def _read(tools: Tools, isolation: str, *arguments: str) -> list[str]:
    words = ["--partition", "0", "--offset", "earliest", "--isolation-level", isolation, *arguments]
    return [line for line in tools.consumer(tools.name("perf"), *words).finish().splitlines() if "\t" in line]


def read_committed(tools: Tools) -> None:
    """kafka-producer-perf-test in one transaction of some seconds, read in its middle and after its end."""
    topic = tools.create_topic("perf", 1)
    words = ["--topic", topic, "--num-records", str(COUNT), "--record-size", "100", "--throughput", "8"]
    words += ["--transactional-id", tools.name("perf-id"), "--transaction-duration-ms", "60000"]
    properties = f"bootstrap.servers={tools.bootstrap}"
    perf = tools.start("producer-perf-test", *words, "--producer-props", properties, cluster=False)
    with tools.cleaned(perf):
        expect("not yet committed", len(_read(tools, "read_uncommitted", "--max-messages", "1")), 1)
        expect("committed", _read(tools, "read_committed", "--timeout-ms", "1500"), [])
        expect("whether the transaction is still open", perf.process.poll(), None)
        expect("its state", _states(tools).get(tools.name("perf-id")), "Ongoing")
        perf.finish()
    read = _read(tools, "read_committed", "--max-messages", str(COUNT), "--timeout-ms", "10000")
    expect("committed in the end", len(read), COUNT)


def _states(tools: Tools) -> dict[str, str]:
    rows = re.findall(r"^(\S+)\s+\d+\s+\d+\s+(\w+)\s*$", tools.run("transactions", "list"), re.MULTILINE)
    return dict(rows)


def list_transactions(tools: Tools) -> None:
    """The one of `read_committed`."""
    expect("state", _states(tools).get(tools.name("perf-id")), "CompleteCommit")


def describe_transactions(tools: Tools) -> str:
    """The one of `read_committed`, its producer, and that none hangs."""
    said = tools.run("transactions", "describe", "--transactional-id", tools.name("perf-id"))
    expect("whether it is complete", "CompleteCommit" in said, True)
    where = ["--topic", tools.name("perf"), "--partition", "0"]
    producers = tools.run("transactions", "describe-producers", *where)
    expect("producers", len(re.findall(r"^\d+\s+\d+\s", producers, re.MULTILINE)), 1)
    hanging = tools.run("transactions", "find-hanging", *where)
    expect("hanging transactions", tools.name("perf") in hanging, False)
    return "and describe-producers, find-hanging"


def describe_transaction_unknown(tools: Tools) -> None:
    """Never made."""
    tools.run("transactions", "describe", "--transactional-id", tools.name("never-made"))


STEPS = (
    transactions_copy,
    transaction_abort,
    read_committed,
    fenced_producer,
    list_transactions,
    describe_transactions,
    describe_transaction_unknown,
)
