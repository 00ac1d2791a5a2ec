"""What the handlers of one broker share. Values and narrow parts, so that a handler says what it needs of
whom."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from kraft.broker.configuration import BrokerConfiguration
from kraft.broker.controller_channel import ControllerChannel
from kraft.broker.internal_topics import InternalTopics
from kraft.broker.log_directories import LogDirectories
from kraft.broker.metadata_cache import MetadataCache
from kraft.broker.stalls import StallDetector
from kraft.broker.suspected_leaders import SuspectedLeaders
from kraft.broker.transaction_coordination import Transactions
from kraft.clock import Clock
from kraft.coordinator.group.service import GroupCoordinator
from replication.replicas import Replicas


class BrokerContext(msgspec.Struct, frozen=True):
    """One broker, as its handlers see it."""

    node_id: int
    cluster_id: str
    clock: Clock
    configuration: BrokerConfiguration
    metadata: MetadataCache
    replicas: Replicas
    controller: ControllerChannel
    log_directories: LogDirectories
    stalls: StallDetector
    suspected_leaders: SuspectedLeaders
    internal_topics: InternalTopics
    groups: GroupCoordinator
    transactions: Transactions
    on_storage_failure: Callable[[BaseException], None]
