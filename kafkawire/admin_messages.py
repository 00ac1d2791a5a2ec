"""Where versions of the admin APIs differ in more than their fields, so that no handler has to know."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

from kafkawire.apis import ApiKey

CLIENT_METRICS: Final = 16
"""Kafka's number of the config resources that ListConfigResources 0 was made for (KIP-714)."""


_METADATA_BY_ID: Final = 12
"""Two versions earlier requests have the field, and answers no topic without a name."""


def metadata_by_id(version: int) -> bool:
    """Whether Metadata may be asked about topics by their ids (KIP-516)."""
    return version >= _METADATA_BY_ID


class UpgradeType(IntEnum):
    """What an update of a feature is allowed to do (KIP-584)."""

    UPGRADE = 1
    SAFE_DOWNGRADE = 2
    UNSAFE_DOWNGRADE = 3


def complete_admin_request(key: int, version: int, request: Any) -> None:
    """Fill in what an old version says elsewhere: ListConfigResources 0 lists client metrics alone;
    UpdateFeatures 0 has a flag for what is an upgrade type later."""
    if key == ApiKey.LIST_CONFIG_RESOURCES and version < 1:
        request.resource_types = [CLIENT_METRICS]
    elif key == ApiKey.UPDATE_FEATURES and version < 1:
        for update in request.feature_updates:
            kind = UpgradeType.SAFE_DOWNGRADE if update.allow_downgrade else UpgradeType.UPGRADE
            update.upgrade_type = kind
