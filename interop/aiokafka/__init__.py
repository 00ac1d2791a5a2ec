"""aiokafka: Kafka for asyncio."""
