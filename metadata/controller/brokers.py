"""Brokers: registration, heartbeats, fencing, controlled shutdown (KIP-631, KIP-841, KIP-966)."""

from __future__ import annotations

from typing import assert_never

from kafkawire.errors import ErrorCode, KafkaError
from metadata.controller.commands import (
    Acknowledged,
    BrokerHeartbeat,
    BrokerHeartbeatReply,
    RegisterBroker,
    RegisterBrokerReply,
    UnregisterBroker,
)
from metadata.controller.decision import Decision, View
from metadata.controller.partitions import leads_anything, remove_brokers, welcome_broker
from metadata.controller.sessions import Sessions
from metadata.image import BrokerImage, BrokerState
from metadata.records import (
    BrokerRegistrationChangeRecord,
    Record,
    RegisterBrokerRecord,
    UnregisterBrokerRecord,
)


def check_epoch(view: View, broker_id: int, epoch: int) -> BrokerImage:
    """The broker, if `epoch` is its present one: the one place where stale incarnations are turned away.

    Raises KafkaError(STALE_BROKER_EPOCH).
    """
    broker = view.image.brokers.get(broker_id)
    if broker is None:
        raise KafkaError(
            ErrorCode.STALE_BROKER_EPOCH, f"No broker registration found for broker id {broker_id}"
        )
    if broker.epoch != epoch:
        raise KafkaError(
            ErrorCode.STALE_BROKER_EPOCH,
            f"Expected broker epoch {broker.epoch}, but got broker epoch {epoch}",
        )
    return broker


def register(
    view: View, sessions: Sessions, command: RegisterBroker, now: float
) -> Decision[RegisterBrokerReply]:
    """Register a broker, fenced, under a new epoch; the same incarnation again keeps epoch and state.

    What an earlier incarnation left behind is cleared away in the same batch: the broker leaves every ISR and
    leadership, and after an unclean stop every ELR.
    """
    existing = view.image.brokers.get(command.broker_id)
    _check_registration(view, sessions, command, existing, now)
    if existing is not None and existing.incarnation == command.incarnation_id:
        sessions.start(command.broker_id, existing.epoch, now)
        return Decision(_amendment(existing, command), RegisterBrokerReply(existing.epoch))
    epoch = view.image.next_offset
    clean = existing is not None and existing.epoch == command.previous_broker_epoch
    records: list[Record] = [_registration(command, epoch, BrokerState.FENCED)]
    records += remove_brokers(view, frozenset({command.broker_id}), lost=not clean)
    sessions.start(command.broker_id, epoch, now)
    return Decision(records, RegisterBrokerReply(epoch))


def heartbeat(
    view: View, sessions: Sessions, command: BrokerHeartbeat, now: float
) -> Decision[BrokerHeartbeatReply]:
    """Take note that a broker lives, and move it to the state that it wants and may have."""
    broker = check_epoch(view, command.broker_id, command.broker_epoch)
    sessions.heard(broker.broker_id, broker.epoch, command.current_metadata_offset, now)
    caught_up = command.current_metadata_offset >= broker.epoch
    target, may_stop = _target(view, sessions, broker, command, caught_up)
    records: list[Record] = []
    if target is not broker.state:
        match target:
            case BrokerState.FENCED:
                records = fence(view, frozenset({broker.broker_id}))
            case BrokerState.ACTIVE:
                records = _unfence(view, broker)
                sessions.connected(broker.broker_id, broker.epoch, now)
            case BrokerState.SHUTTING_DOWN:
                records = _begin_shutdown(view, broker)
                sessions.shutting_down(broker.broker_id, view.image.offset + len(records))
            case _:
                assert_never(target)
    reply = BrokerHeartbeatReply(caught_up, target is BrokerState.FENCED, may_stop)
    return Decision(records, reply)


def fence(view: View, broker_ids: frozenset[int]) -> list[Record]:
    """The records that fence unfenced brokers, all at once so that none of them inherits from another."""
    records: list[Record] = [
        BrokerRegistrationChangeRecord(broker_id, view.image.brokers[broker_id].epoch, fenced=True)
        for broker_id in sorted(broker_ids)
    ]
    records += remove_brokers(view, broker_ids)
    return records


