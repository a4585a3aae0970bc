"""All renderings of a table, and writing them."""

from pathlib import Path

from kdx2i.files import write_bytes, write_text
from kdx2i.tables.latex import render_latex
from kdx2i.tables.machine import load_table_json, render_csv, render_json
from kdx2i.tables.markdown import render_markdown
from kdx2i.tables.model import Table
from kdx2i.tables.published import Published
from kdx2i.tables.screen import print_table

RENDERERS = {"csv": render_csv, "md": render_markdown, "tex": render_latex, "json": render_json}
PLOTS = ("svg", "png")

__all__ = [
    "RENDERERS",
    "load_table_json",
    "print_table",
    "render_csv",
    "render_json",
    "render_latex",
    "render_markdown",
    "write_plot",
    "write_table",
]


def write_table(table: Table, published: Published, folder: Path) -> list[Path]:
    """Write `<name>.{csv,md,tex,json}` into `folder`, each atomically, and return the paths."""
    paths: list[Path] = []
    for suffix, render in RENDERERS.items():
        path = folder / f"{table.name}.{suffix}"
        write_text(path, render(table, published))
        paths.append(path)
    return paths


def write_plot(table: Table, published: Published, folder: Path) -> list[Path]:
    """Write `<name>.svg` and `<name>.png`, bars of the table, and return the paths."""
    from kdx2i.tables.plot import render_plot  # matplotlib: not for every start of a workflow

    paths: list[Path] = []
    for suffix in PLOTS:
        path = folder / f"{table.name}.{suffix}"
        write_bytes(path, render_plot(table, published, suffix))
        paths.append(path)
    return paths
