"""Carries out one operation: picks the pool, retries, hedges."""

from ._dispatcher import Dispatcher, RetryPolicy, Row, named

__all__ = ["Dispatcher", "RetryPolicy", "Row", "named"]
