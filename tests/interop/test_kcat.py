"""kcat, as Debian has it (librdkafka 2.0): the oldest librdkafka that people are likely to have."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable

import pytest

KCAT = shutil.which("kcat")
pytestmark = pytest.mark.skipif(KCAT is None, reason="kcat is not installed")


def kcat(bootstrap: str, *arguments: str, given: bytes = b"") -> bytes:
    """What kcat prints; it has to succeed."""
    command = ["kcat", "-q", "-b", bootstrap, "-X", "broker.address.family=v4", *arguments]
    return subprocess.run(command, input=given, capture_output=True, timeout=30, check=True).stdout


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_lines_go_in_and_come_out(bootstrap: str, make_topic: Callable[[int], str], compression: str) -> None:
    topic = make_topic(1)
    lines = b"".join(b"key %d:line %d\n" % (number % 7, number) for number in range(2000))
    kcat(bootstrap, "-P", "-t", topic, "-K:", "-z", compression, "-X", "enable.idempotence=true", given=lines)
    read = kcat(bootstrap, "-C", "-t", topic, "-p0", "-o", "beginning", "-e", "-K:")
    assert read == lines
    offsets = kcat(bootstrap, "-C", "-t", topic, "-p0", "-o", "-3", "-e", "-f", "%o ")
    assert offsets == b"1997 1998 1999 "


def test_the_listing_shows_broker_and_topic(bootstrap: str, make_topic: Callable[[int], str]) -> None:
    topic = make_topic(2)
    listed = json.loads(kcat(bootstrap, "-L", "-J"))
    assert [broker["name"] for broker in listed["brokers"]] == [bootstrap]
    (described,) = [each for each in listed["topics"] if each["topic"] == topic]
    assert [(each["partition"], each["leader"]) for each in described["partitions"]] == [(0, 1), (1, 1)]


def test_offsets_by_time(bootstrap: str, make_topic: Callable[[int], str]) -> None:
    topic = make_topic(1)
    kcat(bootstrap, "-P", "-t", topic, given=b"one\ntwo\n")
    assert kcat(bootstrap, "-Q", "-t", f"{topic}:0:1").split()[-1] == b"0"
    assert kcat(bootstrap, "-Q", "-t", f"{topic}:0:-1").split()[-1] == b"2"
