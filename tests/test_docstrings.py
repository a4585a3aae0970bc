"""Public functions that take tensors state the shapes that they take.

A public function or method (no leading underscore in its name or its class's) with a parameter that is annotated with
Tensor, alone or in a container, names a shape in its docstring or in that of its class or module: `[B, 3, R, R]`,
`(N, d)`, `scalar`, or `any shape`. Exempt are what has no one shape: tensors by name (a state dict, `Mapping[str,
Tensor]`) and functions of tensors (`Callable`).
"""

import ast
import re
from collections.abc import Iterator

import pytest
from repository import ROOT

SHAPE = re.compile(r"\[[^\[\]]+\]|\((?:[\w.' ]+|\.\.\.),[^()]*\)|\bscalar\b|\bany shape\b")
"""Brackets, a tuple with a comma, or a word."""

Documented = ast.Module | ast.ClassDef | ast.FunctionDef


def takes_tensors(annotation: ast.expr | None) -> bool:
    """Return whether an annotation holds Tensor beside what is exempt."""
    if isinstance(annotation, ast.Subscript):
        container = ast.unparse(annotation.value)
        if container == "Callable" or ast.unparse(annotation).startswith("Mapping[str,"):
            return False
    if isinstance(annotation, ast.Name | ast.Attribute):
        return ast.unparse(annotation) in ("Tensor", "torch.Tensor")
    return annotation is not None and any(
        takes_tensors(part) for part in ast.iter_child_nodes(annotation) if isinstance(part, ast.expr)
    )


def functions(node: Documented, above: tuple[Documented, ...] = ()) -> Iterator[tuple[Documented, ...]]:
    """Yield every public function that takes tensors, with the module and the classes that it stands in."""
    for child in node.body:
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from functions(child, (*above, node))
        elif isinstance(child, ast.FunctionDef) and not child.name.startswith("_"):
            arguments = (*child.args.posonlyargs, *child.args.args, *child.args.kwonlyargs)
            if any(takes_tensors(argument.annotation) for argument in arguments):
                yield (*above, node, child)


def without_shape(source: str) -> tuple[int, list[str]]:
    """Return how many public functions of a module take tensors, and the names of those that state no shape."""
    chains = list(functions(ast.parse(source)))
    missing = [
        ".".join(node.name for node in chain if not isinstance(node, ast.Module))
        for chain in chains
        if not SHAPE.search(" ".join(ast.get_docstring(node) or "" for node in chain))
    ]
    return len(chains), missing


def test_functions_of_tensors_state_shapes() -> None:
    modules = {path: without_shape(path.read_text(encoding="utf-8")) for path in (ROOT / "kdx2i").rglob("*.py")}
    count = sum(number for number, _ in modules.values())
    missing = {path.relative_to(ROOT).as_posix(): names for path, (_, names) in modules.items() if names}
    print(f"{count} public functions take tensors, {sum(map(len, missing.values()))} of them state no shape")
    assert not missing
    assert count > 200


@pytest.mark.parametrize(
    ("code", "missing"),
    [
        ("def f(x: Tensor):\n    'Double x.'", ["f"]),
        ("def f(x: Sequence[Tensor]):\n    'Join (all).'", ["f"]),
        ("def f(x: Tensor | None = None):\n    ...", ["f"]),
        ("class A:\n    'Doubles.'\n    def f(self, *, x: torch.Tensor):\n        ...", ["A.f"]),
        ("def f(x: Tensor):\n    'Double x [B, 3].'", []),
        ("def f(x: Tensor):\n    'Double x (N,).'", []),
        ("class A:\n    'Doubles [B].'\n    def f(self, x: Tensor):\n        ...", []),
        ("def f(state: Mapping[str, Tensor], g: Callable[[Tensor], Tensor]):\n    'Load.'", []),
        ("def _f(x: Tensor):\n    'Double x.'", []),
    ],
)
def test_the_rule_finds_what_states_no_shape(code: str, missing: list[str]) -> None:
    assert without_shape(code)[1] == missing
