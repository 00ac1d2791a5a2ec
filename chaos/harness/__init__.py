"""Real processes under faults: nemeses, workloads in three client libraries, a verdict and a report."""
