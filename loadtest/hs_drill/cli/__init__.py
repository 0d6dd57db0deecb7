"""The commands of `hs-drill`, a module each."""

from __future__ import annotations

__all__ = ["COMMANDS"]

#: Command -> the module whose `make_parser()` describes its arguments and whose `main(arguments)` runs it and returns
#: the exit code, and one line of help.
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("hs_drill.cli._run", "run a scenario without the web UI"),
    "check": ("hs_drill.cli._check", "check a scenario file, and show its timeline"),
    "init": ("hs_drill.cli._init", "write a scenario: from a table of your own, or an example"),
    "restore": ("hs_drill.cli._restore", "put back what a run has changed in a table of your own"),
    "analyze": ("hs_drill.cli._analyze", "judge a kept run again"),
    "export": ("hs_drill.cli._export", "write the history of a kept run for other programs: Jepsen's checkers, pandas, DuckDB"),
    "compare": ("hs_drill.cli._compare", "compare kept runs, or with a baseline, and fail if they became worse"),
    "baseline": ("hs_drill.cli._baseline", "keep what runs measured, for later comparisons"),
    "capacity": ("hs_drill.cli._capacity", "find the highest rate at which the servers meet your objectives"),
    "drills": ("hs_drill.cli._drills", "run the scenarios that state their verdict, and compare"),
    "cluster": ("hs_drill.cli._cluster", "start servers without a load"),
    "schema": ("hs_drill.cli._schema", "print the JSON Schema of scenario files, for editors"),
    "completion": ("hs_drill.cli._completion", "print the completion of these commands for bash or zsh"),
    "locustfile": ("hs_drill.cli._locustfile", "print the path of the locustfile, for `locust -f`"),
}
