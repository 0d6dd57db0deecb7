"""Where a run is kept, so that it can be judged again: `runs/<time>-<scenario>/`.

scenario.yaml      what was run, with what the command line changed
history-N.bin      what worker N did; history-controller.bin has the faults
batches.bin        the statistics of all engines, as they came
before.bin         what the primary held before, in a run that was not the first on its servers
final-NAME.bin     what each server held at the end
environment.json   what it ran on
latencies.csv      how long operations took, by second and in total
result.json        the verdict
report.html        the same for people, with charts
"""

from __future__ import annotations

import errno
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgpack
import yaml

from loadtest._batch import Batch
from loadtest._external_servers import without_secrets
from loadtest._scenario import Scenario, load_scenario

__all__ = ["RunDirectory", "RunDirectoryError", "cannot_keep", "require_place"]

BASE = Path("runs")
CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
CONTROLLER = -1


class RunDirectoryError(Exception):
    """There is no run to be read there; one line for the user."""


def cannot_keep(error: BaseException) -> str | None:
    """One line for the user, when an error says that what a run does cannot be written down, which is no mistake of ours."""
    if isinstance(error, OSError) and error.errno in CANNOT_WRITE:
        return f"the run cannot be kept: {error.strerror}"
    return None


def require_place(base: Path = BASE) -> None:
    """See that runs can be kept, before servers are started for one. Raises `RunDirectoryError`."""
    place = base if base.exists() else base.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise RunDirectoryError(f"{base.absolute()}: cannot keep runs there: start Locust in a directory that you may write to")


class Batches:
    """The statistics of a run, read from its file as often as they are gone through. Raises `RunDirectoryError`."""

    def __init__(self, path: Path, view: Callable[[Batch], Batch] = lambda batch: batch) -> None:
        self._path = path
        self._view = view

    def of_servers(self) -> Batches:
        """The same as told by `Batch.of_servers`."""
        return Batches(self._path, Batch.of_servers)

    def of_engines(self) -> Batches:
        """The same as told by `Batch.of_engines`."""
        return Batches(self._path, Batch.of_engines)

    def __iter__(self) -> Iterator[Batch]:
        try:
            with self._path.open("rb") as file:
                for data in msgpack.Unpacker(file, strict_map_key=False):
                    yield self._view(Batch.from_wire(data))
        except FileNotFoundError:
            return
        except (msgpack.UnpackException, ValueError, TypeError, KeyError, AttributeError) as error:
            raise RunDirectoryError(f"{self._path}: is damaged: {type(error).__name__}: {error}") from error


class RunDirectory:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, scenario: Scenario, base: Path = BASE) -> RunDirectory:
        """A new directory. Raises OSError."""
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", scenario.name).strip("-.") or "run"
        stamp = time.strftime("%Y%m%d-%H%M%S")
        base.mkdir(parents=True, exist_ok=True)
        for number in range(1, 1000):
            path = base / (f"{stamp}-{name}" if number == 1 else f"{stamp}-{name}-{number}")
            try:
                path.mkdir()
            except FileExistsError:
                continue
            kept = scenario.model_dump(mode="json", by_alias=True, exclude_unset=True)
            if "servers" in kept.get("cluster", {}):
                kept["cluster"]["servers"] = [without_secrets(server) for server in kept["cluster"]["servers"]]
            (path / "scenario.yaml").write_text(yaml.safe_dump(kept, sort_keys=False))
            return cls(path.absolute())
        raise FileExistsError(f"{base} has a thousand runs of this second")

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """One that is there. Raises `RunDirectoryError`."""
        if not (path / "scenario.yaml").is_file():
            raise RunDirectoryError(f"{path}: is no kept run (it has no scenario.yaml)")
        return cls(path)

    def scenario(self) -> Scenario:
        """What was run. Raises ScenarioError."""
        return load_scenario(self.path / "scenario.yaml")

    def history(self, worker: int) -> Path:
        return self.path / f"history-{'controller' if worker == CONTROLLER else worker}.bin"

    def histories(self) -> list[Path]:
        return sorted(self.path.glob("history-*.bin"))

    def final(self, server: str) -> Path:
        return self.path / f"final-{server}.bin"

    @property
    def before(self) -> Path:
        return self.path / "before.bin"

    def keep_log(self, server: str, text: str) -> Path:
        """Add what a server that died had written to its log."""
        path = self.path / f"died-{server}.log"
        with path.open("a") as file:
            file.write(text)
        return path

    def add_batch(self, batch: Mapping[str, Any]) -> None:
        """Keep a batch as it came over the wire."""
        with (self.path / "batches.bin").open("ab") as file:
            file.write(msgpack.packb(batch))

    def batches(self) -> Batches:
        return Batches(self.path / "batches.bin")

    def write_result(self, result: Mapping[str, Any]) -> None:
        (self.path / "result.json").write_text(json.dumps(result, indent=2) + "\n")

    def result(self) -> dict[str, Any] | None:
        """The verdict that was given, if one was."""
        try:
            result: dict[str, Any] = json.loads((self.path / "result.json").read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise RunDirectoryError(f"{self.path / 'result.json'}: is damaged: {error}") from error
        return result

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        (self.path / "environment.json").write_text(json.dumps(environment, indent=2) + "\n")

    def environment(self) -> dict[str, Any]:
        """What it ran on; empty where that was not kept."""
        try:
            environment: dict[str, Any] = json.loads((self.path / "environment.json").read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return environment

    @property
    def latencies(self) -> Path:
        return self.path / "latencies.csv"

    @property
    def report(self) -> Path:
        return self.path / "report.html"
