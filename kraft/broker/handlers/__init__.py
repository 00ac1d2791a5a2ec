"""One file for each request that a client can make; this one lists them."""

from __future__ import annotations

from collections.abc import Mapping

from kafkawire.apis import ApiKey
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import FrameHandler, MessageHandler
from kraft.broker.handlers.add_offsets_to_txn import AddOffsetsToTxnHandler
from kraft.broker.handlers.add_partitions_to_txn import AddPartitionsToTxnHandler
from kraft.broker.handlers.administration import administration_handlers
from kraft.broker.handlers.api_versions import api_versions
from kraft.broker.handlers.consumer_group_describe import ConsumerGroupDescribeHandler
from kraft.broker.handlers.consumer_group_heartbeat import ConsumerGroupHeartbeatHandler
from kraft.broker.handlers.create_partitions import CreatePartitionsHandler
from kraft.broker.handlers.create_topics import CreateTopicsHandler
from kraft.broker.handlers.delete_groups import DeleteGroupsHandler
from kraft.broker.handlers.delete_topics import DeleteTopicsHandler
from kraft.broker.handlers.describe_cluster import DescribeClusterHandler
from kraft.broker.handlers.describe_configs import DescribeConfigsHandler
from kraft.broker.handlers.describe_groups import DescribeGroupsHandler
from kraft.broker.handlers.describe_log_dirs import DescribeLogDirsHandler
from kraft.broker.handlers.describe_producers import DescribeProducersHandler
from kraft.broker.handlers.describe_quorum import DescribeQuorumHandler
from kraft.broker.handlers.describe_topic_partitions import DescribeTopicPartitionsHandler
from kraft.broker.handlers.describe_transactions import DescribeTransactionsHandler
from kraft.broker.handlers.end_txn import EndTxnHandler
from kraft.broker.handlers.fetch import FetchHandler
from kraft.broker.handlers.find_coordinator import FindCoordinatorHandler
from kraft.broker.handlers.heartbeat import HeartbeatHandler
from kraft.broker.handlers.incremental_alter_configs import IncrementalAlterConfigsHandler
from kraft.broker.handlers.init_producer_id import InitProducerIdHandler
from kraft.broker.handlers.join_group import JoinGroupHandler
from kraft.broker.handlers.leave_group import LeaveGroupHandler
from kraft.broker.handlers.list_groups import ListGroupsHandler
from kraft.broker.handlers.list_offsets import ListOffsetsHandler
from kraft.broker.handlers.list_transactions import ListTransactionsHandler
from kraft.broker.handlers.metadata import MetadataHandler
from kraft.broker.handlers.offset_commit import OffsetCommitHandler
from kraft.broker.handlers.offset_delete import OffsetDeleteHandler
from kraft.broker.handlers.offset_fetch import OffsetFetchHandler
from kraft.broker.handlers.offset_for_leader_epoch import OffsetForLeaderEpochHandler
from kraft.broker.handlers.produce import ProduceHandler
from kraft.broker.handlers.sync_group import SyncGroupHandler
from kraft.broker.handlers.txn_offset_commit import TxnOffsetCommitHandler
from kraft.broker.handlers.write_txn_markers import WriteTxnMarkersHandler
from kraft.broker.producer_ids import ProducerIds


def frame_handlers(context: BrokerContext, fetch: FetchHandler) -> Mapping[ApiKey, FrameHandler]:
    """The handlers of requests that come so often that they read and write the bytes themselves."""
    return {
        ApiKey.PRODUCE: ProduceHandler(context),
        ApiKey.FETCH: fetch,
        ApiKey.OFFSET_COMMIT: OffsetCommitHandler(context),
        ApiKey.HEARTBEAT: HeartbeatHandler(context),
        ApiKey.API_VERSIONS: api_versions,
    }


def message_handlers(context: BrokerContext, producer_ids: ProducerIds) -> Mapping[ApiKey, MessageHandler]:
    """The handlers of requests that are decoded as messages: all but `frame_handlers`."""
    return administration_handlers(context) | {
        ApiKey.LIST_OFFSETS: ListOffsetsHandler(context),
        ApiKey.METADATA: MetadataHandler(context),
        ApiKey.OFFSET_FETCH: OffsetFetchHandler(context),
        ApiKey.FIND_COORDINATOR: FindCoordinatorHandler(context),
        ApiKey.JOIN_GROUP: JoinGroupHandler(context),
        ApiKey.LEAVE_GROUP: LeaveGroupHandler(context),
        ApiKey.SYNC_GROUP: SyncGroupHandler(context),
        ApiKey.DESCRIBE_GROUPS: DescribeGroupsHandler(context),
        ApiKey.LIST_GROUPS: ListGroupsHandler(context),
        ApiKey.CREATE_TOPICS: CreateTopicsHandler(context),
        ApiKey.DELETE_TOPICS: DeleteTopicsHandler(context),
        ApiKey.INIT_PRODUCER_ID: InitProducerIdHandler(context, producer_ids),
        ApiKey.OFFSET_FOR_LEADER_EPOCH: OffsetForLeaderEpochHandler(context),
        ApiKey.ADD_PARTITIONS_TO_TXN: AddPartitionsToTxnHandler(context),
        ApiKey.ADD_OFFSETS_TO_TXN: AddOffsetsToTxnHandler(context),
        ApiKey.END_TXN: EndTxnHandler(context),
        ApiKey.WRITE_TXN_MARKERS: WriteTxnMarkersHandler(context),
        ApiKey.TXN_OFFSET_COMMIT: TxnOffsetCommitHandler(context),
        ApiKey.DESCRIBE_CONFIGS: DescribeConfigsHandler(context),
        ApiKey.DESCRIBE_LOG_DIRS: DescribeLogDirsHandler(context),
        ApiKey.CREATE_PARTITIONS: CreatePartitionsHandler(context),
        ApiKey.DELETE_GROUPS: DeleteGroupsHandler(context),
        ApiKey.OFFSET_DELETE: OffsetDeleteHandler(context),
        ApiKey.INCREMENTAL_ALTER_CONFIGS: IncrementalAlterConfigsHandler(context),
        ApiKey.DESCRIBE_QUORUM: DescribeQuorumHandler(context),
        ApiKey.DESCRIBE_CLUSTER: DescribeClusterHandler(context),
        ApiKey.DESCRIBE_PRODUCERS: DescribeProducersHandler(context),
        ApiKey.DESCRIBE_TRANSACTIONS: DescribeTransactionsHandler(context),
        ApiKey.LIST_TRANSACTIONS: ListTransactionsHandler(context),
        ApiKey.CONSUMER_GROUP_HEARTBEAT: ConsumerGroupHeartbeatHandler(context),
        ApiKey.CONSUMER_GROUP_DESCRIBE: ConsumerGroupDescribeHandler(context),
        ApiKey.DESCRIBE_TOPIC_PARTITIONS: DescribeTopicPartitionsHandler(context),
    }
