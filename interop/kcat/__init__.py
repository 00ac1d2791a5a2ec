"""kcat: the command line client of librdkafka, as Debian has it."""
