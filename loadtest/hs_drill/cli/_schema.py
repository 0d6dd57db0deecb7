"""`hs-drill schema`: print the JSON Schema of scenario files. Editors use it to complete and check them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from hs_drill.scenario import scenario_schema

from ._shared import safely

__all__ = ["main", "make_parser"]


def make_parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser("hs-drill schema", description=__doc__)


def main(arguments: Sequence[str]) -> int:
    make_parser().parse_args(arguments)
    return safely(_print)


def _print() -> int:
    print(json.dumps(scenario_schema(), indent=2))
    return 0
