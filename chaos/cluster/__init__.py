"""A whole cluster in one process: the nodes as they ship, on virtual time, in-memory sockets and disks."""
