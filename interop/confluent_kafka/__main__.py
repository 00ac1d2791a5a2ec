"""confluent-kafka, step by step."""

from __future__ import annotations

import confluent_kafka

from interop.confluent_kafka import administration, connections, data, groups, transactions
from interop.shared.telling import Library, tell, where

UNSUPPORTED = {
    "list_transactions": "librdkafka has no ListTransactions",
    "describe_transactions": "librdkafka has no DescribeTransactions",
    "describe_transaction_unknown": "librdkafka has no DescribeTransactions",
    "list_reassignments": "librdkafka has no ListPartitionReassignments",
    "quotas": "librdkafka has no DescribeClientQuotas",
}


def main() -> None:
    """Walk through everything."""
    version = f"{confluent_kafka.version()} (librdkafka {confluent_kafka.libversion()[0]})"
    library = Library("confluent-kafka", version, connections.code)
    steps = {**data.STEPS, **groups.STEPS, **transactions.STEPS, **administration.STEPS}
    tell(library, where(__doc__ or ""), steps, UNSUPPORTED)


if __name__ == "__main__":
    main()
