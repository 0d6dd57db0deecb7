"""Which acknowledged writes were lost, applied twice or served stale. Pure: files in, findings out."""

from __future__ import annotations

from ._audit import Audit, Check, Validity, audit
from ._split_brain import split_brain_line
from ._table import AuditedTable
from ._takeover import NOT_KNOWN

__all__ = [
    "NOT_KNOWN",
    "Audit",
    "AuditedTable",
    "Check",
    "Validity",
    "audit",
    "split_brain_line",
]
