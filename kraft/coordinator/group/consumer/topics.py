"""The topics that there are, as far as groups look at them: names, ids, and numbers of partitions."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final, NamedTuple

from kraft.coordinator.patterns import compiled
from metadata.delta import MetadataDelta

_KEPT_EXPRESSIONS: Final = 256


class Topic(NamedTuple):
    """A topic; its id has 16 bytes."""

    name: str
    topic_id: bytes
    partitions: int


class Topics:
    """Kept by the broker with `changed`, and read by every shard. `version` moves when a topic comes, goes or
    gets more partitions, and not when a leader does."""

    def __init__(self) -> None:
        self.version = -1
        self._by_name: dict[str, Topic] = {}
        self._names: dict[bytes, str] = {}
        self._resolved: dict[str, tuple[int, tuple[str, ...]]] = {}

    def changed(self, delta: MetadataDelta) -> None:
        """The metadata changed."""
        grown = {each.topic for each in delta.partitions if each.old is None}
        if not (grown or delta.deleted_topics or delta.created_topics):
            return
        for deleted in delta.deleted_topics:
            self._names.pop(deleted.topic_id.bytes, None)
            known = self._by_name.get(deleted.name)
            if known is not None and known.topic_id == deleted.topic_id.bytes:
                del self._by_name[deleted.name]
        for name in grown.union(each.name for each in delta.created_topics):
            image = delta.new.topics.get(name)
            assert image is not None
            self.put(Topic(name, image.topic_id.bytes, len(image.partitions)))
        self.version = delta.new.offset

    def put(self, topic: Topic) -> None:
        """There is such a topic."""
        self._by_name[topic.name] = topic
        self._names[topic.topic_id] = topic.name

    def get(self, name: str) -> Topic | None:
        return self._by_name.get(name)

    def name_of(self, topic_id: bytes) -> str | None:
        """The topic's name, None if it is gone."""
        return self._names.get(topic_id)

    def existing(self, names: Iterable[str]) -> list[Topic]:
        """Those that there are, in the order of their names."""
        return [self._by_name[name] for name in sorted(names) if name in self._by_name]

    def matching(self, regex: str) -> tuple[str, ...]:
        """The names that the expression stands for, in order. Raises
        KafkaError(INVALID_REGULAR_EXPRESSION)."""
        version, names = self._resolved.get(regex, (None, ()))
        if version != self.version:
            expression = compiled(regex)
            names = tuple(sorted(filter(expression.fullmatch, self._by_name)))
            if len(self._resolved) >= _KEPT_EXPRESSIONS:
                self._resolved.clear()
            self._resolved[regex] = (self.version, names)
        return names

    def hash_of(self, names: Iterable[str]) -> int:
        """Stands for what these topics are now, as a signed 64-bit number; 0 for none that exist. It is
        compared with one of an earlier time only, so that it need not be the hash that Kafka takes."""
        topics = self.existing(names)
        if not topics:
            return 0
        digest = blake2b(digest_size=8)
        for topic in topics:
            digest.update(topic.topic_id)
            digest.update(topic.partitions.to_bytes(4, "big"))
        return int.from_bytes(digest.digest(), "big", signed=True)
