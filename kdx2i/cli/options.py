"""The options that several commands share, and the plan that they describe."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from kdx2i import completion
from kdx2i.config import find_root, parse_seeds, root_around
from kdx2i.errors import UserError
from kdx2i.plan import Plan
from kdx2i.suite import make_plan

Preset = Annotated[
    str, typer.Option(help="Name of a preset, or the path of its YAML file.", autocompletion=completion.presets)
]
Seeds = Annotated[str, typer.Option(help="Seeds instead of the preset's, e.g. 0,1,2.")]
Dataset = Annotated[str, typer.Option(help="Name of a dataset of the preset.", autocompletion=completion.datasets)]
Features = Annotated[
    str, typer.Argument(help="Name in benchmarks/features.", autocompletion=completion.feature_networks)
]
Architecture = Annotated[
    str, typer.Option(help="Name of an architecture.", autocompletion=completion.architecture_names)
]
Transfer = Annotated[
    str,
    typer.Option(
        help="How its weights start: scratch, kd or an ablation of it.", autocompletion=completion.transfer_names
    ),
]
Resolution = Annotated[int, typer.Option(help="Pixels of a side.")]
Seed = Annotated[int, typer.Option(help="Seed of the run.")]
Mode = Annotated[str, typer.Option(help="How the run is asked for images.")]
Tables = Annotated[list[str] | None, typer.Argument(help="Names of tables.", autocompletion=completion.tables)]


def path_of(option: str) -> Callable[[str], Path]:
    """Return what reads the path of an option: an empty one, such as an unset variable gives, is no current folder."""

    def read(text: str) -> Path:
        if not str(text):
            raise UserError(f"{option} is empty: name a path (was it a variable that is not set?)")
        return Path(text)

    return read


def asked_plan(preset: str, seeds: str = "") -> Plan:
    """Return the plan of a preset for the repository that the command runs in, or that KDX2I_ROOT names.

    Where these are two, the one that is worked on is said.
    """
    root, around = find_root(), root_around(Path.cwd())
    if around not in (None, root):
        sentence = f"KDX2I_ROOT is {os.environ['KDX2I_ROOT']}: this command works there, and not in {around}"
        Console(stderr=True).print(sentence, highlight=False, markup=False, soft_wrap=True)
    return make_plan(root, preset, parse_seeds(seeds))
