"""``python -m trio_hs.testing``: an embedded server in a process of its own, which can be killed and paused for real."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from pathlib import Path

import trio

from ._control import Control, table_of
from ._declaration import Table
from ._journal import Journal
from ._remote import RemoteSource, serve_replicas
from ._server import open_server
from ._versions import DEFAULT_VERSION, VERSIONS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trio_hs.testing", description=__doc__)
    parser.add_argument("--name", default="embedded", help="its name for replicas; each server needs its own")
    parser.add_argument("--host", default="127.0.0.1", help="the address of all its ports (default: %(default)s)")
    for option, what in (
        ("--port-read", "HandlerSocket's listener for reads"),
        ("--port-write", "HandlerSocket's listener for writes"),
        ("--port-replication", "the port for replicas"),
        ("--port-control", "the port for commands (see docs/testing.md)"),
    ):
        parser.add_argument(option, type=_port, default=0, metavar="PORT", help=f"{what}; 0 takes a free one (default)")
    parser.add_argument("--table-file", type=Path, metavar="FILE", help="JSON: a list of tables, as `create` takes them")
    parser.add_argument("--read-secret-file", type=Path, metavar="FILE", help="holds the secret of the listener for reads")
    parser.add_argument("--write-secret-file", type=Path, metavar="FILE", help="holds the secret of the listener for writes")
    parser.add_argument("--journal", type=Path, metavar="FILE", help="keep the rows when the process dies")
    parser.add_argument(
        "--follow", type=_address, metavar="HOST:PORT", help="replicate from the server with this replication port"
    )
    parser.add_argument(
        "--server-version",
        choices=VERSIONS,
        default=DEFAULT_VERSION,
        help="the version of MariaDB to answer as: %(choices)s (default: %(default)s)",
    )
    parser.add_argument("--read-only", action="store_true", help="refuse writes, as a replica does")
    parser.add_argument("--unlogged", action="store_true", help="replicas do not get clients' writes, as on stock MariaDB")
    parser.add_argument(
        "--twin",
        type=_twin,
        action="append",
        default=[],
        metavar="TWIN=DATABASE",
        help="serve DATABASE's tables under the name TWIN too, as MariaDB's FEDERATED engine does",
    )
    parser.add_argument(
        "--lag", type=float, default=0.0, metavar="SECONDS", help="readers of this replica see writes that late"
    )
    parser.add_argument("--synchronous", type=int, default=0, metavar="N", help="answer a write when N replicas have it")
    parser.add_argument("--idle-timeout", type=float, default=300.0, metavar="SECONDS", help="(default: %(default)g)")
    return parser


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host, _port(port)


def _twin(text: str) -> tuple[str, str]:
    twin, _, database = text.partition("=")
    if not twin or not database:
        raise argparse.ArgumentTypeError(f"{text!r} is not TWIN=DATABASE")
    return twin, database


def _tables(path: Path | None) -> list[Table]:
    if path is None:
        return []
    descriptions = json.loads(path.read_text())
    if not isinstance(descriptions, list):
        raise ValueError(f"{path} must hold a list of tables")
    return [table_of(description) for description in descriptions]


def _secret(path: Path | None) -> str | None:
    return None if path is None else path.read_text().rstrip("\n")


async def _serve(options: argparse.Namespace) -> None:
    tables = _tables(options.table_file)
    async with (
        AsyncExitStack() as files,
        open_server(
            tables,
            name=options.name,
            version=options.server_version,
            read_secret=_secret(options.read_secret_file),
            write_secret=_secret(options.write_secret_file),
            idle_timeout=options.idle_timeout,
            synchronous=options.synchronous,
        ) as server,
        trio.open_nursery() as nursery,
    ):
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            if options.journal is not None:
                server.keep(files.enter_context(closing(Journal(options.journal))))
            server.replica.lag = options.lag
            server.database.read_only = options.read_only
            server.database.twins.update(options.twin)
            server.logs_writes = not options.unlogged
            await server.listen((options.host, options.port_read), (options.host, options.port_write))
            (replication,) = await trio.open_tcp_listeners(options.port_replication, host=options.host)
            (control,) = await trio.open_tcp_listeners(options.port_control, host=options.host)
            nursery.start_soon(serve_replicas, server, replication)
            nursery.start_soon(Control(server, nursery.cancel_scope.cancel).serve, control)
            if options.follow is not None:
                await server.follow(RemoteSource(options.name, *options.follow))
            ready = {
                "pid": os.getpid(),
                "host": options.host,
                "port_read": server.read_address.port,
                "port_write": server.write_address.port,
                "port_replication": replication.socket.getsockname()[1],
                "port_control": control.socket.getsockname()[1],
            }
            print(json.dumps({"ready": ready}), flush=True)
            async for _ in signals:
                break
            nursery.cancel_scope.cancel()


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    status = 0
    try:
        trio.run(_serve, options)
    except* (OSError, ValueError) as group:
        print(f"trio_hs.testing: {_first(group)}", file=sys.stderr)
        status = 2
    return status


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


if __name__ == "__main__":
    sys.exit(main())
