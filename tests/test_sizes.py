"""A file holds one idea and a function one step: no file over 400 lines, no function over 60."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for room in ("kdx2i", "tests", "benchmarks", "workflow") for path in (ROOT / room).rglob("*"))
SOURCES = [path for path in FILES if path.suffix in (".py", ".smk")]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_file_and_no_function_is_too_long(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    if path.suffix == ".py":
        functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        long = {n.name: n.end_lineno - n.lineno + 1 for n in functions if (n.end_lineno or 0) - n.lineno >= 60}
        assert not long
