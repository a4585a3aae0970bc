"""A leaf: one result, where it lies, what it is made from, and its identity."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from kdx2i.identity import code_hash, identity
from kdx2i.plan.kinds import Address, Kind
from kdx2i.plan.specs import Spec

SpecType = TypeVar("SpecType", bound=Spec, covariant=True)


@dataclass(frozen=True, eq=False)
class Leaf(Generic[SpecType]):
    """One result of the workflow: a split, student, run, evaluation, table...

    `root`: the repository. `results`: the preset's folder, relative to the root. `kind` and `address` say where it
    lies and which files it has, `variant` which of the kind's further files. `spec`: everything that its stage needs
    to know. `inputs`: the leaves that it reads, by role. `files`: SHA-256 of the repository files that it reads, by
    path relative to the root (`absent` while a file is not there). `modules`: beside its stage, the modules whose
    import closure makes it.
    """

    root: Path
    results: Path
    kind: Kind
    address: Address
    spec: SpecType
    inputs: Mapping[str, "Leaf[Any]"] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    variant: str = ""

    @cached_property
    def directory(self) -> Path:
        """Its folder, relative to the root."""
        return self.kind.folder(self.results, self.address)

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """The names of the files that it consists of."""
        return self.kind.files(self.address, self.variant)

    @cached_property
    def provenance(self) -> str:
        """The name of the file that is written last and says what it is made from."""
        return self.kind.provenance.format(**self.address)

    @cached_property
    def name(self) -> str:
        """The leaf's address for people: its folder, and its first output where folders are shared."""
        shared = self.kind.provenance != "provenance.json"
        return str(self.directory / self.outputs[0]) if shared else self.directory.as_posix()

    @property
    def folder(self) -> Path:
        """The absolute folder of the outputs."""
        return self.root / self.directory

    def file(self, name: str) -> Path:
        """Return the absolute path of an output (or of the provenance file)."""
        if name not in (*self.outputs, self.provenance):
            raise KeyError(f"{self.name} has no output {name}: {self.outputs}")
        return self.folder / name

    @property
    def provenance_path(self) -> Path:
        """The absolute path of the provenance file."""
        return self.folder / self.provenance

    @property
    def paths(self) -> list[Path]:
        """The paths of all its files relative to the root, the provenance last."""
        return [self.directory / name for name in (*self.outputs, self.provenance)]

    @property
    def code(self) -> tuple[str, ...]:
        """The modules whose import closure makes it."""
        return (f"kdx2i.stages.{self.kind.stage}", *self.modules)

    @cached_property
    def identity(self) -> str:
        """The hash of everything that the leaf is made from: 64 hexadecimal digits."""
        inputs = {role: leaf.identity for role, leaf in self.inputs.items()}
        return identity(self.kind.name, self.spec.as_json(), code_hash(self.code), inputs, self.files)

    @property
    def work(self) -> Path:
        """The absolute folder of resume state, which belongs to this identity alone."""
        return self.root / self.results / ".work" / self.identity

    def upstream(self) -> Iterator["Leaf[Any]"]:
        """Yield the leaf after everything that it is made from, each address once."""
        return upstream_of([self])


def upstream_of(leaves: "list[Leaf[Any]] | tuple[Leaf[Any], ...]") -> Iterator[Leaf[Any]]:
    """Yield leaves and everything behind them, inputs before what is made from them, each address once."""
    seen: set[str] = set()

    def walk(leaf: Leaf[Any]) -> Iterator[Leaf[Any]]:
        if leaf.name in seen:
            return
        for below in leaf.inputs.values():
            yield from walk(below)
        seen.add(leaf.name)
        yield leaf

    for leaf in leaves:
        yield from walk(leaf)
