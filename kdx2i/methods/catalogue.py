"""The architectures of the suite: every package of this room that declares an `ARCHITECTURE`. Torch-free."""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import kdx2i.methods
from kdx2i.methods.architecture import Architecture


@cache
def architectures() -> Mapping[str, Architecture]:
    """Return the registered architectures by name."""
    packages = [
        importlib.import_module(f"{kdx2i.methods.__name__}.{module.name}")
        for module in pkgutil.iter_modules(kdx2i.methods.__path__)
        if module.ispkg
    ]
    declared = (getattr(package, "ARCHITECTURE", None) for package in packages)
    return MappingProxyType({entry.name: entry for entry in declared if isinstance(entry, Architecture)})
