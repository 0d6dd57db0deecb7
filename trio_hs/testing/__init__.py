"""What users need to test their own code: an embedded HandlerSocket server."""

from ._declaration import Table

__all__ = ["Table"]
