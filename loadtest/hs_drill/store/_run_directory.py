"""The directory of a run, from which the run can be judged again: `runs/<time>-<scenario>/`.

scenario.yaml      what was run, including changes by the command line
checksums          of scenario.yaml, environment.json, writing, primary, deaths and result.json
history-N.bin      what worker N did; history-controller.bin has the faults
batches.bin        the statistics of all engines, as they came
before.bin         rows of the primary before the run, if it was not the first on its servers
final-NAME.bin     rows of each server at the end
before-image.bin   of a run that may write to a table that existed: what each row held that it may change
writing            of a run that may write to a table that existed: it has begun to write
primary            the name of the server that took the writes at the end
deaths             of a run without a verdict: which processes of the harness died
environment.json   the machine, and versions
commands.txt       what commands of the user's own printed; healed.txt: the `heal`s that ran when the run's process had died
latencies.csv      how long operations took, by second and in total
result.json        the verdict
report.html        the verdict for people, with charts

The files of histories, statistics and rows have checksums inside. A damaged file is never judged as if it were whole: it makes
the run inconclusive, or raises `RunDirectoryError`. Runs of older versions have no checksums and are read without.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import msgpack
import yaml

from hs_drill.metrics import Batch
from hs_drill.scenario import Scenario, ScenarioError, load_scenario, without_secrets

from ._blocks import BlockError, Blocks, block_of
from ._durable import Hold, sync
from ._history import History, HistoryError

__all__ = ["RunDirectory", "RunDirectoryError", "analyze_command", "cannot_keep", "require_place"]

BASE = Path("runs")
BATCHES_MAGIC = b"trio-hs\x00\x02batches\n"
"""At the beginning of batches.bin. In runs of older versions the file is packed batches alone, without magic and blocks."""
CHECKSUMS = "checksums"
_CHECKSUM = re.compile(r"([0-9a-f]{8}) (scenario\.yaml|environment\.json|writing|primary|deaths|result\.json)")
CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
CONTROLLER = -1


class RunDirectoryError(Exception):
    """No run can be read or kept there; one line for the user."""


def cannot_keep(error: BaseException) -> str | None:
    """One line for the user if the disk or its permissions are the cause of an error; None for any other error."""
    if isinstance(error, OSError) and error.errno in CANNOT_WRITE:
        return f"the run cannot be kept: {error.strerror}"
    return None


def require_place(base: Path = BASE) -> None:
    """Check that runs can be kept, before servers are started. Raises `RunDirectoryError`."""
    place = base if base.exists() else base.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise RunDirectoryError(f"{base.absolute()}: cannot keep runs there: start Locust in a directory that you may write to")


class Batches:
    """Iterates over the statistics of a run, as often as wanted. Raises `RunDirectoryError`."""

    def __init__(self, path: Path, view: Callable[[Batch], Batch] = lambda batch: batch) -> None:
        self._path = path
        self._view = view
        self.complete = True
        """Nothing is known to be missing at the end. Valid after an iteration."""

    def of_servers(self) -> Batches:
        """The same batches through `Batch.of_servers`."""
        return Batches(self._path, Batch.of_servers)

    def of_engines(self) -> Batches:
        """The same batches through `Batch.of_engines`."""
        return Batches(self._path, Batch.of_engines)

    def __iter__(self) -> Iterator[Batch]:
        self.complete = True
        try:
            for data in self._packed():
                yield self._view(Batch.from_wire(data))
        except FileNotFoundError:
            return
        except BlockError as error:
            raise RunDirectoryError(f"{self._path}: {error}") from error
        except (msgpack.UnpackException, ValueError, TypeError, KeyError, AttributeError) as error:
            raise RunDirectoryError(f"{self._path}: is damaged: {type(error).__name__}: {error}") from error

    def _packed(self) -> Iterator[Any]:
        with self._path.open("rb") as file:
            if file.read(len(BATCHES_MAGIC)) != BATCHES_MAGIC:
                file.seek(0)
                yield from msgpack.Unpacker(file, strict_map_key=False)
                return
        blocks = Blocks(self._path, len(BATCHES_MAGIC))
        for block in blocks:
            yield msgpack.unpackb(block, strict_map_key=False)
        self.complete = blocks.closed


class RunDirectory:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, scenario: Scenario, base: Path = BASE) -> RunDirectory:
        """Create a new directory, with the scenario in it. Raises OSError."""
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
            directory = cls(path.absolute())
            directory._write("scenario.yaml", yaml.safe_dump(kept, sort_keys=False, allow_unicode=True))
            return directory
        raise FileExistsError(f"{base} already has 999 runs of this second")

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """An existing directory. Raises `RunDirectoryError`."""
        if not (path / "scenario.yaml").is_file():
            raise RunDirectoryError(f"{path}: is not a kept run (it has no scenario.yaml)")
        return cls(path)

    def scenario(self) -> Scenario:
        """The scenario that was run. Raises `ScenarioError`, and `RunDirectoryError` when the file was changed."""
        self._verify("scenario.yaml", (self.path / "scenario.yaml").read_bytes())
        return load_scenario(self.path / "scenario.yaml", kept=True)

    def history(self, worker: int) -> Path:
        return self.path / f"history-{'controller' if worker == CONTROLLER else worker}.bin"

    def histories(self) -> list[Path]:
        return sorted(self.path.glob("history-*.bin"))

    def open_histories(self) -> tuple[list[History], list[str]]:
        """The histories that can be opened, and for each of the others a line that says why not."""
        opened, unreadable = [], []
        for path in self.histories():
            try:
                opened.append(History(path))
            except HistoryError as error:
                unreadable.append(str(error))
        return opened, unreadable

    def final(self, server: str) -> Path:
        return self.path / f"final-{server}.bin"

    @property
    def before(self) -> Path:
        return self.path / "before.bin"

    @property
    def before_image(self) -> Path:
        return self.path / "before-image.bin"

    def hold(self) -> Hold:
        """Show other processes that this one works on the run. Raises `HeldError` if another one does."""
        return Hold(self.path)

    def keep_scenario(self) -> None:
        """Keep the scenario even if the machine crashes: without it nothing could be put back. Raises `RunDirectoryError` if it
        could not be read back, and OSError."""
        try:
            self.scenario()
        except ScenarioError as error:
            first = str(error).splitlines()[0]
            raise RunDirectoryError(
                f"hs-drill restore could not read this run's scenario: {first}. Nothing was written"
            ) from error
        # The names, too: that of this directory, and that of the one which keeps all runs.
        for path in (self.path / "scenario.yaml", self.path / CHECKSUMS, self.path, self.path.parent, self.path.parent.parent):
            sync(path)

    def begin_writing(self) -> None:
        """Keep, even if the machine crashes, that the run may write to a user's table from now on."""
        self._write("writing", "From now on the run may write to the table.\n")
        for path in (self.path / "writing", self.path / CHECKSUMS, self.path):
            sync(path)

    def may_have_written(self) -> bool:
        """Whether the run may have written to a user's table. False is certain: nothing is missing that would say so."""
        listed, damaged = self._checksums()
        begun = (self.path / "writing").exists() or "writing" in listed or (self.path / "batches.bin").exists()
        engines = any(path != self.history(CONTROLLER) for path in self.histories())
        return begun or engines or bool(damaged) or "scenario.yaml" not in listed

    def mark_restored(self) -> None:
        """Keep that everything which the run changed has been put back."""
        path = self.path / "restored"
        path.write_text(time.strftime("%Y-%m-%d %H:%M:%S"))
        sync(path)

    def restored(self) -> str:
        """When everything was put back; empty if it was not."""
        path = self.path / "restored"
        return path.read_text() if path.exists() else ""

    def keep_log(self, server: str, text: str) -> Path:
        """Append the log of a server that died."""
        path = self.path / f"died-{server}.log"
        with path.open("a") as file:
            file.write(text)
        return path

    def add_batch(self, batch: Mapping[str, Any]) -> None:
        """Keep a batch as it came over the wire."""
        self._add_block(msgpack.packb(batch))

    def close_batches(self) -> None:
        """Mark the end of the batches. A file without this mark was cut."""
        self._add_block(b"")

    def _add_block(self, payload: bytes) -> None:
        with (self.path / "batches.bin").open("ab") as file:
            size = file.tell() or file.write(BATCHES_MAGIC)
            file.write(block_of(payload, size))

    def batches(self) -> Batches:
        return Batches(self.path / "batches.bin")

    def write_primary(self, name: str) -> None:
        """Keep the name of the server that took the writes at the end."""
        self._write("primary", name)

    def primary(self) -> str:
        """The name of the server that took the writes at the end. Raises `RunDirectoryError`."""
        return self._read("primary") or "writer"

    def write_deaths(self, lines: Sequence[str]) -> None:
        """Keep which processes of the harness died, a line for each, where the controller can give no verdict."""
        self._write("deaths", "".join(f"{line}\n" for line in lines))

    def deaths(self) -> list[str]:
        """The lines of `write_deaths`. Raises `RunDirectoryError`."""
        return (self._read("deaths") or "").splitlines()

    def write_result(self, result: Mapping[str, Any]) -> None:
        self._write("result.json", json.dumps(result, indent=2) + "\n")

    def result(self) -> dict[str, Any] | None:
        """The verdict that was given, or None. Raises `RunDirectoryError`."""
        return self._read_json("result.json")

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        self._write("environment.json", json.dumps(environment, indent=2) + "\n")

    def environment(self) -> dict[str, Any]:
        """The kept environment; empty if there is none. Raises `RunDirectoryError`."""
        return self._read_json("environment.json") or {}

    def _write(self, name: str, text: str) -> None:
        data = text.encode()
        (self.path / name).write_bytes(data)
        with (self.path / CHECKSUMS).open("a") as file:
            file.write(f"{crc32(data):08x} {name}\n")

    def _read(self, name: str) -> str | None:
        """The text of a file; None if it was never written."""
        try:
            data = (self.path / name).read_bytes()
        except FileNotFoundError:
            if self._checksum(name) is not None:
                raise RunDirectoryError(f"{self.path / name}: is missing, but {CHECKSUMS} lists it") from None
            return None
        self._verify(name, data)
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise RunDirectoryError(f"{self.path / name}: is damaged: {error}") from error

    def _read_json(self, name: str) -> dict[str, Any] | None:
        text = self._read(name)
        if text is None:
            return None
        try:
            data = json.loads(text)
        except ValueError as error:
            raise RunDirectoryError(f"{self.path / name}: is damaged: {error}") from error
        if not isinstance(data, dict):
            raise RunDirectoryError(f"{self.path / name}: is damaged: it is not a mapping")
        return data

    def _verify(self, name: str, data: bytes) -> None:
        """Check that a file is as it was written, if that is known. Raises `RunDirectoryError`."""
        if self._checksum(name) not in (None, crc32(data)):
            changed = f"is damaged, or was changed after the run (to judge it as it is now, delete its line in {CHECKSUMS})"
            raise RunDirectoryError(f"{self.path / name}: {changed}")

    def lost_checksums(self) -> bool:
        """Whether the file of the checksums was removed. Older versions kept none, and no magic in the statistics."""
        try:
            with (self.path / "batches.bin").open("rb") as file:
                return file.read(len(BATCHES_MAGIC)) == BATCHES_MAGIC and not (self.path / CHECKSUMS).exists()
        except FileNotFoundError:
            return False

    def _checksum(self, name: str) -> int | None:
        """The checksum of a small file, if it is known. Raises `RunDirectoryError` if its line may be a damaged one."""
        known, damaged = self._checksums()
        if name not in known and damaged:
            raise RunDirectoryError(f"{self.path / CHECKSUMS}: is damaged: line {damaged} is not a checksum of a file of a run")
        return known.get(name)

    def _checksums(self) -> tuple[dict[str, int], int]:
        """The known checksums of the small files, and the number of the first damaged line, or 0."""
        try:
            lines = (self.path / CHECKSUMS).read_bytes().decode("ascii", "replace").splitlines()
        except FileNotFoundError:
            return {}, 0
        known = [_CHECKSUM.fullmatch(line) for line in lines]
        damaged = known.index(None) + 1 if None in known else 0
        return {found[2]: int(found[1], 16) for found in known if found is not None}, damaged

    @property
    def latencies(self) -> Path:
        return self.path / "latencies.csv"

    @property
    def commands(self) -> Path:
        return self.path / "commands.txt"

    @property
    def report(self) -> Path:
        return self.path / "report.html"


def analyze_command(directory: str) -> str:
    """The command line that judges a kept run."""
    return f"hs-drill analyze {shlex.quote(directory)}"
