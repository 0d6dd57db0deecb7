"""``python -m trio_hs describe``: the declarations of tables, for ``Manager.table(columns=...)``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ._columns._describe import DescribeError, describe
from ._columns._render import render


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trio_hs")
    command = parser.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "describe",
        help="print the Python declarations of tables",
        description="Reads the columns and indexes of tables through the server's SQL port and prints a module with the"
        " declarations for Manager.table(columns=...). The password comes from --password-file or the environment variable"
        " MYSQL_PWD. Exit code 2: a table cannot be described, and standard error says why.",
    )
    command.add_argument(
        "tables",
        metavar="DB.TABLE|DB",
        nargs="+",
        help="such as cars.trucks; a database is all of its tables but those that cannot be described, which are named",
    )
    command.add_argument("--dataclass", action="store_true", help="also print a dataclass for the rows of each table (row=...)")
    command.add_argument("--host", default="localhost", help="the server (default: %(default)s)")
    command.add_argument("--port", type=int, default=3306, help="its SQL port (default: %(default)s)")
    command.add_argument("--unix-socket", metavar="PATH", help="its socket, instead of --host and --port")
    command.add_argument("--user", required=True, help="an account with SELECT and TRIGGER on the table")
    command.add_argument("--password-file", type=Path, metavar="FILE", help="a file whose first line is the password")
    return parser


def _password(file: Path | None) -> str:
    if file is None:
        return os.environ.get("MYSQL_PWD", "")
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DescribeError(f"cannot read the password file {file}: {error}") from None
    return lines[0] if lines else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line. Returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        for name in options.tables:
            db, dot, table = name.partition(".")
            if not db or (dot and not table):
                raise DescribeError(f"{name!r} names no table: write DB.TABLE, such as cars.trucks, or DB")
        descriptions, left_out = describe(
            options.tables,
            host=options.host,
            port=options.port,
            user=options.user,
            password=_password(options.password_file),
            unix_socket=options.unix_socket,
        )
        module = render(descriptions, left_out, dataclasses=options.dataclass)
    except DescribeError as error:
        print(f"trio_hs describe: {error}", file=sys.stderr)
        return 2
    for reason in left_out:
        print(f"trio_hs describe: left out: {reason}", file=sys.stderr)
    print(module, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
