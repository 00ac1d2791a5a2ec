"""What can be done to a cluster, one small class each; `registry` has them by name."""
