"""The handlers of requests that only administrators make."""

from __future__ import annotations

from kafkawire.apis import ApiKey
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import MessageHandler
from kraft.broker.handlers.alter_configs import AlterConfigsHandler
from kraft.broker.handlers.alter_partition_reassignments import AlterPartitionReassignmentsHandler
from kraft.broker.handlers.alter_replica_log_dirs import AlterReplicaLogDirsHandler
from kraft.broker.handlers.client_quotas import AlterClientQuotasHandler, DescribeClientQuotasHandler
from kraft.broker.handlers.delete_records import DeleteRecordsHandler
from kraft.broker.handlers.elect_leaders import ElectLeadersHandler
from kraft.broker.handlers.list_config_resources import ListConfigResourcesHandler
from kraft.broker.handlers.list_partition_reassignments import ListPartitionReassignmentsHandler
from kraft.broker.handlers.scram_credentials import (
    AlterUserScramCredentialsHandler,
    DescribeUserScramCredentialsHandler,
)
from kraft.broker.handlers.security import WithoutSecurity
from kraft.broker.handlers.unregister_broker import UnregisterBrokerHandler
from kraft.broker.handlers.update_features import UpdateFeaturesHandler


def administration_handlers(context: BrokerContext) -> dict[ApiKey, MessageHandler]:
    """Beside the older ones, which stand in `message_handlers`."""
    unsecured = WithoutSecurity()
    return {
        ApiKey.DELETE_RECORDS: DeleteRecordsHandler(context),
        ApiKey.ALTER_CONFIGS: AlterConfigsHandler(context),
        ApiKey.ALTER_REPLICA_LOG_DIRS: AlterReplicaLogDirsHandler(context),
        ApiKey.ELECT_LEADERS: ElectLeadersHandler(context),
        ApiKey.ALTER_PARTITION_REASSIGNMENTS: AlterPartitionReassignmentsHandler(context),
        ApiKey.LIST_PARTITION_REASSIGNMENTS: ListPartitionReassignmentsHandler(context),
        ApiKey.DESCRIBE_CLIENT_QUOTAS: DescribeClientQuotasHandler(context),
        ApiKey.ALTER_CLIENT_QUOTAS: AlterClientQuotasHandler(context),
        ApiKey.DESCRIBE_USER_SCRAM_CREDENTIALS: DescribeUserScramCredentialsHandler(context),
        ApiKey.ALTER_USER_SCRAM_CREDENTIALS: AlterUserScramCredentialsHandler(context),
        ApiKey.SASL_HANDSHAKE: unsecured.sasl_handshake,
        ApiKey.SASL_AUTHENTICATE: unsecured.sasl_authenticate,
        ApiKey.DESCRIBE_ACLS: unsecured.describe_acls,
        ApiKey.CREATE_ACLS: unsecured.create_acls,
        ApiKey.DELETE_ACLS: unsecured.delete_acls,
        ApiKey.UPDATE_FEATURES: UpdateFeaturesHandler(context),
        ApiKey.UNREGISTER_BROKER: UnregisterBrokerHandler(context),
        ApiKey.LIST_CONFIG_RESOURCES: ListConfigResourcesHandler(context),
    }
