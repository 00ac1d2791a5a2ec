"""The command that changes finalized features, and its reply. `metadata.controller.commands` has the rest."""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class FeatureUpdate(NamedTuple):
    """A feature and the level that it is to have; 0 removes it. `upgrade_type` may be a number that is no
    UpgradeType: the update is then refused."""

    name: str
    level: int
    upgrade_type: int


class UpdateFeatures(msgspec.Struct, frozen=True):
    """Change levels, all or none. Raises INVALID_UPDATE_VERSION, INVALID_REQUEST."""

    updates: tuple[FeatureUpdate, ...]
    validate_only: bool = False
