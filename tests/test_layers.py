"""Packages import in one direction, and what Snakemake parses imports no torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from kdx2i.identity import imports_of

PACKAGE = Path(__file__).parents[1] / "kdx2i"
# A room may import from itself and from the rooms before it. `tables` needs no torch and none of the rooms
# from `data` on; `workflow` is what the Snakefile asks.
ORDER = [
    "errors", "files", "metric_catalogue", "config", "identity", "plan", "provenance", "data", "metrics", "training",
    "teacher", "methods", "distill", "suite", "tables", "stages", "inspection", "workflow", "cli", "warm", "__main__",
]  # fmt: skip
TORCH_FREE = ["metric_catalogue", "config", "identity", "plan", "provenance", "tables", "workflow", "cli", "warm",
              "metrics.settings", "metrics.protocols", "distill.transfers", "methods.settings",
              "stages.table", "stages.compare", "inspection", "methods.catalogue", "suite", "teacher.recipes",
              "stages.infer"]  # fmt: skip


def modules() -> list[str]:
    names = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
        names.append(".".join(["kdx2i", *(parts[:-1] if parts[-1] == "__init__" else parts)]))
    return names


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_every_room_has_its_place_in_the_order() -> None:
    assert {room(module) for module in modules()} - {""} <= set(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_a_room_imports_only_from_those_before_it(name: str) -> None:
    allowed = set(ORDER[: ORDER.index(name) + 1])
    if name == "tables":
        allowed = {"errors", "files", "metric_catalogue", "config", "identity", "plan", "provenance", "tables"}
    for module in modules():
        if room(module) == name:
            reached = {room(other) for other in imports_of(PACKAGE, module)} - {""}
            assert reached <= allowed, f"{module} imports {sorted(reached - allowed)}"


def test_no_room_of_a_method_imports_another_method() -> None:
    for module in modules():
        parts = module.split(".")
        if parts[1:2] == ["methods"] and len(parts) > 3:
            others = [other.split(".") for other in imports_of(PACKAGE, module)]
            folders = {o[2] for o in others if o[1:2] == ["methods"] and len(o) > 3}
            assert folders <= {parts[2]}, module


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    graph = {module: [o for o in imports_of(PACKAGE, module) if o != module] for module in modules()}
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join([*above, module])
        if module not in done:
            for other in graph[module]:
                # A package is imported with each of its modules; that alone is no circle.
                if not module.startswith(other + "."):
                    visit(other, (*above, module))
            done.add(module)

    for module in graph:
        if (PACKAGE.parent / Path(*module.split("."))).is_dir():
            continue
        visit(module, ())


def test_what_snakemake_parses_imports_no_torch() -> None:
    names = [f"kdx2i.{name}" for name in TORCH_FREE]
    settings = [m for m in modules() if m.startswith("kdx2i.methods.") and m.endswith(".settings")]
    code = (
        "import importlib, sys\n"
        f"for name in {['kdx2i', *names, *settings]!r}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
