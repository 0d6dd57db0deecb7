"""Executes one operation: picks the pool, retries, hedges."""

from ._dispatcher import Dispatcher
from ._retry import RetryPolicy
from ._rows import Row, named

__all__ = ["Dispatcher", "RetryPolicy", "Row", "named"]
