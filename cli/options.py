"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

BootstrapServer = Annotated[
    str,
    typer.Option(
        envvar="KRAFT_BOOTSTRAP", metavar="HOST:PORT,…", help="Some brokers of the cluster; the rest is found"
    ),
]
"""`--bootstrap-server`, with KRAFT_BOOTSTRAP as its default."""

TopicName = Annotated[str, typer.Argument(help="The topic's name")]
