"""`hs-drill run SCENARIO [LOCUST OPTIONS]`: run a scenario, without the web UI.

It becomes `locust -f LOCUSTFILE --headless --only-summary --scenario SCENARIO` with the further options, so the process id,
signals and exit codes are Locust's. SCENARIO is a YAML file or the name of a shipped one (`hs-drill drills --list`). All
options of Locust and of ours may follow (`locust -f "$(hs-drill locustfile)" --help` lists them), such as `-t 1m`,
`--cluster docker`, or `-f users.py` for users in Python.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from hs_drill._exit_codes import ExitCode
from hs_drill._shipped import headless_locust, scenario_path, shipped_scenarios

__all__ = ["main", "make_parser"]


def make_parser() -> argparse.ArgumentParser:
    usage = "hs-drill run SCENARIO [LOCUST OPTIONS]"
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("hs-drill run", usage=usage, description=__doc__, formatter_class=form)
    parser.add_argument("scenario", metavar="SCENARIO", help="a YAML file, or the name of a shipped scenario")
    return parser


def main(arguments: Sequence[str]) -> int:
    parser = make_parser()
    if not arguments or arguments[0] in ("-h", "--help"):
        parser.parse_args(arguments[:1])  # ends
    name, *options = arguments
    if name.startswith("-"):
        parser.error(f"the scenario comes first, and Locust's options after it: not {name!r}")
    path = scenario_path(name)
    if not path.exists():
        shipped = sorted(one.stem for one in shipped_scenarios().glob("*.yaml"))
        sys.stderr.write(f"{name}: no such file, and no shipped scenario; those are {', '.join(shipped)}\n")
        return ExitCode.BAD_ARGUMENTS
    return os.execv(sys.executable, [*headless_locust(path), *options])
