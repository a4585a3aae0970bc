"""The command `translate`: one's own images, captions, utterances or label maps through a model."""

from pathlib import Path
from typing import Annotated

import typer

from kdx2i import completion
from kdx2i.cli.app import app
from kdx2i.cli.options import path_of


@app.command()
def translate(
    inputs: Annotated[
        Path,
        typer.Argument(
            parser=path_of("INPUTS"), help="Image, folder or zip; for other tasks .txt, .wav or label-map .png files."
        ),
    ],
    output: Annotated[
        Path, typer.Option(parser=path_of("--output"), help="New folder for files, or the .png of one grid.")
    ],
    model: Annotated[
        str, typer.Option(help="A shipped student by name, or the folder of a run.", autocompletion=completion.students)
    ] = "stargan_v2-kd-r64",
    mode: Annotated[
        str | None, typer.Option(help="How the model is asked (default: by reference where --references is given).")
    ] = None,
    references: Annotated[
        Path | None, typer.Option(parser=path_of("--references"), help="Image, folder or zip that gives the styles.")
    ] = None,
    reference_maps: Annotated[
        Path | None, typer.Option(parser=path_of("--reference-maps"), help="Label maps of the references, by name.")
    ] = None,
    target: Annotated[list[str] | None, typer.Option(help="Class to translate to; repeatable.")] = None,
    outputs: Annotated[int, typer.Option(min=1, help="Images of each input and class or reference.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise.")] = 0,
) -> None:
    """Translate your own images by a shipped model, or by a run."""
    from kdx2i.stages.own_models import open_model
    from kdx2i.stages.translate import TranslateRequest, run
    from kdx2i.training.determinism import pick_device

    request = TranslateRequest(
        inputs=inputs,
        output=output,
        mode=mode,
        references=references,
        reference_maps=reference_maps,
        targets=tuple(target or ()),
        outputs=outputs,
        seed=seed,
    )
    device = pick_device()
    run(request, open_model(model, device), device)
