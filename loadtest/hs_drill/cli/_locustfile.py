"""`hs-drill locustfile`: print the path of the locustfile, for `locust -f "$(hs-drill locustfile)"` outside a clone."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from hs_drill._shipped import locustfile

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    argparse.ArgumentParser("hs-drill locustfile", description=__doc__).parse_args(arguments)
    print(locustfile())
    return 0
