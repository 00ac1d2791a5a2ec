"""Disks that forget, at a power cut, what was never synced: a file system of ours, spoken to over FUSE."""
