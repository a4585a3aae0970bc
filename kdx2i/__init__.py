"""kdx2i: reproduce "Distilling GANs with style-mixed triplets for X2I translation with limited data".

Importing this package imports no torch and no pandas: Snakemake parses the workflow with it many times. What
notebooks use is imported when it is asked for.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import source_hash
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdx2i.frames import load_published, load_results

__version__ = "0.1.0"
__all__ = ["__version__", "load_published", "load_results"]

if not TYPE_CHECKING:  # A type checker would take any name for an attribute.

    def __getattr__(name: str) -> Any:
        """Import what notebooks use (PEP 562)."""
        if name in ("load_published", "load_results"):
            from kdx2i import frames

            return getattr(frames, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        """Name what can be imported too."""
        return sorted({*globals(), *__all__})


class _SourceLoader(SourceFileLoader):
    """Runs bytecode only where it carries the hash of the source that is there (PEP 552).

    Python's own names its source by time and size, which a checkout or a copy may leave as they were: old code would
    make a result, under the identity of the new.
    """

    _source = b""

    def get_data(self, path: str) -> bytes:
        """Read a file; bytecode that names its source by time is not there."""
        data = super().get_data(path)
        if path == self.path:
            self._source = data
        elif data[4:8] == bytes(4):
            raise OSError(f"{path} names its source by time")
        return data

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Write bytecode that names its source by hash, which is compared at each import."""
        checked_hash = (0b11).to_bytes(4, "little") + source_hash(self._source)
        super().set_data(path, data[:4] + checked_hash + data[16:], _mode=_mode)


class _Finder:
    """Finds this package's modules as Python does, and loads them with `_SourceLoader`."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return where a module of this package lies, None for all others."""
        if not name.startswith(f"{__name__}."):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _SourceLoader(spec.loader.name, spec.loader.path)
        return spec


sys.meta_path.insert(0, _Finder)
