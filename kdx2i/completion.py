"""The names that a shell completes on the command line of `kdx2i`; outside the repository there are none."""

from collections.abc import Callable, Iterable
from pathlib import Path

from kdx2i.config import find_root, names_in
from kdx2i.distill.transfers import TRANSFERS
from kdx2i.errors import UserError
from kdx2i.suite import catalogue


def _completer(names: Callable[[Path], Iterable[str]]) -> Callable[[str], list[str]]:
    """Return what Typer asks: those of the names that start like the word so far, sorted."""

    def complete(incomplete: str) -> list[str]:
        try:
            known = names(find_root())
        except UserError:  # A shell that completes shows no sentence.
            return []
        return sorted(name for name in known if name.startswith(incomplete))

    return complete


presets = _completer(lambda root: names_in(root / "benchmarks" / "presets"))
tables = _completer(lambda root: names_in(root / "benchmarks" / "tables"))
feature_networks = _completer(lambda root: names_in(root / "benchmarks" / "features"))
encoders = _completer(lambda root: names_in(root / "benchmarks" / "encoders"))
figures = _completer(lambda root: names_in(root / "benchmarks" / "figures"))
students = _completer(lambda root: names_in(root / "benchmarks" / "students"))
references = _completer(lambda root: [place.parent.name for place in root.glob("results/reference/*/tables")])
datasets = _completer(lambda root: names_in(root / "benchmarks" / "datasets"))
architecture_names = _completer(lambda _: catalogue().architectures)
transfer_names = _completer(lambda _: TRANSFERS)
