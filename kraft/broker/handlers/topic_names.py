"""Requests that refer to topics by name or by id, depending on their version."""

from __future__ import annotations

from typing import Any

from kafkawire.errors import ErrorCode, KafkaError
from metadata.controller.topic_names import check_name
from metadata.image import TopicImage, TopicsImage


def find_topic(topics: TopicsImage, topic: Any, *, by_id: bool) -> TopicImage | None:
    """The topic that a request means; None if there is none such. `topic` has the fields `name` and
    `topic_id`."""
    return topics.by_id.get(topic.topic_id) if by_id else topics.get(topic.name)


def why_missing(name: str) -> ErrorCode:
    """What a client is told of a topic that is not there: also whether one could have this name."""
    try:
        check_name(name)
    except KafkaError as error:
        return error.code
    return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def why_unknown(*, by_id: bool) -> ErrorCode:
    """What a client is told of a topic that is not there."""
    return ErrorCode.UNKNOWN_TOPIC_ID if by_id else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
