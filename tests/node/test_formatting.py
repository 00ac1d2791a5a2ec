"""A first start formats its directories; directories of others are refused and left as they are."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from kraft.config import NodeConfig, Secret, build_config
from kraft.config_sources import Setting
from kraft.formatting import (
    FormatError,
    claim_directories,
    derived_cluster_id,
    directories_of,
    locked_directories,
)
from logstore.memory import MemoryStorage
from logstore.storage import LocalStorage


def config(**values: str) -> NodeConfig:
    given = {
        "node_id": "1",
        "cluster_secret": "a secret of the cluster",
        "log_dirs": "/data/a,/data/b",
        **values,
    }
    return build_config({key.replace("_", "."): Setting(value, "test") for key, value in given.items()})


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage(random.Random(1))


def test_a_first_start_formats_and_the_next_finds_the_same(storage: MemoryStorage) -> None:
    first = claim_directories(storage, config(metadata_log_dir="/data/m"))
    assert set(first.directory_ids) == {"/data/a", "/data/b", "/data/m"}
    assert len({len(each) for each in first.directory_ids.values()} | {len(first.cluster_id)}) == 1
    assert claim_directories(storage, config(metadata_log_dir="/data/m")) == first
    text = storage.read_text("/data/a/meta.properties")
    assert text is not None
    assert {"version=1", "node.id=1", f"cluster.id={first.cluster_id}"} < set(text.splitlines())


def test_nodes_with_one_secret_agree_on_the_cluster(storage: MemoryStorage) -> None:
    one = claim_directories(storage, config(node_id="1"))
    two = claim_directories(storage, config(node_id="2", log_dirs="/data/c"))
    assert one.cluster_id == two.cluster_id == derived_cluster_id(Secret("a secret of the cluster"))
    assert one.cluster_id != derived_cluster_id(Secret("a secret of another one"))


def test_a_formatted_directory_keeps_its_cluster_when_the_secret_changes(storage: MemoryStorage) -> None:
    before = claim_directories(storage, config())
    assert claim_directories(storage, config(cluster_secret="a new secret of the cluster")) == before


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"node_id": "2"}, "/data/a: belongs to node 1, this is node 2"),
        ({"cluster_id": "other"}, "/data/a: belongs to cluster mine, not to other"),
    ],
)
def test_a_directory_of_another_is_refused(
    storage: MemoryStorage, values: dict[str, str], message: str
) -> None:
    claim_directories(storage, config(cluster_id="mine", log_dirs="/data/a"))
    before = storage.read_text("/data/a/meta.properties")
    with pytest.raises(FormatError) as caught:
        claim_directories(storage, config(log_dirs="/data/new,/data/a", **values))
    assert str(caught.value) == message
    assert storage.read_text("/data/a/meta.properties") == before
    assert storage.read_text("/data/new/meta.properties") is None


def test_directories_of_two_clusters_are_refused(storage: MemoryStorage) -> None:
    claim_directories(storage, config(cluster_id="mine", log_dirs="/data/a"))
    claim_directories(storage, config(cluster_id="other", log_dirs="/data/b"))
    with pytest.raises(FormatError, match="/data/b: belongs to cluster other, not to mine"):
        claim_directories(storage, config())


def test_an_unreadable_meta_properties_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "meta.properties").write_text("version=7\n")
    with pytest.raises(FormatError, match=r"meta\.properties: version '7' instead of 1"):
        claim_directories(LocalStorage(), config(log_dirs=str(tmp_path)))
    (tmp_path / "meta.properties").write_bytes(b"\xff")
    with pytest.raises(FormatError, match=r"meta\.properties: version None instead of 1"):
        claim_directories(LocalStorage(), config(log_dirs=str(tmp_path)))


def test_a_place_where_nothing_can_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    directory = f"{tmp_path}/file/data"
    with pytest.raises(FormatError, match="file/data: Not a directory"):
        claim_directories(LocalStorage(), config(log_dirs=directory))
    with pytest.raises(FormatError, match="file/data: Not a directory"), locked_directories([directory]):
        pass


def test_a_full_disk_is_one_line() -> None:
    with pytest.raises(FormatError, match="/data/a"):
        claim_directories(MemoryStorage(random.Random(1), capacity=10), config())


def test_a_directory_serves_one_process(tmp_path: Path) -> None:
    directories = [str(tmp_path / "a"), str(tmp_path / "b")]
    with (
        locked_directories(directories),
        pytest.raises(FormatError, match="b: is in use by another process"),
        locked_directories([directories[1]]),
    ):
        pass
    with locked_directories(directories):
        assert directories_of(config(log_dirs=",".join(directories))) == tuple(directories)
