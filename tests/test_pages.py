"""What pages and docstrings point to exists: paths of the repository, modules, classes and functions of the package."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "profiles" / "README.md"]
SOURCES = sorted(path for room in ("kdx2i", "benchmarks") for path in (ROOT / room).rglob("*.py"))
FOLDERS = "kdx2i|docs|benchmarks|tests|workflow|profiles"
PATH = re.compile(rf"`((?:{FOLDERS})/[\w./-]+)`")
DOTTED = re.compile(r"`(kdx2i(?:\.\w+)+)(?:\([^`]*\))?`")


@cache
def names_in(path: Path) -> set[str]:
    """Return the names that a module defines, those of its classes' members after a dot, and what it imports."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
            names |= {f"{node.name}.{name}" for name in _members(node)}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ImportFrom | ast.Import | ast.If):
            names |= {alias.asname or alias.name for alias in _aliases(node)}
    return names


def _members(node: ast.stmt) -> set[str]:
    body = node.body if isinstance(node, ast.ClassDef) else []
    functions = {item.name for item in body if isinstance(item, ast.FunctionDef)}
    fields = {item.target.id for item in body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)}
    return functions | fields


def _aliases(node: ast.stmt) -> list[ast.alias]:
    return [alias for item in ast.walk(node) if isinstance(item, ast.ImportFrom | ast.Import) for alias in item.names]


def exists(dotted: str) -> bool:
    """Tell whether a dotted name is a package, a module, or something that a module has."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:end])
        module = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if module.is_file():
            rest = ".".join(parts[end:])
            return not rest or rest in names_in(module)
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_names_nothing_that_is_not_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    lost = [path for path in PATH.findall(text) if not list(ROOT.glob(path.rstrip("/")))]
    lost += [name for name in DOTTED.findall(text) if not exists(name)]
    assert not lost


def test_a_docstring_names_no_module_that_is_not_there() -> None:
    lost = {
        path.relative_to(ROOT).as_posix(): missing
        for path in SOURCES
        if (missing := [name for name in DOTTED.findall(path.read_text(encoding="utf-8")) if not exists(name)])
    }
    assert not lost
