"""A finished run as a Workflow Run RO-Crate (profile 0.5): the workflow, its inputs, and what it made, in one folder.

The crate holds the evidence, as a committed reference does: tables, comparison, report, metrics, logs, sample grids and
provenance. Weights and images of data sets stay where they are; the provenance of each result has their checksums.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kdx2i import __version__
from kdx2i.errors import UserError
from kdx2i.inspection.job_times import job_times
from kdx2i.report.lineage import Lineage
from kdx2i.report.pictures import Pictures
from kdx2i.report.sources import ReportTable, Source, report_tables

PROFILES = (
    "https://w3id.org/ro/wfrun/process/0.5",
    "https://w3id.org/ro/wfrun/workflow/0.5",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
)
LICENCE = "https://spdx.org/licenses/Apache-2.0"
_TYPES = {
    ".json": "application/json", ".jsonl": "application/jsonl", ".csv": "text/csv", ".md": "text/markdown",
    ".tex": "application/x-tex", ".png": "image/png", ".svg": "image/svg+xml", ".html": "text/html",
}  # fmt: skip
_TIMED = "Begin and end are those of the first and the last job, by Snakemake's records."
_UNTIMED = "When it ran is not recorded with these files."
_WHOLE = ("comparison.csv", "comparison.json", "metrics.json", "stage1.csv", "report.html", "claims.json", "spread.csv")


def write_crate(source: Source, target: Path) -> Path:
    """Write the crate of a source's tables into a new folder and return it; a folder that is there raises `UserError`.

    A Python environment without the extra `export` raises `UserError` too.
    """
    try:
        from rocrate.rocrate import ROCrate
    except ImportError:
        raise UserError("a crate needs the library rocrate: install it with `pip install -e '.[export]'`") from None
    if target.exists() and any(target.iterdir()):
        raise UserError(f"{target} is there and not empty: name a new folder for the crate")
    tables = list(report_tables(source))
    if not tables:
        raise UserError(f"{source.folder} has no tables: there is no finished run to export")
    crate = ROCrate(version="1.1")
    _describe(crate, source, tables)
    workflow = crate.add_workflow(
        source.root / "Snakefile", "Snakefile", main=True, lang="snakemake", properties={"name": "kdx2i"}
    )
    for path in sorted((source.root / "workflow").rglob("*.smk")):
        crate.add_file(path, path.relative_to(source.root).as_posix())
    inputs = [_file(crate, source.root / "params.yaml", "params.yaml"), *_inputs(crate, source, tables[0])]
    results = [
        _file(crate, source.root / source.folder / name, f"results/{name}")
        for name in sorted(_evidence(source, tables))
    ]
    _parameters(crate, workflow, inputs, results)
    _action(crate, source, tables, workflow, inputs, results)
    crate.write(target)
    return target


def _describe(crate: Any, source: Source, tables: Sequence[ReportTable]) -> None:
    """Name the crate, its licence and its profiles."""
    context = tables[0].table.context
    names = ", ".join(item.table.title for item in tables)
    crate.name = f"kdx2i, preset {context.preset}: {', '.join(item.table.name for item in tables)}"
    crate.description = (
        f"Reproduction of {names} of 'Distilling GANs with style-mixed triplets for X2I translation with limited data' "
        f"(ICLR 2022) under the preset {context.preset} ({context.title}), seeds {', '.join(map(str, context.seeds))}."
    )
    crate.root_dataset["license"] = _entity(crate, LICENCE, "CreativeWork", name="Apache License 2.0")
    profiles = [_entity(crate, url, "CreativeWork", name=url, version=url.rsplit("/", 1)[-1]) for url in PROFILES]
    crate.root_dataset["conformsTo"] = profiles


def _entity(crate: Any, identifier: str, kind: str | list[str], **properties: Any) -> Any:
    from rocrate.model.contextentity import ContextEntity

    return crate.add(ContextEntity(crate, identifier, properties={"@type": kind, **properties}))


def _file(crate: Any, path: Path, place: str) -> Any:
    properties = {"name": place, "encodingFormat": _TYPES.get(path.suffix, "text/plain")}
    return crate.add_file(path, place, properties=properties)


def _inputs(crate: Any, source: Source, shown: ReportTable) -> Iterator[Any]:
    """Yield the YAML files that decide the run: preset, data sets, protocol."""
    context = shown.table.context
    names = [f"presets/{context.preset}", *(f"datasets/{name}" for name in sorted(set(context.datasets.values())))]
    for name in [*names, "protocol"]:
        path = source.root / "benchmarks" / f"{name}.yaml"
        if path.is_file():
            yield _file(crate, path, f"benchmarks/{name}.yaml")


def _evidence(source: Source, tables: Sequence[ReportTable]) -> set[str]:
    """Return the files of a finished run that a crate holds, relative to its results folder."""
    home = source.root / source.folder
    lineage = Lineage(Pictures(), seed=0)
    for shown in tables:
        lineage.add_cells(shown)
        for name in shown.record["inputs"]:
            lineage.add(source, name)
    folders = [source.root / key for key in lineage.leaves if key.startswith(f"{source.folder.as_posix()}/")]
    files = {path for folder in folders for path in folder.glob("*") if path.suffix in _TYPES}
    files |= {path for shown in tables for path in (home / "tables").glob(f"{shown.table.name}.*")}
    files |= {home / "figures" / f"{name}{end}" for name in source.figures for end in (".png", ".json")}
    files |= {home / name for name in _WHOLE}
    return {path.relative_to(home).as_posix() for path in files if path.is_file()}


def _parameters(crate: Any, workflow: Any, inputs: Sequence[Any], results: Sequence[Any]) -> None:
    """Declare what the workflow takes and makes, and say which file stands for which parameter."""
    for role, name, files in (("input", "configuration", inputs), ("output", "results", results)):
        parameter = _entity(
            crate,
            f"#parameter-{name}",
            "FormalParameter",
            name=name,
            additionalType="File",
            conformsTo={"@id": "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"},
            multipleValues="True",
        )
        workflow[role] = [parameter]
        for file in files:
            file["exampleOfWork"] = parameter


def _action(
    crate: Any,
    source: Source,
    tables: Sequence[ReportTable],
    workflow: Any,
    inputs: Sequence[Any],
    results: Sequence[Any],
) -> None:
    """Say that the workflow made the results from the inputs, at which commits and by which command."""
    names = " ".join(item.table.name for item in tables)
    seeds = tables[0].table.context.seeds
    commits = dict.fromkeys(str(item.record.get("git_commit") or "unknown") for item in tables)
    made = [item.id.removeprefix("results/") for item in results if item.id.endswith("provenance.json")]
    times = job_times(source.root, [(source.folder / name).as_posix() for name in made])
    when = {} if times is None else {"startTime": times[0], "endTime": times[1]}
    description = (
        f"snakemake --cores 8 {names} --config preset={source.preset} seeds={','.join(map(str, seeds))}; "
        f"code at commit {', '.join(commits)}. The provenance.json beside each result has its inputs, seed, versions "
        f"and machine. {_TIMED if when else _UNTIMED}"
    )
    workflow["softwareRequirements"] = _entity(
        crate, "#kdx2i", "SoftwareApplication", name="kdx2i", softwareVersion=__version__
    )
    action = _entity(
        crate,
        "#run",
        "CreateAction",
        name=f"Run of preset {source.preset}",
        description=description,
        actionStatus={"@id": "http://schema.org/CompletedActionStatus"},
        instrument={"@id": workflow.id},
        object=[{"@id": item.id} for item in inputs],
        result=[{"@id": item.id} for item in results],
        **{name: time.isoformat(timespec="seconds") for name, time in when.items()},
    )
    crate.root_dataset.append_to("mentions", action)
