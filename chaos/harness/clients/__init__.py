"""The three client libraries, each in the roles of `chaos.harness.tasks`."""
