"""The command `new-dataset`: one's own images as a dataset and a preset."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from kdx2i import completion
from kdx2i.cli.app import app
from kdx2i.cli.options import path_of
from kdx2i.config import find_root


@app.command("new-dataset")
def new_dataset(
    source: Annotated[
        Path, typer.Argument(parser=path_of("SOURCE"), help="Folder or archive with one sub-folder of images a class.")
    ],
    name: Annotated[str, typer.Option(help="Name of the dataset and of the preset.")],
    licence: Annotated[str, typer.Option(help="What the images may be used for: kept with all that is made of them.")],
    title: Annotated[str, typer.Option(help="Title for tables.")] = "",
    test_share: Annotated[float, typer.Option(min=0.05, max=0.9, help="Share of each class to test on.")] = 0.25,
    like: Annotated[
        str, typer.Option(help="Preset whose networks and budgets are taken.", autocompletion=completion.presets)
    ] = "open",
    teacher: Annotated[
        Path | None,
        typer.Option(parser=path_of("--teacher"), help="Your StyleGAN2, converted by `kdx2i teacher --official`."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split.")] = 0,
) -> None:
    """Write the YAML of a dataset of your images, and of a preset that makes Table 1 on them."""
    from kdx2i.stages.new_dataset import NewDataset
    from kdx2i.stages.new_dataset import new_dataset as write

    root = find_root()
    written = write(root, NewDataset(source, name, licence, title, test_share, like, teacher, seed))
    console = Console(stderr=True)
    for path in written:
        console.print(path.relative_to(root).as_posix(), highlight=False)
    console.print(f"next: snakemake --cores 8 table1 --config preset={name}", highlight=False, markup=False)
