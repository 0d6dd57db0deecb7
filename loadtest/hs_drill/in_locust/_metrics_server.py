"""The option `--metrics`: an HTTP server of its own, in the process that owns the servers, which Prometheus scrapes."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable
from importlib.util import find_spec

from gevent import socket
from gevent.pywsgi import WSGIServer

from hs_drill._exit_codes import ExitCode
from hs_drill.metrics import Batch

from ._live import Seen

__all__ = ["MetricsServer", "mistake_in_metrics"]

LOCAL = "127.0.0.1"
BACKLOG = 16
_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]:|(?P<host>[^\s:\[\]]+):)?(?P<port>[0-9]{1,5})")


def mistake_in_metrics(option: str | None) -> str:
    """Why `--metrics` cannot be as the option says, in one line; "" if it can, and if there is none."""
    if option is None:
        return ""
    if _address(option) is None:
        return f"--metrics must be a port from 1 to 65535, or HOST:PORT such as 0.0.0.0:9646 or [::1]:9646, not {option!r}"
    if find_spec("prometheus_client") is None:
        return "--metrics needs prometheus-client: pip install 'trio-hs-drill[metrics]'"
    return ""


def _address(option: str) -> tuple[str, int] | None:
    found = _ADDRESS.fullmatch(option)
    if found is None or not 1 <= int(found["port"]) <= 65535:
        return None
    return found["six"] or found["host"] or LOCAL, int(found["port"])


class MetricsServer:
    """Listens from the start, and shows a session's runs once there is one. Ends the process with code 2 if it cannot."""

    def __init__(self, option: str) -> None:
        from prometheus_client import CollectorRegistry, make_wsgi_app  # an optional extra

        from ._metrics import Metrics

        address = _address(option)
        assert address is not None, "it was checked"
        self._look: Callable[[], Seen] | None = None
        self._metrics = Metrics(lambda: None if self._look is None else self._look())
        registry = CollectorRegistry()
        registry.register(self._metrics)
        listener = _listen(*address)
        WSGIServer(listener, make_wsgi_app(registry), log=None, error_log=logging.getLogger("hs_drill")).start()

    def show(self, look: Callable[[], Seen], batch_listeners: list[Callable[[Batch], None]]) -> None:
        """Show the runs of a session."""
        self._look = look
        batch_listeners.append(self._metrics.count)


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        sys.stderr.write(f"--metrics cannot listen on {where}: {error.strerror}; choose another port or host\n")
        sys.exit(ExitCode.START_FAILED)
    return listener
