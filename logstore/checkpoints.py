"""The small text files of a log directory and of a log, in Kafka's formats.

An offset checkpoint has a line for its version (0), one for the number of entries, and one for each entry:
`topic partition offset`; `leader-epoch-checkpoint` has `epoch start-offset` instead. All are replaced
atomically. A checkpoint that cannot be read is treated as if it were not there: each says something that the
logs say as well, at the price of reading them.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterable, Mapping
from itertools import pairwise

import msgspec

from logstore.epochs import EpochStart
from logstore.storage import Storage

META_PROPERTIES = "meta.properties"
CLEAN_SHUTDOWN = ".kafka_cleanshutdown"
RECOVERY_POINTS = "recovery-point-offset-checkpoint"
HIGH_WATERMARKS = "replication-offset-checkpoint"
LOG_STARTS = "log-start-offset-checkpoint"
CLEANED_OFFSETS = "cleaner-offset-checkpoint"
LEADER_EPOCHS = "leader-epoch-checkpoint"

_VERSION = "0"

TopicPartition = tuple[str, int]


class CorruptCheckpointError(Exception):
    """The text is no checkpoint."""


def encode_entries(entries: Iterable[tuple[object, ...]]) -> str:
    """The text of a checkpoint."""
    lines = [" ".join(map(str, entry)) for entry in entries]
    return "\n".join([_VERSION, str(len(lines)), *lines, ""])


def decode_entries(text: str, fields: int) -> list[list[str]]:
    """The entries of a checkpoint, `fields` words each; raises CorruptCheckpointError."""
    lines = text.split("\n")
    if len(lines) < 3 or lines[0] != _VERSION or lines.pop():
        raise CorruptCheckpointError("no version 0, or cut off")
    entries = [line.split(" ") for line in lines[2:]]
    if lines[1] != str(len(entries)) or any(len(entry) != fields for entry in entries):
        raise CorruptCheckpointError(f"{lines[1]} entries promised in {len(entries)} lines")
    return entries


def _number(word: str) -> int:
    # Not int(): it takes "1_0", " 1" and other digits than Kafka's.
    if not (word.isascii() and word.isdigit()):
        raise CorruptCheckpointError(f"{word!r} is no offset")
    return int(word)


def read_offsets(storage: Storage, log_directory: str, name: str) -> dict[TopicPartition, int] | None:
    """An offset checkpoint: RECOVERY_POINTS, HIGH_WATERMARKS, LOG_STARTS or CLEANED_OFFSETS.

    None if it is missing or damaged, which calls for recovery from the start. Raises StorageError.
    """
    text = storage.read_text(f"{log_directory}/{name}")
    if text is None:
        return None
    try:
        return {
            (topic, _number(partition)): _number(offset)
            for topic, partition, offset in decode_entries(text, 3)
        }
    except CorruptCheckpointError:
        return None


def write_offsets(
    storage: Storage, log_directory: str, name: str, offsets: Mapping[TopicPartition, int]
) -> None:
    """Replace an offset checkpoint, durably; raises StorageError."""
    entries = ((topic, partition, offset) for (topic, partition), offset in sorted(offsets.items()))
    storage.write_text_atomically(f"{log_directory}/{name}", encode_entries(entries))


def read_epochs(storage: Storage, directory: str) -> list[EpochStart] | None:
    """The leader epochs of one log; None if the file is missing or damaged. Raises StorageError."""
    text = storage.read_text(f"{directory}/{LEADER_EPOCHS}")
    if text is None:
        return None
    try:
        entries = [EpochStart(_number(epoch), _number(start)) for epoch, start in decode_entries(text, 2)]
    except CorruptCheckpointError:
        return None
    ascending = all(
        one.epoch < two.epoch and one.start_offset < two.start_offset for one, two in pairwise(entries)
    )
    return entries if ascending else None


def write_epochs(storage: Storage, directory: str, entries: Iterable[EpochStart], *, durable: bool) -> str:
    """Replace the leader epochs of one log and return the file's path; raises StorageError."""
    path = f"{directory}/{LEADER_EPOCHS}"
    storage.write_text_atomically(path, encode_entries(entries), durable=durable)
    return path


class MetaProperties(msgspec.Struct, frozen=True):
    """Whose log directory it is: `meta.properties`, version 1 (KIP-631, KIP-858)."""

    node_id: int
    cluster_id: str
    directory_id: str


class MetaPropertiesError(Exception):
    """`meta.properties` cannot be read: nobody knows whose directory it is."""


def read_meta_properties(storage: Storage, log_directory: str) -> MetaProperties | None:
    """None if the directory was never formatted; raises MetaPropertiesError, StorageError."""
    text = storage.read_text(f"{log_directory}/{META_PROPERTIES}")
    if text is None:
        return None
    lines = (line.strip() for line in text.splitlines())
    values = dict(line.partition("=")[::2] for line in lines if line and not line.startswith("#"))
    if values.get("version") != "1":
        raise MetaPropertiesError(f"version {values.get('version')!r} instead of 1")
    missing = [key for key in ("node.id", "cluster.id", "directory.id") if not values.get(key)]
    if missing:
        raise MetaPropertiesError(f"{', '.join(missing)} missing")
    if not values["node.id"].isdecimal():
        raise MetaPropertiesError(f"node.id {values['node.id']!r}")
    return MetaProperties(int(values["node.id"]), values["cluster.id"], values["directory.id"])


def write_meta_properties(storage: Storage, log_directory: str, meta: MetaProperties) -> None:
    """Format the directory; raises StorageError."""
    lines = [
        f"cluster.id={meta.cluster_id}",
        f"directory.id={meta.directory_id}",
        f"node.id={meta.node_id}",
        "version=1",
        "",
    ]
    storage.write_text_atomically(f"{log_directory}/{META_PROPERTIES}", "\n".join(lines))


def mark_clean_shutdown(storage: Storage, log_directory: str, broker_epoch: int) -> None:
    """Say that every log was synced and closed; raises StorageError.

    The broker epoch lets the controller tell a clean restart from another one's (KIP-966).
    """
    text = f'{{"version":0,"brokerEpoch":{broker_epoch}}}'
    storage.write_text_atomically(f"{log_directory}/{CLEAN_SHUTDOWN}", text)


def clean_shutdown_epoch(storage: Storage, log_directory: str) -> int | None:
    """The broker epoch of the last clean shutdown, -1 if it is not known, None after an unclean stop."""
    text = storage.read_text(f"{log_directory}/{CLEAN_SHUTDOWN}")
    if text is None:
        return None
    _, _, epoch = text.partition('"brokerEpoch":')
    digits = epoch.strip().rstrip("}").strip()
    return int(digits) if digits.isascii() and digits.isdigit() else -1


def clear_clean_shutdown(storage: Storage, log_directory: str) -> None:
    """Take the mark back, durably, before anything is appended; raises StorageError."""
    storage.remove(f"{log_directory}/{CLEAN_SHUTDOWN}")
    storage.sync_directory(log_directory)


def new_directory_id(identity: uuid.UUID) -> str:
    """A uuid as Kafka writes it: 22 characters of URL-safe base64."""
    return base64.urlsafe_b64encode(identity.bytes).rstrip(b"=").decode()
