"""What a result is made from, as one hash that is known before anything has run.

The hash covers the resolved spec, the code that the stage can reach by imports, the identities of
what it reads from other stages and the checksums of the repository files that it reads. It is a pure
function of repository files, so every rule of the workflow can pass it as a parameter.
"""

import ast
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from kdx2i.errors import UserError
from kdx2i.files import sha256_file, sha256_json, write_json
from kdx2i.foreign import require_plain

PACKAGE = "kdx2i"
# These decide which results exist and where they lie, not what is in them: what they decide reaches a
# result through its spec, which is hashed by value. A change here must not train everything again.
_ORCHESTRATION = (
    "kdx2i", "kdx2i.bounds", "kdx2i.errors", "kdx2i.metric_catalogue", "kdx2i.config", "kdx2i.identity", "kdx2i.plan",
    "kdx2i.provenance",
)  # fmt: skip
ABSENT = "absent"
UNREAD = "unread"
"""What stands for the hash of a large file that `large_files_unread` leaves alone: no result has it."""
LARGE = 64 * 2**20
"""Bytes from which on the hash of a file is remembered between processes: archives and official weights."""
# Strings are matched so that a # inside one is no comment; tokenize would take most of the time of a hash.
_STRING_OR_COMMENT = re.compile(
    r'''"""(?:\\.|[^\\])*?"""|\'{3}(?:\\.|[^\\])*?\'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|(\#[^\n]*)''', re.DOTALL
)


def identity(
    kind: str,
    spec: Mapping[str, Any],
    code: str,
    inputs: Mapping[str, str],
    files: Mapping[str, str],
) -> str:
    """Return the identity of a result: 64 hexadecimal digits.

    `spec` is JSON, `code` a `code_hash`, `inputs` the identities of upstream results by role, `files`
    the SHA-256 of repository files by name.
    """
    return sha256_json({"kind": kind, "spec": dict(spec), "code": code, "inputs": dict(inputs), "files": dict(files)})


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, remembered while its size and time stay the same; `absent` without it.

    A folder, device or pipe raises `UserError` naming it: reading one might never end.
    """
    state = require_plain(path)
    if state is None:
        return ABSENT
    if state.st_size >= LARGE and not _reading.large_files:
        return _remembered(_record_of(path), _state(path)) or UNREAD
    return _file_hash(path, state.st_size, state.st_mtime_ns)


class _Reading:
    """What `file_hash` reads in this process."""

    large_files = True


_reading = _Reading()


def leave_large_files_unread() -> None:
    """Do for the rest of this process what `large_files_unread` does for a block."""
    _reading.large_files = False


@contextmanager
def large_files_unread() -> Iterator[None]:
    """Let `file_hash` give `UNREAD` for large files whose hash nobody remembers: for what only looks.

    Whatever is planned in this block from such a file has an identity that no result has.
    """
    before, _reading.large_files = _reading.large_files, False
    try:
        yield
    finally:
        _reading.large_files = before


@lru_cache(maxsize=4096)
def _file_hash(path: Path, size: int, _mtime: int) -> str:
    return sha256_file(path) if size < LARGE else _hash_of_large(path)


def _hash_of_large(path: Path) -> str:
    """Return the SHA-256 of a large file, remembered between processes in `$XDG_CACHE_HOME/kdx2i/hashes`.

    It is read again when its place on the disk, size or a time of it is another. The time of the last change of its
    entry is among these, which no program sets: a file that was written to and dated back is read again, too.
    """
    record, before = _record_of(path), _state(path)
    if (known := _remembered(record, before)) is not None:
        return known
    digest = sha256_file(path)
    if _state(path) == before:
        with suppress(OSError):  # Without a place for it, it is read each time.
            write_json(record, [before, digest])
    return digest


def _record_of(path: Path) -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "kdx2i" / "hashes" / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()}.json"


def _remembered(record: Path, now: list[int]) -> str | None:
    """Return the hash that a record has of a file whose state is `now`; None where it has none."""
    try:
        state, digest = json.loads(record.read_text())
        return str(digest) if state == now and re.fullmatch("[0-9a-f]{64}", digest) else None
    except (OSError, TypeError, ValueError):  # None yet, or damaged.
        return None


def _state(path: Path) -> list[int]:
    state = path.stat()
    return [state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns]


def code_hash(entries: Iterable[str], package_dir: Path | None = None) -> str:
    """Return the hash of the modules `entries` and of all of the package that they import, at any depth.

    Imports are read from the source, those inside functions too; nothing is executed. Comments,
    docstrings and blank lines do not count. `package_dir` is the folder of the package `kdx2i`
    (default: this one), which is read once in a process. A module that does not exist raises `UserError`.
    """
    return _code_hash(tuple(sorted(set(entries))), package_dir or Path(__file__).parent)


@lru_cache(maxsize=1024)
def _code_hash(entries: tuple[str, ...], folder: Path) -> str:
    return sha256_json({name: _source_hash(folder, name) for name in code_closure(entries, folder)})


def code_closure(entries: Iterable[str], package_dir: Path | None = None) -> list[str]:
    """Return the modules that `code_hash` hashes, sorted by name."""
    folder = package_dir or Path(__file__).parent
    closure: set[str] = set()
    waiting = sorted(set(entries))
    for name in waiting:
        if _module_file(folder, name) is None:
            raise UserError(f"the module {name} does not exist in {folder}")
    while waiting:
        name = waiting.pop()
        if name in closure or _orchestrates(name):
            continue
        closure.add(name)
        path = _module_file(folder, name)
        assert path is not None
        waiting.extend(_imports(folder, name, path))
    return sorted(closure)


def _orchestrates(name: str) -> bool:
    return name in _ORCHESTRATION or name.startswith(("kdx2i.config.", "kdx2i.plan."))


def _module_file(folder: Path, name: str) -> Path | None:
    """Return the source file of a module of the package, or None."""
    if name != PACKAGE and not name.startswith(PACKAGE + "."):
        return None
    place = folder.joinpath(*name.split(".")[1:])
    candidates = [place / "__init__.py"] + ([] if name == PACKAGE else [place.with_suffix(".py")])
    return next((path for path in candidates if path.is_file()), None)


@lru_cache(maxsize=4096)
def _parse(path: Path, _size: int, _mtime: int) -> tuple[str, ast.Module]:
    source = path.read_text(encoding="utf-8")
    try:
        return source, ast.parse(source)
    except SyntaxError as error:
        raise UserError(f"{path} is not valid Python: line {error.lineno}: {error.msg}") from None


def _parsed(path: Path) -> tuple[str, ast.Module]:
    state = path.stat()
    return _parse(path, state.st_size, state.st_mtime_ns)


def _imports(folder: Path, name: str, path: Path) -> list[str]:
    """Return the package's modules that one module imports, with the packages that hold them."""
    state = path.stat()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    named = _targets(path, state.st_size, state.st_mtime_ns, package)
    return [module for module in named if _module_file(folder, module) is not None]


