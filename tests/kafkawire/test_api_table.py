"""The API table, the page that is made of it, and the error codes, against kio's copy of Kafka's schemas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kio.schema import errors as kio_errors
from kio.schema.index import api_key_map, schema_name_map

from kafkawire.apis import APIS, ApiKey
from kafkawire.apis_page import render
from kafkawire.errors import ErrorCode, KafkaError

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"


def test_page_is_what_the_table_says() -> None:
    assert PAGE.read_text() == render(APIS.values()), "run python -m kafkawire.apis_page > docs/protocol.md"


def test_table_has_every_key_once() -> None:
    assert list(APIS) == sorted(ApiKey)


@pytest.mark.parametrize("api", APIS.values(), ids=lambda api: api.name)
def test_minimum_versions_are_those_of_kafka(api: Any) -> None:
    known = schema_name_map[api_key_map[api.key]]
    assert api.min_version == min(known)
    assert api.max_version <= max(known)
    assert api.advertised_min == (0 if api.key == ApiKey.PRODUCE else api.min_version)


def test_accepts_both_ends_and_nothing_beyond() -> None:
    produce = APIS[ApiKey.PRODUCE]
    assert [version for version in range(-1, 15) if produce.accepts(version)] == list(range(3, 14))
    assert [version for version in range(3, 14) if produce.is_flexible(version)] == [9, 10, 11, 12, 13]


def test_error_codes_are_those_of_kafka() -> None:
    theirs = [(code.value, code.name.upper(), code.retriable) for code in kio_errors.ErrorCode]
    assert [(code.value, code.name, code.retriable) for code in ErrorCode] == theirs


def test_error_says_its_name_and_what_went_wrong() -> None:
    assert str(KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, "'a/b'")) == "INVALID_TOPIC_EXCEPTION: 'a/b'"
    assert str(KafkaError(ErrorCode.NOT_CONTROLLER)) == "NOT_CONTROLLER"
