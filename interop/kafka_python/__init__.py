"""kafka-python: Kafka's oldest client in Python alone."""
