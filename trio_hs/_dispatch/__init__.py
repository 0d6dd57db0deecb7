"""Carries out one operation: picks the pool, retries, hedges."""

from ._dispatcher import Caller, RetryPolicy, Row, named

__all__ = ["Caller", "RetryPolicy", "Row", "named"]
