"""Boot: find the server's packages, then hand over to the command line; to the short one for a node.

In a checkout the packages `cli`, `metadata`, `logstore`, `replication` and `chaos` stand beside `kraft`. In a
wheel they would overwrite other distributions' packages of the same names, so there they travel inside
`kraft/_server`, which goes first on the path of the node's own process and of no other.
"""

from __future__ import annotations

import sys
from pathlib import Path


def find_server() -> None:
    """Put `kraft/_server` first on `sys.path` where that folder exists."""
    server = Path(__file__).parent / "_server"
    if server.is_dir():
        sys.path.insert(0, str(server))


def main() -> None:
    """The console scripts `kraft-node` and `kraft`, and `python -m kraft`."""
    find_server()
    if sys.argv[1:2] == ["run"]:
        from cli.plain_arguments import read_arguments

        options = read_arguments(sys.argv[2:])
        if options is not None:
            from cli.run import run_node

            sys.exit(run_node(options))
    from cli.app import app

    app()


if __name__ == "__main__":
    main()
