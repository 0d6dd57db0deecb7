"""`hs-drill locustfile`: print the path of the locustfile, for `locust -f "$(hs-drill locustfile)"` outside a clone."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from hs_drill._shipped import locustfile

__all__ = ["main", "make_parser"]


def make_parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser("hs-drill locustfile", description=__doc__)


def main(arguments: Sequence[str]) -> int:
    make_parser().parse_args(arguments)
    print(locustfile())
    return 0
