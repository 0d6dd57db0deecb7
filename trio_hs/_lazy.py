"""Imports names of a package when they are first used (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module

__all__ = ["lazily"]


def lazily(package: str, names: Mapping[str, str]) -> Callable[[str], object]:
    """The ``__getattr__`` of a package. ``names`` are the modules below it, and the names in each, with blanks in between.

    A submodule can be had in the same way, as if the package had imported it.
    """
    module_of = {name: module for module, listed in names.items() for name in listed.split()}

    def __getattr__(name: str) -> object:
        if name in names:
            return import_module(f"{package}.{name}")
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(f"{package}.{module_of[name]}"), name)
        setattr(sys.modules[package], name, found)  # so that this is the only time
        return found

    return __getattr__
