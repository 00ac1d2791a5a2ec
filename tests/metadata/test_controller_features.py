"""Finalizing features: only what every broker supports, and all of a request or nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from kafkawire.admin_messages import UpgradeType
from kafkawire.errors import ErrorCode
from kafkawire.features import FEATURES
from metadata.controller.commands import Acknowledged
from metadata.controller.feature_commands import FeatureUpdate, UpdateFeatures
from metadata.records import SupportedFeature

UP, SAFE, UNSAFE = UpgradeType


@pytest.fixture
def featured(make_cluster: Callable[..., Any]) -> Any:
    """Brokers 1 and 2, which support levels of x up to 3 and up to 2."""
    cluster = make_cluster()
    for broker_id, high in ((1, 3), (2, 2)):
        registration = replace(cluster.registration(broker_id), features=(SupportedFeature("x", 1, high),))
        cluster.epochs[broker_id] = cluster.ask(registration).broker_epoch
    return cluster


def update(*updates: tuple[str, int, int], validate_only: bool = False) -> UpdateFeatures:
    return UpdateFeatures(tuple(FeatureUpdate(*each) for each in updates), validate_only)


def test_a_level_goes_up_and_down_and_away(featured: Any) -> None:
    for level, kind in ((1, UP), (2, UP), (2, UP), (1, SAFE), (0, UNSAFE)):
        assert featured.ask(update(("x", level, kind))) == Acknowledged()
        assert featured.image.features.get("x", 0) == level


@pytest.mark.parametrize(
    ("level", "kind"),
    [(3, UP), (-1, UP), (1, SAFE), (1, 0), (1, 4), (1, -1)],
    ids=["too high for one", "negative", "up by downgrade", "no kind", "unknown kind", "negative kind"],
)
def test_what_no_feature_can_become(featured: Any, level: int, kind: int) -> None:
    assert featured.refused(update(("x", level, kind))).code is ErrorCode.INVALID_UPDATE_VERSION


def test_going_down_has_to_be_said(featured: Any) -> None:
    featured.ask(update(("x", 2, UP)))
    assert featured.refused(update(("x", 1, UP))).code is ErrorCode.INVALID_UPDATE_VERSION


@pytest.mark.parametrize("level", [0, 1])
def test_a_feature_that_nobody_has(featured: Any, level: int) -> None:
    error = featured.refused(update(("x", 1, UP), ("y", level, UP)))
    assert error.code is ErrorCode.INVALID_UPDATE_VERSION
    assert "feature y" in error.message


def test_each_feature_once(featured: Any) -> None:
    assert featured.refused(update(("x", 1, UP), ("x", 2, UP))).code is ErrorCode.INVALID_REQUEST


def test_validation_changes_nothing(featured: Any) -> None:
    before = featured.image
    assert featured.ask(update(("x", 1, UP), validate_only=True)) == Acknowledged()
    assert featured.image is before


def test_what_comes_with_the_release_stays(featured: Any) -> None:
    (name, level), *_ = [(feature.name, feature.finalized) for feature in FEATURES]
    before = featured.image
    assert featured.ask(update((name, level, UP))) == Acknowledged()
    for other in (0, level - 1, level + 1):
        for kind in UpgradeType:
            error = featured.refused(update((name, other, kind)))
            assert error.code is ErrorCode.INVALID_UPDATE_VERSION
    assert featured.image is before
