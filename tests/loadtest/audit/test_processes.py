"""Audits by several processes: they say what one says, and nothing that is not so when one of them fails."""

from __future__ import annotations

import os
import pickle
import random
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hs_drill.audit import AuditedTable, _audit, _progress, _row_histories
from hs_drill.audit._audit import Validity
from hs_drill.audit._checker import Checker, Context
from hs_drill.audit._examination import CHECKERS, Examination
from hs_drill.audit._order_of_loss import OrderOfLoss
from hs_drill.audit._progress import Progress
from hs_drill.audit._register import Write
from hs_drill.audit._replicas import _Replicas
from hs_drill.audit._row_histories import Bucket, LeftOut
from hs_drill.scenario import parse_scenario
from hs_drill.store import FORMER_PRIMARY, TWO_PRIMARIES, Event, MixOperation, Operation, Outcome, TwoPrimaries
from hs_drill.workload import DAMAGED, FOREIGN
from tests.loadtest.support.audited import NEW, insert
from tests.loadtest.support.histories import US, Op, Rows, Store, audit_of, folder
from tests.loadtest.support.promotions import answered
from tests.support.amount import amount

SCENARIO = """
name: own
table:
  name: own
  columns:
    region: {type: varchar(4), values: eu}
    id:     {type: bigint, values: sequence}
    name:   {type: varchar(40), values: {text: 8}}
    note:   {type: varchar(18), values: version}
  primary: [region, id]
mix: {rename: {do: update, set: [name, note], weight: 1}}
"""
randoms = st.randoms(use_true_random=False)


def wronged(rng: random.Random, steps: int, loaded: int) -> tuple[list[Op], Rows]:
    """The history of a store, and a final state, with mistakes of every kind."""
    store = Store(rng, loaded, general=rng.random() < 0.5)
    store.run(steps)
    versions = [op.value for op in store.ops if op.operation in ("insert", "update")] + [0, 77, DAMAGED, FOREIGN]
    ops = [
        replace(op, value=rng.choice(versions), n=rng.randrange(-3, 9)) if op.operation == "get" and rng.random() < 0.4 else op
        for op in store.ops
    ]
    rows = {
        key: (rng.choice(versions) if rng.random() < 0.3 else row[0], row[1] + rng.choice([0, 0, 0, 1, -1, 7]))
        for key, row in store.rows.items()
        if rng.random() < 0.9
    }
    return ops, rows


def failover(rng: random.Random, end: int) -> list[Event]:
    """A promotion, and for some time two primaries."""
    times = [rng.uniform(0, end) for _ in range(3)]
    promoted, first, last = (round(time) for time in sorted(times))
    beside = {"servers": ["writer", "standby"], "first": first * US, "last": rng.choice([None, last * US])}
    events = [
        Event(promoted, "promotion", "standby"),
        answered("writer", 0, last / 1e6),
        answered("standby", promoted / 1e6, end / 1e6),
    ]
    looks = {"promoted": "standby", "known": True, "closed": [], "open": [[first * US, last * US]]}
    more = [Event(end, TWO_PRIMARIES, "standby", beside), Event(end, FORMER_PRIMARY, "writer", looks)]
    return events + [event for event in more if rng.random() < 0.5]


@contextmanager
def small_buckets() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_row_histories, "BUCKET_ENTRIES", 7)
        yield patch


def dealt_at_random(rng: random.Random) -> Callable[..., None]:
    """Instead of `examine_in_processes`: in one process, but with all that is pickled."""

    def examine(
        examination: Examination, buckets: Sequence[Bucket], file: int, processes: int, progress: Callable[[int], None]
    ) -> None:
        shares: list[Examination] = [pickle.loads(pickle.dumps(examination)) for _ in range(processes)]
        for bucket in rng.sample(buckets, len(buckets)):
            rng.choice(shares).examine(bucket, file)
            progress(bucket.operations_count)
        for share in shares:
            examination.merge(pickle.loads(pickle.dumps(share)))

    return examine


