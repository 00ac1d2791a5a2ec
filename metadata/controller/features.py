"""Finalizing features (KIP-584), as Kafka's `FeatureControlManager` does."""

from __future__ import annotations

from collections import Counter
from typing import Final

from kafkawire.admin_messages import UpgradeType
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.features import FEATURES
from metadata.controller.commands import Acknowledged
from metadata.controller.decision import Decision, View
from metadata.controller.feature_commands import FeatureUpdate, UpdateFeatures
from metadata.image import MetadataImage
from metadata.records import FeatureLevelRecord

_FIXED: Final = {feature.name: feature.finalized for feature in FEATURES}
"""Features whose level comes with the release."""


def update_features(view: View, command: UpdateFeatures) -> Decision[Acknowledged]:
    """Finalize the levels. Raises KafkaError for the first that cannot be, and then none is changed."""
    counts = Counter(update.name for update in command.updates)
    records = []
    for update in command.updates:
        if counts[update.name] > 1:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"Feature {update.name} is named more than once.")
        problem = _problem(view.image, update)
        if problem is not None:
            raise KafkaError(
                ErrorCode.INVALID_UPDATE_VERSION,
                "The update failed for all features since the following feature had an error: "
                f"Invalid update version {update.level} for feature {update.name}. {problem}",
            )
        if update.level != _present(view.image, update.name):
            records.append(FeatureLevelRecord(update.name, update.level))
    return Decision(() if command.validate_only else records, Acknowledged())


def _problem(image: MetadataImage, update: FeatureUpdate) -> str | None:
    """What is wrong with an update, None if nothing is."""
    if update.upgrade_type not in set(UpgradeType):
        return "The controller does not support the given upgrade type."
    if update.level < 0:
        return "A feature version cannot be less than 0."
    reason = _not_supported(image, update)
    if reason is not None:
        return reason
    present = _present(image, update.name)
    upgrade = update.upgrade_type == UpgradeType.UPGRADE
    if update.level < present and upgrade:
        return (
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or "
            "unsafe downgrade."
        )
    if update.level > present and not upgrade:
        return "Can't downgrade to a newer version."
    return None


def _present(image: MetadataImage, name: str) -> int:
    """The finalized level of a feature; 0 if it has none."""
    return _FIXED.get(name, image.features.get(name, 0))


def _not_supported(image: MetadataImage, update: FeatureUpdate) -> str | None:
    """Why a level cannot be had: every registered broker has to support it, and somebody the feature."""
    fixed = _FIXED.get(update.name)
    if fixed is not None:
        return None if update.level == fixed else f"This release has it at {fixed} and no other."
    ranges = {
        broker.broker_id: (feature.min_version, feature.max_version)
        for broker in image.brokers.values()
        for feature in broker.features
        if feature.name == update.name
    }
    if not ranges:
        return "No node supports this feature."
    for broker_id in sorted(image.brokers):
        low, high = ranges.get(broker_id, (0, 0))
        if update.level != 0 and not low <= update.level <= high:
            return f"Broker {broker_id} only supports versions {low}-{high}."
    return None
