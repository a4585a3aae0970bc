"""Packages import in one direction, lazily, for type checkers and by name alike; what Snakemake parses has no torch."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

from kdx2i.distill.by_task import DISTILLATIONS
from kdx2i.encoders.recipes import FORMS
from kdx2i.methods.catalogue import architectures
from kdx2i.methods.official_models import with_published
from kdx2i.metric_catalogue import METRICS
from kdx2i.plan import KINDS
from kdx2i.plan.scoring_plans import ENCODER_MODULE
from kdx2i.stages.adopt import KINDS as ADOPTED
from kdx2i.tasks.facts import TASKS

PACKAGE = Path(__file__).parents[1] / "kdx2i"
# From left to right: a room imports from itself and from the rooms before it.
ORDER = [
    "bounds", "errors", "foreign", "files", "devices", "metric_catalogue", "config", "identity", "plan", "provenance",
    "data", "metrics", "training", "tasks", "teacher", "features", "encoders", "methods", "distill", "suite", "tables",
    "frames", "report", "study", "stages", "costs", "launcher", "inspection", "workflow",
    "workflow_progress", "completion", "version", "cli", "warm", "__main__",
]  # fmt: skip
# Rooms that need even less than their place allows.
NARROW = {
    "tables": {
        "errors",
        "foreign",
        "files",
        "metric_catalogue",
        "config",
        "identity",
        "plan",
        "provenance",
        "tasks",
        "tables",
    },
}
# Modules that import by name, and what they import that way: these edges count like all others.
BY_NAME = {
    "kdx2i.methods.build": {name for a in architectures().values() for name in (a.method_module, a.student_module)},
    "kdx2i.methods.official_models": {f"kdx2i.methods.{name}.official" for name in with_published()},
    "kdx2i.methods.catalogue": {a.settings.__module__.rpartition(".")[0] for a in architectures().values()},
    "kdx2i.cli.running": {
        f"kdx2i.stages.{name}"
        for name in ("adopt", "all_protocols", "official_run", *(kind.stage for kind in KINDS.values()))
    },
    "kdx2i.stages.adopt": {f"kdx2i.stages.{kind.stage}" for kind in ADOPTED},
    "kdx2i.stages.encoder": {recipe.module for recipe in FORMS.values()},
    "kdx2i.stages.leaf_scorer": {ENCODER_MODULE},
    "kdx2i.metrics.scorer": {metric.module for metric in METRICS.values()},
    "kdx2i.tasks.opening": {facts.module for facts in TASKS.values()},
    "kdx2i.tasks.scoring.base": {facts.scoring for facts in TASKS.values()},
    "kdx2i.distill.by_task": {module for stage1 in DISTILLATIONS.values() for module in stage1.modules},
    "kdx2i.data.conditions.synthesiser": set(),  # the synthesiser's library
    "kdx2i.warm": set(),  # libraries of others
}
TORCH_FREE = ["bounds", "foreign", "metric_catalogue", "tasks.facts",
              "config", "identity", "plan", "provenance", "tables", "workflow", "cli", "warm", "suite", "inspection",
              "metrics.settings", "metrics.protocols", "distill.transfers", "distill.by_task", "methods.settings",
              "methods.conditional_settings", "methods.catalogue", "teacher.recipes", "features.recipes",
              "encoders.recipes",
              "stages.table", "stages.compare", "stages.report", "stages.infer", "frames", "report.page",
              "study.design", "study.answers", "study.analysis",
              "stages.folder_request", "metrics.images.listing",
              "completion", "version", "devices", "costs.sheet", "costs.limits"]  # fmt: skip


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    whole = grimp.build_graph("kdx2i", exclude_type_checking_imports=False, cache_dir=None)
    for importer, imported in BY_NAME.items():
        for name in imported - {importer}:
            assert name in whole.modules, f"{importer} names {name}, which does not exist"
            whole.add_import(importer=importer, imported=name)
    return whole


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_every_room_has_its_place_in_the_order(graph: grimp.ImportGraph) -> None:
    assert {room(module) for module in graph.modules} - {""} == set(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_a_room_imports_only_from_those_before_it(graph: grimp.ImportGraph, name: str) -> None:
    allowed = NARROW.get(name, set(ORDER[: ORDER.index(name) + 1]))
    for module in graph.modules:
        if room(module) == name:
            reached = {room(other) for other in graph.find_modules_directly_imported_by(module)} - {""}
            assert reached <= allowed, f"{module} imports {sorted(reached - allowed)}"


def test_no_architecture_imports_another_and_nothing_shared_imports_one(graph: grimp.ImportGraph) -> None:
    """What several architectures build on is a family; a family and what all share import no architecture."""
    names = set(architectures())
    for module in graph.modules:
        parts = module.split(".")
        if parts[1:2] == ["methods"] and len(parts) > 2 and module not in BY_NAME:
            reached = {other.split(".")[2] for other in graph.find_modules_directly_imported_by(module)
                       if other.startswith("kdx2i.methods.") and len(other.split(".")) > 2}  # fmt: skip
            assert not reached & (names - {parts[2]}), module
            assert "families" not in reached or parts[2] in {*names, "families"}, module


def test_families_stand_on_each_other_in_one_direction(graph: grimp.ImportGraph) -> None:
    def families(modules: set[str]) -> set[str]:
        return {name.split(".")[3] for name in modules if name.startswith("kdx2i.methods.families.")}

    reached: dict[str, set[str]] = {family: set() for family in families(set(graph.modules))}
    assert reached
    for module in graph.modules:
        for family in families({module}):
            reached[family] |= families(set(graph.find_modules_directly_imported_by(module))) - {family}
    TopologicalSorter(reached).prepare()


def test_modules_do_not_import_each_other_in_a_circle(graph: grimp.ImportGraph) -> None:
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_only_the_stated_modules_import_by_name() -> None:
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        dynamic = [ast.unparse(function) for function in calls]
        if {"importlib.import_module", "import_module", "__import__"} & set(dynamic):
            assert module in BY_NAME, f"{module} imports by name: state here what, so that the layers see it"


def test_what_snakemake_parses_imports_no_torch(graph: grimp.ImportGraph) -> None:
    names = [f"kdx2i.{name}" for name in TORCH_FREE]
    settings = [m for m in sorted(graph.modules) if m.startswith("kdx2i.methods.") and m.endswith("settings")]
    code = (
        "import importlib, sys\n"
        f"for name in {['kdx2i', *names, *settings]!r}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
