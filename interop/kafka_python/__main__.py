"""kafka-python, step by step."""

from interop.kafka_python.client import KafkaPython
from interop.shared.walk import main

if __name__ == "__main__":
    main(KafkaPython)
