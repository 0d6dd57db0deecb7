"""Declared columns: the declaration of a table, and the conversion of its values by column type.

``_describe`` is not imported here: only ``python -m trio_hs describe`` needs it.
"""

from ._codec import RawToken, TypedCodec
from ._declaration import Column, Columns, IndexPart, KeyPart
from ._keyset import Keyset, extreme, keyset
from ._safe_writes import encode_inserted, encode_step, require_writable

__all__ = [
    "Column",
    "Columns",
    "IndexPart",
    "KeyPart",
    "Keyset",
    "RawToken",
    "TypedCodec",
    "encode_inserted",
    "encode_step",
    "extreme",
    "keyset",
    "require_writable",
]
