"""Gives the cluster's own topics the replicas that they could not have when they were created.

They are created for the first client that needs them, with fewer replicas where there are fewer brokers (see
`internal_topics`). When there are more, whoever leads partition 0 has replicas added, by a reassignment as an
administrator would (KIP-455), and then `min.insync.replicas` raised. Nothing is ever taken away.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

from kafkawire.errors import ErrorCode, KafkaError
from kraft.broker.configuration import BrokerConfiguration
from kraft.broker.controller_channel import ControllerChannel
from kraft.broker.internal_topics import Wanted, wanted_topics
from kraft.broker.metadata_cache import MetadataCache
from kraft.events import Events
from metadata.controller.commands import (
    AlterConfigsResource,
    AlterConfigsResult,
    Command,
    ConfigAlteration,
    IncrementalAlterConfigs,
    IncrementalAlterConfigsReply,
    Reply,
)
from metadata.controller.config_commands import AlterConfigOp
from metadata.controller.partition_commands import (
    AlterPartitionReassignments,
    AlterPartitionReassignmentsReply,
    Reassignment,
    ReassignmentResult,
)
from metadata.image import MetadataImage, TopicImage
from metadata.records import ConfigResourceType

PAUSE = 1.0
"""Seconds from one step to the next: by then the metadata has the last one."""
TIMEOUT = 5.0
"""Seconds that the controller may take."""
MIN_ISR = "min.insync.replicas"


class InternalTopicGrowth:
    """Has the controller take the next step whenever the metadata asks for one."""

    def __init__(
        self,
        node_id: int,
        configuration: BrokerConfiguration,
        metadata: MetadataCache,
        controller: ControllerChannel,
    ) -> None:
        self._node_id = node_id
        self._metadata = metadata
        self._controller = controller
        self._wanted = wanted_topics(configuration)
        self._due = asyncio.Event()
        self._events = Events("broker")

    def metadata_changed(self, image: MetadataImage) -> None:
        """To be called with each image that this broker acts on."""
        if self._step(image) is not None:
            self._due.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            await self._take()
            await asyncio.sleep(PAUSE)
            self.metadata_changed(self._metadata.image)  # a step that was refused changes nothing

    async def _take(self) -> None:
        step = self._step(self._metadata.image)
        if step is None:
            return
        name, command = step
        try:
            _check(await self._controller.call(command, TIMEOUT))
        except KafkaError as error:
            self._events.warning(
                "internal_topic.not_grown", topic=name, reason=error.message or error.code.name
            )
        else:
            self._events.info("internal_topic.grows", topic=name, by=type(command).__name__)

    def _step(self, image: MetadataImage) -> tuple[str, Command] | None:
        for name, wanted in self._wanted.items():
            topic = image.topics.get(name)
            if topic is not None and topic.partitions and topic.partitions[0].leader == self._node_id:
                command = next_step(image, topic, wanted)
                if command is not None:
                    return name, command
        return None


def next_step(image: MetadataImage, topic: TopicImage, wanted: Wanted) -> Command | None:
    """What brings the topic closer to what is wanted: more replicas, and once these are in sync the
    `min.insync.replicas` that goes with them. None if nothing does now."""
    added = tuple(_added(image, topic, wanted.replicas))
    if added:
        return AlterPartitionReassignments(added)
    has = image.configs.topic(topic.name).get(MIN_ISR)
    if has is None or wanted.min_isr is None:
        return None
    # As if the topic were created now. `has` may be more if somebody wanted that.
    min_isr = min(wanted.min_isr, *(len(each.replicas) for each in topic.partitions))
    if int(has) >= min_isr or any(len(each.isr) < len(each.replicas) for each in topic.partitions):
        return None
    change = ConfigAlteration(MIN_ISR, AlterConfigOp.SET, str(min_isr))
    return IncrementalAlterConfigs((AlterConfigsResource(ConfigResourceType.TOPIC, topic.name, (change,)),))


def _check(reply: Reply) -> None:
    """Raise the KafkaError of what the controller refused of a step."""
    results: tuple[ReassignmentResult | AlterConfigsResult, ...] = ()
    if isinstance(reply, AlterPartitionReassignmentsReply):
        results = reply.partitions
    elif isinstance(reply, IncrementalAlterConfigsReply):
        results = reply.resources
    for result in results:
        if result.error_code is not ErrorCode.NONE:
            raise KafkaError(result.error_code, result.error_message or "")


def _added(image: MetadataImage, topic: TopicImage, wanted: int) -> Iterator[Reassignment]:
    """More replicas for partitions that lack some, on active brokers: of racks that the partition does not
    use yet, then on those that hold the fewest. Partitions that are being moved are left alone."""
    lacking = [
        (number, each)
        for number, each in enumerate(topic.partitions)
        if len(each.replicas) < wanted and not each.adding and not each.removing
    ]
    if not lacking:
        return
    active = {each.broker_id: each.rack for each in image.brokers.values() if each.active}
    held = Counter(replica for each in topic.partitions for replica in each.replicas)
    for number, partition in lacking:
        replicas = list(partition.replicas)
        while len(replicas) < wanted and active.keys() - replicas:
            racks = {active.get(replica) for replica in replicas}
            chosen = min(active.keys() - replicas, key=lambda each: (active[each] in racks, held[each], each))
            held[chosen] += 1
            replicas.append(chosen)
        if len(replicas) > len(partition.replicas):
            yield Reassignment(topic.name, number, tuple(replicas))
