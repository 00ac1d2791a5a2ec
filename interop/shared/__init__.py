"""What scripts of several clients share."""
