"""The command `translate`: one's own images, captions, utterances or label maps through a model."""

from pathlib import Path
from typing import Annotated, Any

import typer

from kdx2i import completion
from kdx2i.cli.app import app
from kdx2i.cli.options import path_of
from kdx2i.errors import UserError


def _path(option: str, text: str) -> Any:
    """Return the option of a path."""
    return typer.Option(parser=path_of(option), help=text)


Inputs = Annotated[
    Path,
    typer.Argument(
        parser=path_of("INPUTS"), help="Image, folder or zip; for other tasks .txt, .wav or label-map .png files."
    ),
]
Output = Annotated[Path, _path("--output", "New folder for files, or the .png of one grid.")]
Model = Annotated[
    str, typer.Option(help="A shipped student by name, or the folder of a run.", autocompletion=completion.students)
]
Checkpoint = Annotated[Path | None, _path("--checkpoint", "Instead of --model: a file that the authors published.")]
Architecture = Annotated[
    str, typer.Option(help="Architecture of --checkpoint.", autocompletion=completion.architecture_names)
]
Resolution = Annotated[
    int | None, typer.Option(min=1, help="Pixels of --checkpoint, where it does not say (default: the official).")
]
Encoder = Annotated[Path | None, _path("--encoder", "Encoder of the conditions of --checkpoint.")]
Classes = Annotated[str, typer.Option(help="Names of the classes of --checkpoint, in order, by commas.")]
Mode = Annotated[
    str | None, typer.Option(help="How the model is asked (default: by reference where --references is given).")
]
References = Annotated[Path | None, _path("--references", "Image, folder or zip that gives the styles.")]
ReferenceMaps = Annotated[Path | None, _path("--reference-maps", "Label maps of the references, by name.")]
Target = Annotated[list[str] | None, typer.Option(help="Class to translate to; repeatable.")]
Outputs = Annotated[int, typer.Option(min=1, help="Images of each input and class or reference.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the noise.")]


@app.command()
def translate(
    inputs: Inputs,
    output: Output,
    model: Model = "stargan_v2-kd-r64",
    checkpoint: Checkpoint = None,
    architecture: Architecture = "",
    resolution: Resolution = None,
    encoder: Encoder = None,
    classes: Classes = "",
    mode: Mode = None,
    references: References = None,
    reference_maps: ReferenceMaps = None,
    target: Target = None,
    outputs: Outputs = 1,
    seed: Seed = 0,
) -> None:
    """Translate your own images by a shipped model, a run, or a published checkpoint."""
    if (checkpoint is None) != (not architecture):
        raise UserError("--checkpoint and --architecture go together: the file and what it is a model of")
    from kdx2i.stages.own_models import Checkpoint as Asked
    from kdx2i.stages.own_models import open_checkpoint, open_model
    from kdx2i.stages.translate import TranslateRequest, run
    from kdx2i.training.determinism import pick_device

    device = pick_device()
    if checkpoint is None:
        opened = open_model(model, device)
    else:
        exemplars = None if references is None or reference_maps is None else (references, reference_maps)
        names = tuple(name.strip() for name in classes.split(",")) if classes else ()
        opened = open_checkpoint(Asked(checkpoint, architecture, resolution, encoder, names, exemplars), device)
        if "reference" not in opened.modes and exemplars is not None:
            references = reference_maps = None
    request = TranslateRequest(
        inputs, output, mode, references, reference_maps, tuple(target or ()), outputs=outputs, seed=seed
    )
    run(request, opened, device)
