"""Declared columns: the types of a table, and the conversion of its values."""

from ._declaration import Column, Columns, IndexPart, KeyPart

__all__ = ["Column", "Columns", "IndexPart", "KeyPart"]