def unregister(view: View, sessions: Sessions, command: UnregisterBroker) -> Decision[Acknowledged]:
    """Forget a broker. Raises KafkaError(BROKER_ID_NOT_REGISTERED)."""
    broker = view.image.brokers.get(command.broker_id)
    if broker is None:
        raise KafkaError(
            ErrorCode.BROKER_ID_NOT_REGISTERED, f"Broker ID {command.broker_id} is not currently registered"
        )
    records: list[Record] = [*remove_brokers(view, frozenset({broker.broker_id}), lost=True)]
    records.append(UnregisterBrokerRecord(broker.broker_id, broker.epoch))
    sessions.end(broker.broker_id)
    return Decision(records, Acknowledged())


def _target(
    view: View, sessions: Sessions, broker: BrokerImage, command: BrokerHeartbeat, caught_up: bool
) -> tuple[BrokerState, bool]:
    """The state that a broker gets, and whether it may stop (Kafka's `calculateNextBrokerState`)."""
    match broker.state:
        case BrokerState.FENCED:
            unfence = caught_up and not command.want_fence and not command.want_shutdown
            return BrokerState.ACTIVE if unfence else BrokerState.FENCED, command.want_shutdown
        case BrokerState.ACTIVE:
            if command.want_fence:
                return BrokerState.FENCED, command.want_shutdown
            if not command.want_shutdown:
                return BrokerState.ACTIVE, False
            if leads_anything(view, broker.broker_id):
                return BrokerState.SHUTTING_DOWN, False
            return BrokerState.FENCED, True
        case BrokerState.SHUTTING_DOWN:
            if leads_anything(view, broker.broker_id) or not sessions.may_stop(broker.broker_id, view.image):
                return BrokerState.SHUTTING_DOWN, False
            return BrokerState.FENCED, True
        case _:
            assert_never(broker.state)


def _unfence(view: View, broker: BrokerImage) -> list[Record]:
    records: list[Record] = [
        BrokerRegistrationChangeRecord(
            broker.broker_id, broker.epoch, fenced=False, in_controlled_shutdown=False
        )
    ]
    records += welcome_broker(view, broker.broker_id)
    return records


def _begin_shutdown(view: View, broker: BrokerImage) -> list[Record]:
    records: list[Record] = [
        BrokerRegistrationChangeRecord(broker.broker_id, broker.epoch, in_controlled_shutdown=True)
    ]
    records += remove_brokers(view, frozenset({broker.broker_id}))
    return records


def _check_registration(
    view: View, sessions: Sessions, command: RegisterBroker, existing: BrokerImage | None, now: float
) -> None:
    if command.cluster_id != view.config.cluster_id:
        raise KafkaError(
            ErrorCode.INCONSISTENT_CLUSTER_ID,
            f"Expected cluster ID {view.config.cluster_id}, but got cluster ID {command.cluster_id}",
        )
    listeners = [endpoint.listener for endpoint in command.endpoints]
    if command.broker_id < 0 or not listeners or len(set(listeners)) < len(listeners):
        raise KafkaError(
            ErrorCode.INVALID_REGISTRATION,
            "A broker registers with an id that is not negative and listeners of different names.",
        )
    if (
        existing is not None
        and existing.incarnation != command.incarnation_id
        and existing.state is not BrokerState.SHUTTING_DOWN
        and sessions.occupied(command.broker_id, now)
    ):
        raise KafkaError(
            ErrorCode.DUPLICATE_BROKER_REGISTRATION,
            f"Another broker is registered with the id {command.broker_id}. If that one was restarted, this "
            "resolves itself once its session expires.",
        )


def _amendment(existing: BrokerImage, command: RegisterBroker) -> list[Record]:
    """The same process registers again, perhaps with other endpoints."""
    record = _registration(command, existing.epoch, existing.state)
    same = (
        existing.endpoints == record.end_points
        and existing.node_endpoint == record.node_endpoint
        and existing.rack == record.rack
        and existing.features == record.features
    )
    return [] if same else [record]


def _registration(command: RegisterBroker, epoch: int, state: BrokerState) -> RegisterBrokerRecord:
    return RegisterBrokerRecord(
        broker_id=command.broker_id,
        incarnation_id=command.incarnation_id,
        broker_epoch=epoch,
        end_points=command.endpoints,
        node_endpoint=command.node_endpoint,
        rack=command.rack,
        features=command.features,
        fenced=state is BrokerState.FENCED,
        in_controlled_shutdown=state is BrokerState.SHUTTING_DOWN,
    )
