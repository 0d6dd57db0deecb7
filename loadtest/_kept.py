"""The directory in which a run is kept, so that it can be judged again without running it again.

runs/20260131-142530-reader-failover/
    scenario.yaml         as it was read
    cluster.json          the servers, without secrets
    history-0.bin ...     one per worker; history-controller.bin holds the events
    final-writer.bin ...  one per server that was read back
    result.json           the verdict
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from loadtest._final import FinalState, FinalStateError
from loadtest._history import History, HistoryError

__all__ = ["CONTROLLER", "RUNS", "KeptRun"]

RUNS = Path("runs")
CONTROLLER = -1
"""In the place of a worker's number."""
_NAME = re.compile(r"\d{8}-\d{6}-")


class KeptRun:
    """One run's directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, scenario: str, root: Path = RUNS) -> KeptRun:
        """Make a new directory, named after the local time and the scenario's name. Raises `OSError`."""
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", scenario).strip("-.")[:60] or "run"
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{plain}"
        root.mkdir(parents=True, exist_ok=True)
        for number in range(1, 1000):
            path = root / (name if number == 1 else f"{name}-{number}")
            try:
                path.mkdir()
            except FileExistsError:
                continue  # two runs within one second
            return cls(path)
        raise FileExistsError(f"{root / name} exists a thousand times")

    @classmethod
    def all(cls, root: Path = RUNS) -> list[KeptRun]:
        """The runs that are kept, the oldest first."""
        if not root.is_dir():
            return []
        return [cls(path) for path in sorted(root.iterdir()) if path.is_dir() and _NAME.match(path.name)]

    def history_path(self, worker: int) -> Path:
        """Where the history of a worker, or of the `CONTROLLER`, belongs."""
        return self.path / f"history-{'controller' if worker == CONTROLLER else worker}.bin"

    def final_path(self, server: str) -> Path:
        """Where the final state of a server belongs."""
        return self.path / f"final-{server}.bin"

    def histories(self) -> tuple[list[History], list[str]]:
        """Those that can be opened, and why others cannot: for `audit`."""
        opened, unreadable = [], []
        for path in sorted(self.path.glob("history-*.bin")):
            try:
                opened.append(History(path))
            except HistoryError as error:
                unreadable.append(str(error))
        return opened, unreadable

    def final_states(self) -> dict[str, FinalState]:
        """Server -> what it held, for those that were read back at least in part."""
        return dict(self._final_states())

    def _final_states(self) -> Iterator[tuple[str, FinalState]]:
        for path in sorted(self.path.glob("final-*.bin")):
            server = path.stem.removeprefix("final-")
            try:
                yield server, FinalState(path, server)
            except FinalStateError:
                pass  # not even its beginning was written: as good as not read back

    def write_scenario(self, text: str) -> None:
        """Keep the scenario file as it was read."""
        self._write("scenario.yaml", text)

    def write_cluster(self, cluster: Mapping[str, Any]) -> None:
        """Keep what `Cluster.to_dict` gives, without secrets and passwords."""
        self.write_json("cluster.json", _without_secrets(cluster))

    def write_json(self, name: str, data: Any) -> None:
        """Keep a document."""
        self._write(name, json.dumps(data, indent=1) + "\n")

    def read_json(self, name: str) -> Any:
        """A document that was kept. Raises `OSError` or `ValueError`."""
        return json.loads((self.path / name).read_text(encoding="utf-8"))

    def _write(self, name: str, text: str) -> None:
        # Whole or not at all, also when the harness is killed meanwhile.
        part = self.path / f".{name}.part"
        part.write_text(text, encoding="utf-8")
        os.replace(part, self.path / name)


def _without_secrets(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _without_secrets(value) for key, value in data.items() if not key.endswith(("secret", "password"))}
    if isinstance(data, list | tuple):
        return [_without_secrets(item) for item in data]
    return data
