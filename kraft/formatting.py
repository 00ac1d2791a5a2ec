"""Data directories: a first start makes them this node's own, and one that belongs elsewhere is refused.

`meta.properties` in each directory says whose it is (Kafka's format, version 1): cluster, node, and an id of
the directory itself. `.lock` keeps two processes from using one directory at the same time.

A cluster of which nobody has told the id gets one that its nodes derive from the secret that they share, so
that they agree on it without asking each other; once a directory has an id, that is the cluster's.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from kraft.config import NodeConfig, Secret
from logstore.checkpoints import (
    META_PROPERTIES,
    MetaProperties,
    MetaPropertiesError,
    read_meta_properties,
    write_meta_properties,
)
from logstore.storage import Storage, StorageError

LOCK_FILE = ".lock"


class FormatError(Exception):
    """A data directory cannot be used. One line that names the directory and says why."""


class Identity(msgspec.Struct, frozen=True):
    """Whose the directories are: the cluster's id, and the id of each directory by its path."""

    cluster_id: str
    directory_ids: Mapping[str, str]


def directories_of(config: NodeConfig) -> tuple[str, ...]:
    """Every data directory of a node, each once."""
    return tuple(dict.fromkeys((*config.log_dirs, config.metadata_dir)))


def claim_directories(storage: Storage, config: NodeConfig) -> Identity:
    """Check the node's directories and format those that are new; raises FormatError and changes nothing of
    a directory that belongs to another node or cluster."""
    found = {directory: _read(storage, directory) for directory in directories_of(config)}
    cluster_id = config.cluster.cluster_id
    for directory, meta in found.items():
        if meta is None:
            continue
        if meta.node_id != config.node_id:
            raise FormatError(f"{directory}: belongs to node {meta.node_id}, this is node {config.node_id}")
        if cluster_id is not None and meta.cluster_id != cluster_id:
            raise FormatError(f"{directory}: belongs to cluster {meta.cluster_id}, not to {cluster_id}")
        cluster_id = meta.cluster_id
    if cluster_id is None:
        cluster_id = derived_cluster_id(config.cluster.secret)
    ids = {
        directory: meta.directory_id
        if meta is not None
        else _format(storage, directory, cluster_id, config.node_id)
        for directory, meta in found.items()
    }
    return Identity(cluster_id, ids)


def derived_cluster_id(secret: Secret) -> str:
    """The id of a cluster with this secret, in Kafka's form (22 characters of URL-safe base64).

    The id is public, so the way back to the secret is made as dear as that to a stored password.
    """
    digest = hashlib.scrypt(secret.reveal(), salt=b"kraft cluster.id", n=1 << 14, r=8, p=1, dklen=16)
    return _text(digest)


def _text(id_bytes: bytes) -> str:
    """An id of 16 bytes as Kafka writes it."""
    return base64.urlsafe_b64encode(id_bytes).decode().rstrip("=")


def _read(storage: Storage, directory: str) -> MetaProperties | None:
    try:
        storage.make_directory(directory)
        return read_meta_properties(storage, directory)
    except StorageError as error:
        raise FormatError(str(error)) from error
    except MetaPropertiesError as error:
        raise FormatError(f"{directory}/{META_PROPERTIES}: {error}") from error


def _format(storage: Storage, directory: str, cluster_id: str, node_id: int) -> str:
    directory_id = _text(uuid.uuid4().bytes)
    try:
        write_meta_properties(storage, directory, MetaProperties(node_id, cluster_id, directory_id))
    except StorageError as error:
        raise FormatError(str(error)) from error
    return directory_id


@contextmanager
def locked_directories(directories: Sequence[str]) -> Iterator[None]:
    """Hold every directory for this process alone; creates those that are not there.

    Raises FormatError if another process has one, or none may write there. The system lets go of the locks
    when the process ends, however it does.
    """
    descriptors: list[int] = []
    try:
        for directory in directories:
            path = f"{directory}/{LOCK_FILE}"
            try:
                os.makedirs(directory, exist_ok=True)
                descriptors.append(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644))
                fcntl.flock(descriptors[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FormatError(f"{directory}: is in use by another process") from None
            except OSError as error:
                raise FormatError(f"{directory}: {error.strerror}") from error
        yield
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
