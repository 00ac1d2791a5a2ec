"""Histories of replicated partitions: the cores of brokers and of the controller, without I/O."""
