"""confluent-kafka: librdkafka for Python."""
