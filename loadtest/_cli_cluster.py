"""`python -m loadtest cluster`: servers without a load."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import trio

from loadtest._cluster import ClusterError
from loadtest._docker_engine import open_engine, provide_image

__all__ = ["main"]

NOT_HAD = 2


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("python -m loadtest cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("image", help="build the image that containers run from, if the engine does not have it")
    parser.parse_args(arguments)
    try:
        trio.run(_image)
    except ClusterError as error:
        sys.stderr.write(f"{error}\n")
        return NOT_HAD
    return 0


async def _image() -> None:
    async with open_engine() as engine:
        print(await provide_image(engine, _tell))


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
