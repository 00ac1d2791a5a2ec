"""The handlers of requests that only administrators make."""

from __future__ import annotations

from kafkawire.apis import ApiKey
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import MessageHandler
from kraft.broker.handlers.alter_configs import AlterConfigsHandler
from kraft.broker.handlers.alter_partition_reassignments import AlterPartitionReassignmentsHandler
from kraft.broker.handlers.delete_records import DeleteRecordsHandler
from kraft.broker.handlers.elect_leaders import ElectLeadersHandler
from kraft.broker.handlers.list_config_resources import ListConfigResourcesHandler
from kraft.broker.handlers.list_partition_reassignments import ListPartitionReassignmentsHandler
from kraft.broker.handlers.unregister_broker import UnregisterBrokerHandler
from kraft.broker.handlers.update_features import UpdateFeaturesHandler


def administration_handlers(context: BrokerContext) -> dict[ApiKey, MessageHandler]:
    """Beside the older ones, which stand in `message_handlers`."""
    return {
        ApiKey.DELETE_RECORDS: DeleteRecordsHandler(context),
        ApiKey.ALTER_CONFIGS: AlterConfigsHandler(context),
        ApiKey.ELECT_LEADERS: ElectLeadersHandler(context),
        ApiKey.ALTER_PARTITION_REASSIGNMENTS: AlterPartitionReassignmentsHandler(context),
        ApiKey.LIST_PARTITION_REASSIGNMENTS: ListPartitionReassignmentsHandler(context),
        ApiKey.UPDATE_FEATURES: UpdateFeaturesHandler(context),
        ApiKey.UNREGISTER_BROKER: UnregisterBrokerHandler(context),
        ApiKey.LIST_CONFIG_RESOURCES: ListConfigResourcesHandler(context),
    }
