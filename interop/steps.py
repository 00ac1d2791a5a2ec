"""What every client is asked to do, step by step, and what each step comes to on Apache Kafka.

The names are those that the scripts print. `EXPECTED` is what a step has to come to unless a recording of
the same client on Apache Kafka says otherwise (`interop/recording.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

OK = "ok"
UNSUPPORTED = "unsupported"
FAILED = "failed"
MISSING = "missing"
"""A step of which the script said nothing: it crashed before, or ran out of time."""

EXPECTED: Mapping[str, str] = MappingProxyType(
    {
        "produce": OK,
        "produce_compressed": OK,
        "idempotent_produce": OK,
        "consume": OK,
        "consume_from_timestamp": OK,
        "group_two_members": OK,
        "rebalance_on_leave": OK,
        "rebalance_on_close_without_leave": OK,
        "static_membership": OK,
        "cooperative_rebalance": OK,
        "next_gen_group": OK,
        "commit_and_resume": OK,
        "transactions_copy": OK,
        "transaction_abort": OK,
        "read_committed": OK,
        "fenced_producer": "PRODUCER_FENCED",
        "create_topic": OK,
        "create_topic_exists": "TOPIC_ALREADY_EXISTS",
        "create_topic_bad_replication": "INVALID_REPLICATION_FACTOR",
        "create_topic_bad_name": "INVALID_TOPIC_EXCEPTION",
        "create_topic_bad_config": "INVALID_CONFIG",
        "create_partitions": OK,
        "create_partitions_fewer": "INVALID_PARTITIONS",
        "describe_cluster": OK,
        "describe_topics": OK,
        "describe_topic_unknown": "UNKNOWN_TOPIC_OR_PARTITION",
        "describe_configs": OK,
        "alter_configs": OK,
        "alter_configs_bad_value": "INVALID_CONFIG",
        "list_offsets": OK,
        "delete_records": OK,
        "list_groups": OK,
        "describe_group": OK,
        "describe_group_unknown": "GROUP_ID_NOT_FOUND",
        "delete_group_nonempty": "NON_EMPTY_GROUP",
        "delete_group": OK,
        "delete_group_unknown": "GROUP_ID_NOT_FOUND",
        "list_transactions": OK,
        "describe_transactions": OK,
        "describe_transaction_unknown": "TRANSACTIONAL_ID_NOT_FOUND",
        "elect_leaders": "ELECTION_NOT_NEEDED",
        "list_reassignments": OK,
        "acls": "SECURITY_DISABLED",
        "quotas": OK,
        "scram": "RESOURCE_NOT_FOUND",
        "delete_topic": OK,
        "delete_topic_unknown": "UNKNOWN_TOPIC_OR_PARTITION",
    }
)
"""Every step, in the order of the table, and what it comes to."""
