"""The active controller: commands and time in, records and replies out.

It holds no metadata of its own. Each decision is made on the image that it is given, which is the committed
one with everything in flight applied; the caller applies the records of a decision before it asks for the
next. What it does hold is about liveness, and dies with the leadership of the quorum.
"""

from __future__ import annotations

from math import inf
from typing import assert_never

from metadata.controller import brokers
from metadata.controller.client_commands import AlterClientQuotas, AlterUserScramCredentials
from metadata.controller.client_quotas import alter_quotas
from metadata.controller.commands import (
    Acknowledged,
    AllocateProducerIds,
    AlterPartition,
    BrokerConnected,
    BrokerDisconnected,
    BrokerHeartbeat,
    Command,
    CreatePartitions,
    CreateTopics,
    DeleteTopics,
    ElectLeaders,
    IncrementalAlterConfigs,
    RegisterBroker,
    Reply,
    Tick,
    UnregisterBroker,
)
from metadata.controller.configs import alter_configs, min_isr_records
from metadata.controller.decision import ControllerConfig, Decision, RandomSource, View
from metadata.controller.feature_commands import UpdateFeatures
from metadata.controller.features import update_features
from metadata.controller.isr import alter_partition
from metadata.controller.partition_commands import AlterPartitionReassignments
from metadata.controller.partitions import MAX_ELECTIONS_PER_BALANCE, balance_leaders, elect_leaders
from metadata.controller.producer_ids import allocate_producer_ids
from metadata.controller.reassignments import alter_reassignments
from metadata.controller.scram import alter_credentials
from metadata.controller.sessions import Sessions
from metadata.controller.topics import Topics, delete_topics
from metadata.image import MetadataImage
from metadata.records import Record


class Controller:
    """One leadership of the quorum. Made when a node becomes the active controller, dropped when it is no
    more.

    `now` is monotonic time in seconds everywhere, `now_ms` wall-clock milliseconds.
    """

    def __init__(
        self, config: ControllerConfig, image: MetadataImage, term: int, now: float, random: RandomSource
    ) -> None:
        self.config = config
        self.term = term
        self._sessions = Sessions(config, image, now)
        self._topics = Topics(random)
        self._next_balance = self._after_balance(now)

    def begin(self, image: MetadataImage) -> Decision[Acknowledged]:
        """What comes before every other decision of this leadership."""
        return Decision(min_isr_records(View(self.config, image)), Acknowledged())

    def decide(self, image: MetadataImage, command: Command, now: float, now_ms: int) -> Decision[Reply]:
        """Decide on one command. Raises KafkaError when the whole of it is refused; nothing has changed
        then."""
        view = View(self.config, image)
        match command:
            case BrokerHeartbeat():
                return brokers.heartbeat(view, self._sessions, command, now)
            case AlterPartition():
                brokers.check_epoch(view, command.broker_id, command.broker_epoch)
                return alter_partition(view, command)
            case RegisterBroker():
                return brokers.register(view, self._sessions, command, now)
            case UnregisterBroker():
                return brokers.unregister(view, self._sessions, command)
            case BrokerConnected():
                brokers.check_epoch(view, command.broker_id, command.broker_epoch)
                self._sessions.connected(command.broker_id, command.broker_epoch, now)
                return Decision((), Acknowledged())
            case BrokerDisconnected():
                self._sessions.disconnected(command.broker_id, command.broker_epoch, now)
                return Decision((), Acknowledged())
            case CreateTopics():
                return self._topics.create(view, command)
            case CreatePartitions():
                return self._topics.create_partitions(view, command)
            case DeleteTopics():
                return delete_topics(view, command)
            case IncrementalAlterConfigs():
                return alter_configs(view, command)
            case ElectLeaders():
                return elect_leaders(view, command)
            case AlterPartitionReassignments():
                return alter_reassignments(view, command)
            case AllocateProducerIds():
                brokers.check_epoch(view, command.broker_id, command.broker_epoch)
                return allocate_producer_ids(view, command)
            case UpdateFeatures():
                return update_features(view, command)
            case AlterClientQuotas():
                return alter_quotas(view, command)
            case AlterUserScramCredentials():
                return alter_credentials(view, command)
            case Tick():
                records = [
                    record for decision in self.tick(image, now, now_ms) for record in decision.records
                ]
                return Decision(records, Acknowledged())
            case _:
                assert_never(command)

    def tick(self, image: MetadataImage, now: float, now_ms: int) -> tuple[Decision[Reply], ...]:
        """What time alone brings about: decisions, each made on the image after the one before."""
        del now_ms  # nothing that the controller does by itself depends on the wall clock
        decisions: list[Decision[Reply]] = []
        fencing = self._fence_expired(image, now)
        if fencing:
            decisions.append(Decision(fencing, Acknowledged()))
            image = image.apply(fencing, image.next_offset)
        if now >= self._next_balance:
            elections = balance_leaders(View(self.config, image))
            if elections:
                decisions.append(Decision(elections, Acknowledged()))
            full = len(elections) == MAX_ELECTIONS_PER_BALANCE
            self._next_balance = now if full else self._after_balance(now)
        return tuple(decisions)

    def was_away(self, now: float, away: float) -> None:
        """To be told before `tick` when this process did not run for `away` seconds, up to `now`."""
        self._sessions.excuse(now, away)

    def metadata_offset(self, broker_id: int) -> int:
        """The last metadata offset that the broker said to have applied; -1 if it has said nothing yet."""
        return self._sessions.metadata_offset(broker_id)

    def next_deadline(self, now: float) -> float:
        """When `tick` has something to do next: `now` if it is overdue, infinity if nothing is in sight."""
        return max(now, min(self._sessions.next_deadline(), self._next_balance))

    def _fence_expired(self, image: MetadataImage, now: float) -> list[Record]:
        expired = list(self._sessions.expired(now))
        for broker_id in expired:
            self._sessions.end(broker_id)
        alive = {broker_id for broker_id in expired if broker_id in image.brokers}
        unfenced = frozenset(broker_id for broker_id in alive if not image.brokers[broker_id].fenced)
        return brokers.fence(View(self.config, image), unfenced) if unfenced else []

    def _after_balance(self, now: float) -> float:
        interval = self.config.leader_balance_interval
        return inf if interval is None else now + interval
