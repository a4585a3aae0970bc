"""The command that analyses the answers of a user study."""

from pathlib import Path
from typing import Annotated

import typer

from kdx2i.cli.app import app
from kdx2i.cli.options import Preset
from kdx2i.config import find_root, load_preset


@app.command()
def study(
    answers: Annotated[list[Path], typer.Argument(help="Files that subjects saved, one each: answers/*.json.")],
    preset: Preset = "open",
    key: Annotated[
        Path | None, typer.Option(help="Key of the study (default: results/<preset>/user_study.json).")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write the analysis to a file; - prints it.")] = None,
) -> None:
    """Analyse a user study: preferences with intervals, Bradley-Terry strengths, agreement between subjects."""
    from kdx2i.files import write_json
    from kdx2i.stages.console import screen
    from kdx2i.study.analysis import analyse
    from kdx2i.study.answers import read_answers, read_key
    from kdx2i.study.screen import print_study

    root = find_root()
    place = key or root / "results" / load_preset(root, preset).name / "user_study.json"
    opened = read_key(place)
    result = analyse(opened, read_answers(answers, opened))
    if json is not None and str(json) == "-":
        print(result.model_dump_json(indent=1))
        return
    if json is not None:
        write_json(json, result.model_dump(mode="json"))
    print_study(result, screen())
