"""The scenario: which servers a run has, what load and faults they get, and what is expected of them.

Each concern is a top-level key. The larger ones have a module each: `_mix`, `_load`, `_faults`, `_expect`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, ValidationInfo, model_validator

from hs_drill._cluster import SUITES, VERSION, ClusterKind, Replication, Topology

from ._audited import unchecked_read
from ._base import Model, PlacedError, refuse, unknown_key
from ._command_checks import mistakes_in_commands, mistakes_through_commands
from ._commands import CommandSpec, PrimarySpec
from ._expect import BEFORE_SECONDS, ERROR_ALIASES, SESSION_GUARANTEES, Expect
from ._external import ExternalServer, named_servers
from ._faults import BY_COMMAND, AnyFault, Fault, NetworkFault
from ._load import Load
from ._mix import KINDS, READS, WRITES, Keys, KeysOrName, Mix
from ._mix_checks import mistakes_in_operations
from ._operations import OperationSpec, operations_of
from ._router import RouterSpec, mistakes_of_router, mistakes_through_router
from ._table import VERSION_WIDTH, TableSpec
from ._targets import not_on, replication_missing, unknown_target
from ._timeline import clash, too_many
from ._twin_checks import mistakes_through_twin

__all__ = [
    "VERSION_WIDTH",
    "AuditSpec",
    "ClusterSpec",
    "Scenario",
    "TableSpec",
]

KEPT = {"kept": True}
"""Validation context for the scenario of a kept run."""


def _is_kept(info: ValidationInfo) -> bool:
    return bool((info.context or {}).get("kept"))


class ClusterSpec(Model):
    """Which servers to start."""

    kind: ClusterKind = "auto"
    """`auto` takes the first kind that works on this machine and says which."""
    version: Annotated[str, Field(pattern=VERSION)] | None = None
    """The servers' version, such as "11.8", in quotes. Containers run it, embedded servers answer as it, and other servers
    are refused unless they have it. By default any will do, and containers run 10.11."""
    readers: int = Field(default=2, ge=1, le=16)
    standby: bool = False
    """Another replica, which gets no operations. It can be promoted to take the writes."""
    replication: Replication = "async"
    """`semisync`: a logged write is acknowledged once a replica has fetched it. `none`: servers do not replicate."""
    topology: Topology = "plain"
    """`plain`: writes go straight to InnoDB; stock MariaDB does not replicate them (MDEV-33967). `write-through`: writes go
    through SQL and reach the readers, but are slower."""
    servers: list[ExternalServer] = Field(default=[])
    """Your own servers, for kind `external`. They determine `readers` and `standby`."""
    router: RouterSpec | None = None
    """What stands between clients and `external` servers, if anything does: clients know nothing else."""
    primary: PrimarySpec | None = None
    """How the run finds out which of `external` servers is the primary, while the load runs."""
    commands: dict[str, CommandSpec] = Field(default={}, json_schema_extra={"propertyNames": {"enum": list(BY_COMMAND)}})
    """Name of a fault -> your command that does it on `external` servers."""
    create_table: bool = False
    """Whether the run may create its table on `external` servers if it is missing. It drops what it created at the end."""

    @model_validator(mode="before")
    @classmethod
    def _count_servers(cls, data: Any) -> Any:
        """Fill in `readers` and `standby`."""
        servers = data.get("servers") if isinstance(data, dict) else None
        if not isinstance(servers, list) or not servers:
            return data
        names = [str(server.get("name")) for server in servers if isinstance(server, dict)]
        readers = sum(name.startswith("reader-") for name in names)
        counted = {"readers": max(readers, 1), "standby": "standby" in names}  # `named_servers` reports a missing reader better
        return {**counted, **data}

    @model_validator(mode="after")
    def _check_version(self) -> Self:
        if self.version is not None and self.kind in ("docker", "embedded") and self.version not in SUITES:
            raise PlacedError(("version",), f"must be {' or '.join(SUITES)} for kind {self.kind}, not {self.version}")
        return self

    @model_validator(mode="after")
    def _check_replication(self, info: ValidationInfo) -> Self:
        if self.replication != "none" or _is_kept(info):  # older versions ran such scenarios
            return self
        if self.standby:
            raise PlacedError(
                ("replication",),
                "cannot be none with a standby, which must replicate: what clients write there when they lose the writer never "
                "reaches the writer. Leave the standby out, or name it as a reader",
            )
        for number, server in enumerate(self.servers):
            if server.name.startswith("reader-") and server.sql_port is None and server.write_port is None:
                needs = f"{server.name} needs a sql_port or a write_port: with replication: none its rows are loaded there too"
                raise PlacedError(("servers", number), needs)
        return self

    @model_validator(mode="after")
    def _check_commands(self) -> Self:
        refuse(mistakes_in_commands(self))
        refuse(mistakes_of_router(self))
        return self

    @model_validator(mode="after")
    def _check_servers(self) -> Self:
        if self.servers:
            if self.kind != "external":
                raise PlacedError(("kind",), f"must be external when servers are given, not {self.kind}")
            counted = named_servers(self.servers)
            if counted != (self.readers, self.standby):
                raise ValueError("leave out readers and standby: servers determine them")
        return self


def _from_bool(value: object) -> object:
    return value if isinstance(value, Mapping | BaseModel) else {"enabled": value}


class AuditSpec(Model):
    """Whether a history is kept and every acknowledged write checked against it. `audit: false` switches it off."""

    enabled: bool | None = None
    """If not given: when the mix has writes. Without a mix, `true` audits what the users' code does with `self.rows`."""
    reads: float = Field(default=0.1, ge=0, le=1)
    """The share of the successful reads that the history keeps. It keeps every failed read."""


