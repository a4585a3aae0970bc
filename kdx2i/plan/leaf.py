"""A leaf: one result, where it lies, what it is made from, and its identity."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from kdx2i.identity import code_hash, identity


@dataclass(frozen=True, eq=False)
class Leaf:
    """One result of the workflow: a split, distilled student, run, evaluation, classifier, table...

    `root`: the repository. `directory`: its folder, relative to the root. `outputs`: the names of the
    files that it consists of; `provenance`: the name of the file that is written last and says what it
    is made from. `spec`: everything that its stage needs to know, as JSON. `inputs`: the leaves that it
    reads, by role. `files`: SHA-256 of the repository files that it reads, by path relative to the root
    (`absent` while a file is not there). `code`: the modules whose import closure makes it.
    """

    root: Path
    results: Path
    kind: str
    directory: Path
    outputs: tuple[str, ...]
    spec: Mapping[str, Any]
    code: tuple[str, ...]
    inputs: Mapping[str, "Leaf"] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    provenance: str = "provenance.json"

    @property
    def name(self) -> str:
        """The leaf's address for people: its folder, and its first output where folders are shared."""
        shared = self.provenance != "provenance.json"
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

    @cached_property
    def identity(self) -> str:
        """The hash of everything that the leaf is made from: 64 hexadecimal digits."""
        inputs = {role: leaf.identity for role, leaf in self.inputs.items()}
        return identity(self.kind, self.spec, code_hash(self.code), inputs, self.files)

    @property
    def work(self) -> Path:
        """The absolute folder of resume state, which belongs to this identity alone."""
        return self.root / self.results / ".work" / self.identity

    def upstream(self) -> Iterator["Leaf"]:
        """Yield the leaf after everything that it is made from, each address once."""
        seen: set[str] = set()
        yield from self._upstream(seen)

    def _upstream(self, seen: set[str]) -> Iterator["Leaf"]:
        if self.name in seen:
            return
        for leaf in self.inputs.values():
            yield from leaf._upstream(seen)
        seen.add(self.name)
        yield self
