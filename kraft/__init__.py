"""A Kafka-compatible cluster in Python.

This file imports nothing, so that the client never pulls in the server.
"""