def _from_name(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


class DriverSpec(Model):
    """How the load reaches the servers. A bare word is the name."""

    name: Literal["handlersocket", "sql"] = "handlersocket"
    """`sql`: the same operations by SQL, with mysqlclient, to compare with HandlerSocket."""
    connections: int = Field(default=64, ge=1, le=10_000)
    """At most this many SQL connections of each worker to each server. HandlerSocket needs one."""


class Scenario(Model):
    """One run, as its YAML file describes it."""

    name: str = Field(min_length=1, max_length=200)
    description: str = ""
    cluster: ClusterSpec = ClusterSpec()
    table: TableSpec = TableSpec()
    load: Load = Load()
    driver: Annotated[DriverSpec, BeforeValidator(_from_name)] = DriverSpec()
    mix: Mix | None = None
    """Not needed if all users are classes of Python code."""
    keys: KeysOrName = Keys()
    """Which rows the operations touch."""
    audit: Annotated[AuditSpec, BeforeValidator(_from_bool)] = AuditSpec()
    faults: list[AnyFault] = Field(default=[])
    """What goes wrong, and when."""
    expect: Expect = Expect()
    seed: int = Field(default=1, ge=0, le=2**63 - 1)
    """The same seed draws the same operations on the same keys."""

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        if self.audited and not self.table.declared and self.table.value_size.smallest < VERSION_WIDTH:
            raise PlacedError(
                ("table", "value_size"),
                f"must be {VERSION_WIDTH} or more in an audited run, where each value begins with its version, "
                f"not {self.table.value_size.smallest}; or say `audit: false`",
            )
        refuse(mistakes_in_operations(self))
        self._check_table()
        self._check_latest()
        for number, fault in enumerate(self.faults):
            self._check_fault(number, fault)
        refuse(mistakes_through_commands(self))
        refuse(mistakes_through_router(self))
        for kind in self.expect.errors:
            if self.driver.name == "sql" and ERROR_ALIASES.get(kind, kind) == "IndexedConnectionError":
                never = "cannot happen with `driver: sql`, for it is an error of HandlerSocket: say ConnectionError"
                raise PlacedError(("expect", "errors", kind), never)
        kept = _is_kept(info)  # older versions ran such scenarios; the second fault failed
        if not kept and (wrong_at := too_many(self.faults, self.load.lasts)):
            raise PlacedError(("faults", wrong_at[0], "every"), wrong_at[1])
        if not kept and (wrong_at := clash(self.faults, self.cluster.readers, self.load.lasts)):
            raise PlacedError(("faults", wrong_at[0], "at"), wrong_at[1])
        if not self.audited and (needing := self.expect.needing_audit()):
            why = "needs the audit: leave `audit` out, or say `audit: true`"
            if self.mix is None:
                why = "needs the audit, which a run without a mix has only if you say `audit: true`"
            if self.table.existing:
                why = f"needs the audit, which existing tables do not have: leave `{needing[0]}` out"
            raise PlacedError(("expect", needing[0]), why)
        if self.expect.fenced and (self.cluster.kind not in ("auto", "external") or self.cluster.replication == "none"):
            raise PlacedError(("expect", "fenced"), "is for servers of your own that replicate: kind external")
        self._check_expected_reads()
        for name in self.expect.latency.operations():
            # Without a mix nobody knows yet which operations the users' code measures.
            if self.mix is not None and name not in (known := ("all", *self.weights)):
                wrong = "limits an operation that the mix does not have"
                raise PlacedError(("expect", "latency", name), wrong if name in KINDS else unknown_key(name, known))
        return self

    def _check_table(self) -> None:
        table, kind = self.table, self.cluster.kind
        if self.audited and table.version_column is None:
            without = "needs a column with `values: version`, such as a varchar(18), to say which write left a row"
            raise PlacedError(("audit",), f"{without}; leave `audit` out")
        if table.existing and kind not in ("auto", "external"):
            raise PlacedError(("table", "existing"), f"is for servers of your own: kind external, not {kind}")
        if kind == "embedded" and (missing := table.only_mariadb):
            name, what = next(iter(missing.items()))
            raise PlacedError(("table", "columns", name, "type"), f"{what}: use cluster kind mariadb or docker")
        if kind == "external" and self.cluster.create_table and not table.existing and table.keeps_no_trace:
            left = "a run cannot tell foreign rows from its own before it drops the table: add a column with `values: version`"
            raise PlacedError(("cluster", "create_table"), f"{left}, or create the table yourself")
        refuse(mistakes_through_twin(self))

    def _check_fault(self, number: int, fault: Fault) -> None:
        routed = self.cluster.router is not None
        if wrong := unknown_target(fault, self.cluster.readers, self.cluster.standby, routed=routed):
            raise PlacedError(("faults", number, "target"), wrong)
        if fault.at >= self.load.lasts:
            late = f"must be less than the run ({self.load.lasts:g} s), or it never strikes"
            raise PlacedError(("faults", number, "at"), late)
        if fault.at < self.load.warm_up:
            early = f"must be load.warm_up ({self.load.warm_up:g} s) or more, or its effect is not counted"
            raise PlacedError(("faults", number, "at"), early)
        if self.expect.recovery.steady is not None and fault.at < (least := self.load.warm_up + BEFORE_SECONDS):
            early = f"must be {least:g} s or more: expect.recovery compares with what was counted before the first fault"
            raise PlacedError(("faults", number, "at"), early)
        if self.driver.name == "sql" and fault.only_handlersocket:
            unaffected = f"{fault.name} strikes between HandlerSocket and its clients, and does not affect `driver: sql`"
            raise PlacedError(("faults", number, "fault"), unaffected)
        if self.driver.name == "sql" and isinstance(fault, NetworkFault) and fault.listener != "both":
            one_port = f"must be both, not {fault.listener}: `driver: sql` reads and writes on one port; leave it out"
            raise PlacedError(("faults", number, "listener"), one_port)
        if self.driver.name == "sql" and getattr(fault, "drain", False):
            unaffected = "ends HandlerSocket first, which does not affect `driver: sql`: leave it out"
            raise PlacedError(("faults", number, "drain"), unaffected)
        cluster = self.cluster
        if wrong := not_on(fault, cluster.kind, cluster.commands) or replication_missing(
            fault, cluster.replication, cluster.kind
        ):
            raise PlacedError(("faults", number, "fault"), wrong)

    def _check_expected_reads(self) -> None:
        """Expectations of reads need reads in the mix and in the history."""
        if self.mix is None:  # the users' code may read rows
            return
        reads = [one for one in self.operations if one.do in READS]
        if not reads:
            wrong = f"is about reads, but the mix has none of {', '.join(READS)}"
        elif self.audited and (unchecked := [unchecked_read(self, one) for one in reads]) and all(unchecked):
            wrong = f"is about reads that the audit checks, but {reads[0].name} {unchecked[0]}, nor does another read"
        elif not self.audit.reads:
            wrong = "is about reads, but none is kept: audit.reads must be more than 0"
        else:
            return
        for name in ("staleness", *SESSION_GUARANTEES, "linearizable"):
            if name in self.expect.needing_audit():
                raise PlacedError(("expect", name), wrong)

    def _check_latest(self) -> None:
        drawn_by = self.drawn_by
        for one in self.operations:
            if drawn_by[one.name].distribution != "latest" or one.do in ("insert", "delete"):  # these draw no rows
                continue
            if one.do not in READS:
                writes = f"`latest` is for {', '.join(READS)}: give {one.name} keys of its own, such as `keys: uniform`"
                raise PlacedError(("mix", one.name), writes)
            if not any(other.do == "insert" for other in self.operations):
                raise PlacedError(("mix", one.name), "`latest` reads what the run inserts: the mix needs insert")
            if self.cluster.topology == "plain" and self.driver.name != "sql" and not one.primary:
                plain = (
                    "`latest` needs cluster.topology: write-through, for with `plain` inserts reach no reader; or from: primary"
                )
                raise PlacedError(("mix", one.name), plain)

    @property
    def operations(self) -> tuple[OperationSpec, ...]:
        """The operations that take part in the load, in the order in which `mix` has them."""
        return operations_of(self)

    @property
    def weights(self) -> dict[str, float]:
        """The operations that take part, with their weights."""
        return {} if self.mix is None else self.mix.weights()

    @property
    def drawn_by(self) -> dict[str, Keys]:
        """How each operation draws its rows."""
        return {} if self.mix is None else self.mix.keys(self.keys)

    @property
    def writes(self) -> bool:
        """Whether any operation changes rows. Without a mix the users' code may, in a table of the run's own."""
        if self.mix is None:
            return not self.table.existing
        return any(one.do in WRITES for one in self.operations)

    @property
    def audited(self) -> bool:
        """Whether the run keeps a history."""
        if self.audit.enabled is None:
            return self.mix is not None and self.writes and self.table.version_column is not None
        return self.audit.enabled
