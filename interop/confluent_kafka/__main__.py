"""confluent-kafka, step by step."""

from interop.confluent_kafka.client import ConfluentKafka
from interop.shared.walk import main

if __name__ == "__main__":
    main(ConfluentKafka)
