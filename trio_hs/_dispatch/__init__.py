"""Executes one operation: picks the pool, retries, hedges."""

from ._dispatcher import Dispatcher
from ._many import get_many, insert_many
from ._retry import RetryPolicy, policy_of
from ._rows import Make, Row, Shape, flat, made, named, remade, shaped
from ._turns import encoded_in, in_turns

__all__ = [
    "Dispatcher",
    "Make",
    "RetryPolicy",
    "Row",
    "Shape",
    "encoded_in",
    "flat",
    "get_many",
    "in_turns",
    "insert_many",
    "made",
    "named",
    "policy_of",
    "remade",
    "shaped",
]