@lru_cache(maxsize=4096)
def _targets(path: Path, size: int, mtime: int, package: str) -> tuple[str, ...]:
    """Return what a module's imports may refer to, with the packages that hold it, each name once."""
    names: set[str] = set()
    for target in _import_targets(_parse(path, size, mtime)[1], package):
        parts = target.split(".")
        names.update(".".join(parts[: end + 1]) for end in range(len(parts)))
    return tuple(sorted(names))


def _import_targets(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield every dotted name that the module's import statements may refer to."""
    for node in _runtime_statements(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _runtime_statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements below a node, at any depth, without the blocks that only type checkers see."""
    for child in _statements_of(node):
        if _asks_type_checker(child):
            for statement in getattr(child, "orelse", ()):
                yield statement
                yield from _runtime_statements(statement)
            continue
        yield child
        yield from _runtime_statements(child)


def _statements_of(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements, handlers and cases that stand directly in a node."""
    for block in ("body", "handlers", "orelse", "finalbody", "cases"):
        yield from getattr(node, block, ())


def _asks_type_checker(node: ast.AST) -> bool:
    """Tell whether a statement is `if TYPE_CHECKING:`."""
    if not isinstance(node, ast.If) or not isinstance(node.test, ast.Name | ast.Attribute):
        return False
    return ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _source_hash(folder: Path, name: str) -> str:
    path = _module_file(folder, name)
    assert path is not None
    state = path.stat()
    return _normalised_hash(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4096)
def _normalised_hash(path: Path, _size: int, _mtime: int) -> str:
    source, tree = _parsed(path)
    return hashlib.sha256(normalised_source(source, tree).encode()).hexdigest()


def normalised_source(source: str, tree: ast.Module | None = None) -> str:
    """Return Python source without comments, docstrings, trailing blanks and blank lines.

    It works on the text and not on a re-printed tree, whose form differs between Python versions.
    Lines inside string literals are kept as they are.
    """
    tree = tree or ast.parse(source)
    lines = _STRING_OR_COMMENT.sub(lambda match: "" if match[1] else match[0], source).split("\n")
    kept_whole: set[int] = set()
    for first, last in _long_strings(tree):
        # A string that goes on in the next line owns the end of this one.
        kept_whole.update(range(first, last))
    for first, last in _docstring_lines(tree):
        kept_whole.difference_update(range(first, last + 1))
        lines[first - 1 : last] = [""] * (last - first + 1)
    result = []
    for number, line in enumerate(lines, start=1):
        text = line if number in kept_whole else line.rstrip()
        if text or number in kept_whole:
            result.append(text)
    return "\n".join(result) + "\n"


def _long_strings(node: ast.AST) -> Iterator[tuple[int, int]]:
    """Yield the first and last line of each string below a node that goes over several."""
    for child in ast.iter_child_nodes(node):
        first, last = getattr(child, "lineno", 0), getattr(child, "end_lineno", 0)
        if first and first == last:
            continue  # Neither has what it holds: most of a tree need not be visited.
        if isinstance(child, ast.Constant | ast.JoinedStr):
            yield first, last
        yield from _long_strings(child)


def _all_statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and the statements below it, at any depth."""
    yield node
    for child in _statements_of(node):
        yield from _all_statements(child)


def _docstring_lines(tree: ast.Module) -> Iterator[tuple[int, int]]:
    """Yield the first and last line of each docstring that has its lines for itself."""
    for node in _all_statements(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = node.body[0] if node.body else None
        if not isinstance(first, ast.Expr) or not isinstance(first.value, ast.Constant):
            continue
        shares_line = any(statement.lineno == (first.end_lineno or 0) for statement in node.body[1:])
        own_line = not isinstance(node, ast.Module) and first.lineno == node.lineno
        if isinstance(first.value.value, str) and not shares_line and not own_line:
            yield first.lineno, first.end_lineno or first.lineno
