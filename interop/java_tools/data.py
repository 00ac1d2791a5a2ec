"""The console producer and the console consumer without groups."""

from __future__ import annotations

import re

from interop.java_tools.tools import Tools, now_ms
from interop.shared.telling import Unexpected, expect

PARTITIONS = 3
COUNT = 30
CODECS = ("gzip", "snappy", "lz4", "zstd")
SHOWN = ("print.timestamp=true", "print.headers=true")

_RECORD = re.compile(r"CreateTime:(\d+)\tPartition:(\d+)\tOffset:(\d+)\t(.*)\t(.*)\t(.*)")


def _wanted() -> dict[str, tuple[str, str]]:
    """Headers and key, by value; some keys are null."""
    return {
        f"value-{number}": (f"number:{number},other:x", "null" if number % 3 == 0 else f"key-{number}")
        for number in range(COUNT)
    }


def produce(tools: Tools) -> str:
    """Keys, null keys and headers; the console producer gives records no timestamps of their own."""
    topic = tools.create_topic("records", PARTITIONS)
    given = "".join(
        f"{headers}\t{'-' if key == 'null' else key}\t{value}\n"
        for value, (headers, key) in _wanted().items()
    )
    properties = ["parse.key=true", "parse.headers=true", "null.marker=-"]
    words = [word for each in properties for word in ("--reader-property", each)]
    tools.run("console-producer", "--topic", topic, "--command-property", "acks=all", *words, given=given)
    return "without timestamps of its own"


def consume(tools: Tools) -> str:
    """Every partition by itself, and one segment file as kafka-dump-log reads it."""
    began = now_ms() - 3600_000
    shown = [word for each in SHOWN for word in ("--formatter-property", each)]
    topic = tools.name("records")
    ends = _offsets(tools, topic, "latest")
    found: dict[str, tuple[str, str]] = {}
    for partition, end in ends.items():
        if not end:
            continue
        where = ["--partition", str(partition), "--offset", "earliest", "--max-messages", str(end)]
        printed = tools.consumer(topic, *where, *shown).finish()
        for index, line in enumerate(printed.splitlines()):
            record = _RECORD.fullmatch(line)
            if record is None:
                raise Unexpected(f"a record is {line!r}")
            expect("partition and offset", record.group(2, 3), (str(partition), str(index)))
            expect("a timestamp of now", began < int(record[1]) <= now_ms(), True)
            found[record[6]] = (record[4], record[5])
    expect("records", found, _wanted())
    return f"and kafka-dump-log of {_dump(tools, topic)}"


def _dump(tools: Tools, topic: str) -> str:
    """The records of a partition's log on the disk, as kafka-dump-log reads them."""
    said = tools.run("log-dirs", "--describe", "--topic-list", topic)
    directory = re.search(r'"logDir"\s*:\s*"([^"]*)"', said)
    if directory is None:
        raise Unexpected(f"log-dirs said {said!r}")
    ends = _offsets(tools, topic, "latest")
    partition = max(ends, key=lambda each: ends[each])
    segment = f"{directory[1]}/{topic}-{partition}/00000000000000000000.log"
    dumped = tools.run("dump-log", "--files", segment, "--print-data-log", cluster=False)
    expect("records that kafka-dump-log finds", len(re.findall(r"payload: value-", dumped)), ends[partition])
    expect("whether a checksum is wrong", "isvalid: false" in dumped, False)
    return f"{ends[partition]} records"


def produce_compressed(tools: Tools) -> str:
    """With each codec."""
    for codec in CODECS:
        topic = tools.create_topic(codec, 1)
        lines = [f"key-{number}\tvalue-{number}" for number in range(COUNT)]
        tools.produce(topic, lines, f"compression.type={codec}", "linger.ms=100")
        _all_in_order(tools, topic)
    return ", ".join(CODECS)


def idempotent_produce(tools: Tools) -> None:
    """With sequences, in small batches."""
    topic = tools.create_topic("idempotent", 1)
    lines = [f"key-{number}\tvalue-{number}" for number in range(COUNT)]
    tools.produce(topic, lines, "enable.idempotence=true", "batch.size=100")
    _all_in_order(tools, topic)


def _all_in_order(tools: Tools, topic: str) -> None:
    where = ["--partition", "0", "--offset", "earliest", "--max-messages", str(COUNT)]
    printed = tools.consumer(topic, *where).finish().splitlines()
    expect("records", printed, [f"Partition:0\tOffset:{n}\tkey-{n}\tvalue-{n}" for n in range(COUNT)])


def consume_from_timestamp(tools: Tools) -> None:
    """The offset for a time between two runs of the producer, and from there on."""
    topic = tools.create_topic("timestamps", 1)
    tools.produce(topic, [f"early\t{number}" for number in range(5)])
    middle = now_ms()
    tools.produce(topic, [f"late\t{number}" for number in range(5)])
    expect("offset", _offsets(tools, topic, str(middle)), {0: 5})
    expect("offset of a time to come", _offsets(tools, topic, str(middle + 3600_000)), {})
    where = ["--partition", "0", "--offset", "5", "--max-messages", "5"]
    printed = tools.consumer(topic, *where).finish().splitlines()
    expect("records", printed, [f"Partition:0\tOffset:{5 + n}\tlate\t{n}" for n in range(5)])


def _offsets(tools: Tools, topic: str, of: str) -> dict[int, int]:
    """What kafka-get-offsets says, by partition."""
    said = tools.run("get-offsets", "--topic", topic, "--time", of)
    found = re.findall(rf"^{re.escape(topic)}:(\d+):(\d+)$", said, re.MULTILINE)
    return {int(partition): int(offset) for partition, offset in found}


def list_offsets(tools: Tools) -> str:
    """Earliest, latest and that of the newest timestamp."""
    topic = tools.name("timestamps")
    for of, wanted in (("earliest", {0: 0}), ("latest", {0: 10}), ("earliest-local", {0: 0})):
        expect(of, _offsets(tools, topic, of), wanted)
    expect("max-timestamp", _offsets(tools, topic, "max-timestamp")[0] in range(5, 10), True)
    return "earliest, latest, earliest-local, max-timestamp"


def delete_records(tools: Tools) -> None:
    """Up to the middle of those of `consume_from_timestamp`."""
    topic = tools.name("timestamps")
    wanted = f'{{"partitions": [{{"topic": "{topic}", "partition": 0, "offset": 4}}], "version": 1}}'
    said = tools.run("delete-records", "--offset-json-file", tools.file(wanted))
    expect("low watermark", "low_watermark: 4" in said, True)
    expect("earliest", _offsets(tools, topic, "earliest"), {0: 4})


STEPS = (
    produce,
    produce_compressed,
    idempotent_produce,
    consume,
    consume_from_timestamp,
    list_offsets,
    delete_records,
)
