"""The SDK: producer, consumer and admin client over `kafkawire`; it needs nothing of the server."""
