"""What every storage keeps of its contract, whatever it stores on."""

from __future__ import annotations

import pytest

from logstore.storage import DirectoryNames, Storage, StorageError

Place = tuple[Storage, str]


def test_bytes_come_back_from_where_they_were_written(place: Place) -> None:
    storage, directory = place
    file = storage.open(f"{directory}/a", create=True)
    file.write_at(0, b"0123456789")
    file.write_at(4, bytearray(b"xy"))
    file.write_at(12, memoryview(b"end"))
    assert file.read_at(0, 100) == b"0123xy6789\0\0end"
    assert file.read_at(13, 2) == b"nd"
    assert file.read_at(99, 5) == b""
    assert file.size() == 15
    assert file.path == f"{directory}/a"
    file.sync()
    file.close()
    file.close()


def test_truncation_cuts_and_extends(place: Place) -> None:
    storage, directory = place
    file = storage.open(f"{directory}/a", create=True)
    file.write_at(0, b"0123456789")
    file.truncate(4)
    assert (file.size(), file.read_at(0, 9)) == (4, b"0123")
    file.truncate(6)
    assert file.read_at(0, 9) == b"0123\0\0"
    file.close()


def test_a_file_that_is_not_there_is_not_opened(place: Place) -> None:
    storage, directory = place
    with pytest.raises(FileNotFoundError):
        storage.open(f"{directory}/missing")
    assert storage.read_text(f"{directory}/missing") is None
    assert not storage.exists(f"{directory}/missing")
    storage.remove(f"{directory}/missing")
    with pytest.raises(FileNotFoundError):
        storage.open(f"{directory}/no/such/directory", create=True)


def test_names_are_listed_in_order(place: Place) -> None:
    storage, directory = place
    storage.make_directory(f"{directory}/d/e")
    storage.make_directory(f"{directory}/d/e")
    for name in ("b", "a", "c"):
        storage.open(f"{directory}/d/{name}", create=True).close()
    assert list(storage.list(f"{directory}/d")) == ["a", "b", "c", "e"]
    assert list(storage.list(f"{directory}/nowhere")) == []
    storage.remove(f"{directory}/d/b")
    assert list(storage.list(f"{directory}/d")) == ["a", "c", "e"]
    storage.remove_directory(f"{directory}/d")
    assert not storage.exists(f"{directory}/d")
    assert not storage.exists(f"{directory}/d/e")
    storage.remove_directory(f"{directory}/d")


def test_a_rename_replaces(place: Place) -> None:
    storage, directory = place
    for name, data in (("old", b"old"), ("new", b"newer")):
        file = storage.open(f"{directory}/{name}", create=True)
        file.write_at(0, data)
        file.close()
    storage.rename(f"{directory}/old", f"{directory}/new")
    assert list(storage.list(directory)) == ["new"]
    assert storage.read_text(f"{directory}/new") == "old"
    with pytest.raises(StorageError):
        storage.rename(f"{directory}/old", f"{directory}/other")


def test_a_directory_is_renamed_with_all_that_is_in_it(place: Place) -> None:
    storage, directory = place
    storage.make_directory(f"{directory}/d/e")
    storage.write_text_atomically(f"{directory}/d/e/f", "text")
    storage.rename(f"{directory}/d", f"{directory}/g")
    assert list(storage.list(directory)) == ["g"]
    assert list(storage.list(f"{directory}/g")) == ["e"]
    assert storage.read_text(f"{directory}/g/e/f") == "text"
    assert not storage.exists(f"{directory}/d/e/f")


def test_an_open_file_outlives_its_name(place: Place) -> None:
    storage, directory = place
    file = storage.open(f"{directory}/a", create=True)
    file.write_at(0, b"still here")
    storage.rename(f"{directory}/a", f"{directory}/b")
    storage.remove(f"{directory}/b")
    assert file.read_at(0, 99) == b"still here"
    file.write_at(0, b"S")
    assert file.read_at(0, 5) == b"Still"
    file.close()
    assert not storage.exists(f"{directory}/b")


@pytest.mark.parametrize("durable", [True, False])
def test_text_is_replaced_whole(place: Place, durable: bool) -> None:
    storage, directory = place
    path = f"{directory}/text"
    storage.write_text_atomically(path, "a longer first text", durable=durable)
    storage.write_text_atomically(path, "zweiter Text: größer", durable=durable)
    assert storage.read_text(path) == "zweiter Text: größer"
    assert list(storage.list(directory)) == ["text"]


def test_damaged_text_is_still_read(place: Place) -> None:
    storage, directory = place
    file = storage.open(f"{directory}/a", create=True)
    file.write_at(0, b"ab\xff\xfe")
    file.close()
    assert storage.read_text(f"{directory}/a") == "ab\ufffd\ufffd"


def test_a_directory_can_be_synced_and_may_be_gone_by_then(place: Place) -> None:
    """A topic may be deleted while the names of its directory wait for their sync in another thread."""
    storage, directory = place
    DirectoryNames(storage, directory).sync()
    storage.make_directory(f"{directory}/doomed")
    names = DirectoryNames(storage, f"{directory}/doomed")
    storage.rename(f"{directory}/doomed", f"{directory}/doomed-delete")
    names.sync()
    assert storage.exists(f"{directory}/doomed-delete")