@given(randoms, st.integers(0, 400), st.sampled_from([3, 40]), st.booleans())
@settings(max_examples=amount(15, 1000))
def test_what_several_found_is_what_one_finds(rng: random.Random, steps: int, loaded: int, primary: bool) -> None:
    ops, rows = wronged(rng, steps, loaded)
    more: dict[str, Any] = {"loaded": loaded, "reads_primary": primary, "staleness": rng.choice([0.0, 5e-6])}
    more |= {"cut": rng.choice([[], [], [], [1]]), "primary": "standby"}
    more["events"] = failover(rng, max((op.end for op in ops), default=3)) if rng.random() < 0.7 else []
    with folder() as one, folder() as several, small_buckets() as patch:
        patch.setattr(_audit, "examine_in_processes", dealt_at_random(rng))
        expected = audit_of(one, ops, rows, processes=1, **more)
        found = audit_of(several, ops, rows, processes=3, **more)
    assert str(found.to_dict()).replace(str(several), str(one)) == str(expected.to_dict())
    assert (found.lags and found.lags.to_dict()) == (expected.lags and expected.lags.to_dict())


def kinds(of: type[Checker] = Checker) -> Iterator[type[Checker]]:
    """Every class of checkers."""
    for kind in of.__subclasses__():
        yield kind
        yield from kinds(kind)


@pytest.mark.parametrize("kind", [kind for kind in kinds() if kind is not _Replicas])
def test_every_number_of_a_checker_is_merged(kind: type[Checker]) -> None:
    context = Context(two_primaries=[TwoPrimaries("writer", "standby", 1, 2)])
    one, other = kind(context), kind(context)
    numbers = [name for name, value in vars(one).items() if isinstance(value, int)]
    for name in numbers:
        setattr(other, name, 7)
    one.merge(other)
    assert {name: getattr(one, name) for name in numbers} == dict.fromkeys(numbers, 7)


def test_the_order_of_loss_and_the_rows_left_out_are_merged() -> None:
    """Few histories at random tell of these."""
    one, other = OrderOfLoss((0, 100)), OrderOfLoss((0, 100))
    rename = MixOperation(5, "update", Operation.UPDATE)
    one.survived(7, 30, 31)
    other.survived(8, 40, 41)
    for end in (35, 45):
        other.lost(Write(end - 1, end, 5, rename, Outcome.OK))
    one.merge(other)
    assert (one.newest, one.newest_key, one.holes, one.known) == (40, 8, 1, True)
    left_out = LeftOut(2, (30, 7))
    for inserts, newest in [(3, (20, 9)), (4, None), (5, (40, 8))]:
        left_out.merge(LeftOut(inserts, newest))
    assert left_out == LeftOut(14, (40, 8))


# ---- with processes


