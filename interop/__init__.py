"""Other people's clients, run against a cluster of ours and against Apache Kafka."""
