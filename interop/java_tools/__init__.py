"""Apache Kafka's console tools, step by step."""