class Processes:
    """The processes that were started."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.started: list[subprocess.Popen[bytes]] = []
        start = subprocess.Popen

        def record(*arguments: Any, **more: Any) -> subprocess.Popen[bytes]:
            self.started.append(start(*arguments, **more))
            return self.started[-1]

        patch.setattr(subprocess, "Popen", record)

    def all_ended(self) -> bool:
        return bool(self.started) and all(one.returncode is not None for one in self.started)


@pytest.mark.process
def test_the_rows_of_a_table_with_keys_of_its_own_are_told_by_other_processes_as_by_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_row_histories, "BUCKET_ENTRIES", 7)
    table = AuditedTable.of(parse_scenario(SCENARIO, "s.yaml"))
    mix = [MixOperation(6, "delete", Operation.DELETE), MixOperation(9, "rename", Operation.UPDATE, None, ("name", "note"))]
    ops = [Op("rename", key, NEW + key, 10 * key, 10 * key + 5) for key in range(1, 41)]
    rows = {key: table.loaded(key) for key in range(1, 41) if key % 3}
    found = []
    for processes in (1, 2):
        (path := tmp_path / str(processes)).mkdir()
        started = Processes(monkeypatch)
        found.append(audit_of(path, ops, rows, loaded=40, mix=mix, table=table, processes=processes).to_dict())
        assert len(started.started) == (0 if processes == 1 else 2)
    assert found[1] == found[0]
    assert found[0]["lost"]["count"] == 40
    assert found[0]["lost"]["findings"][0]["primary"] == "'eu', 1"


class Broken(AuditedTable):
    """A table of which a process that gets it does this."""

    does: ClassVar[tuple[Callable[..., Any], tuple[Any, ...]]]

    def __reduce__(self) -> Any:
        return self.does


class Killed(Broken):
    does = signal.raise_signal, (signal.SIGKILL,)


class Failing(Broken):
    does = int, ("x",)


@pytest.mark.process
@pytest.mark.parametrize(
    "table, why",
    [
        (Killed(), "cannot be checked: a process of the audit ended before its time: killed by SIGKILL"),
        (Failing(), "the checker failed: ValueError: invalid literal for int() with base 10: 'x'"),
    ],
)
def test_nothing_is_known_when_a_process_fails(
    table: AuditedTable, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_row_histories, "BUCKET_ENTRIES", 2)
    processes = Processes(monkeypatch)
    ops = [insert(NEW + number, NEW + number, number, number + 1) for number in range(9)]
    result = audit_of(tmp_path, ops, {}, table=table, reads_primary=True, processes=2)
    checks = {name: (check.verdict, check.explanation) for name, check in result.checks.items() if name != "replicas"}
    assert checks == {kind.name: (Validity.UNKNOWN, why) for kind in CHECKERS}
    assert processes.all_ended()


@pytest.mark.process
def test_no_process_outlives_an_audit_that_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_row_histories, "BUCKET_ENTRIES", 2)
    monkeypatch.setattr(_progress, "QUIET_SECONDS", 0)
    processes = Processes(monkeypatch)

    def report(line: str) -> None:
        if line.endswith("examined"):
            raise KeyboardInterrupt

    ops = [insert(NEW + number, NEW + number, number, number + 1) for number in range(9)]
    with pytest.raises(KeyboardInterrupt):
        audit_of(tmp_path, ops, {}, processes=2, report=report)
    assert processes.all_ended()


# ---- how many, and how far


@pytest.mark.parametrize("operations, cores, processes", [(40, 4, 4), (39, 4, 1), (40, 1, 1), (40, 100, 32)])
def test_a_long_run_is_audited_by_all_cores_that_may_be_used(
    operations: int, cores: int, processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = [1]
    monkeypatch.setattr(_row_histories, "BUCKET_ENTRIES", 1)
    monkeypatch.setattr(_audit, "PROCESSES_FROM", 40)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    monkeypatch.setattr(_audit, "examine_in_processes", lambda *arguments: used.append(arguments[3]))
    audit_of(tmp_path, [insert(NEW + number, NEW + number, number, number + 1) for number in range(operations)], {})
    assert used[-1] == processes


def test_it_says_every_two_seconds_how_far_it_is() -> None:
    lines: list[str] = []
    now = [0.0]
    progress = Progress(lines.append, 3000, clock=lambda: now[-1])
    for at, tell in [
        (1.9, progress.read),
        (2.0, progress.read),
        (3.9, progress.read),
        (3.95, progress.examined),
        (4.0, progress.examined),
        (9.0, progress.examined),
    ]:
        now.append(at)
        tell(1010)
    assert lines == [
        "audit: 2,020 of about 3,000 operations read",
        "audit: 2,020 of about 3,000 operations examined",
        "audit: 3,030 of about 3,030 operations examined",
    ]


def test_a_short_audit_says_nothing(tmp_path: Path) -> None:
    lines: list[str] = []
    audit_of(tmp_path, [insert(NEW, NEW, 1, 2)], {}, report=lines.append)
    assert not lines
