"""kdx2i: reproduce "Distilling GANs with style-mixed triplets for X2I translation with limited data".

Importing this package imports no torch and no pandas: Snakemake parses the workflow with it many times. What
notebooks use is imported when it is asked for.
"""

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
