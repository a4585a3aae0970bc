"""The page of the forced choice: one HTML file that loads nothing from outside and names no method."""

import base64
import io
import itertools
import random
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from kdx2i.config.study import StudyConfig
from kdx2i.report.evidence import as_json
from kdx2i.report.sources import Source
from kdx2i.study.design import StudyKey, draw_trials, study_name
from kdx2i.study.images import StudyImages, study_images


def make_study(source: Source, config: StudyConfig) -> tuple[str, StudyKey]:
    """Return the page of a study on a source's images, and the key that its analysis needs."""
    images = study_images(source, config)
    rows = [config.ours, *config.others]
    inputs = [_uri(image) for image in images.inputs]
    outputs = [[_uri(image) for image in images.outputs[row]] for row in rows]
    trials = draw_trials(config, len(inputs))
    key = StudyKey(
        study=study_name(config, images.places, [*inputs, *itertools.chain(*outputs)]),
        preset=source.preset,
        config=config,
        rows=rows,
        places=images.places,
        targets=images.targets,
        trials=trials,
    )
    data = {
        "study": key.study,
        "targets": images.targets,
        "inputs": inputs,
        "outputs": outputs,
        "noise": _noise(images, config.seed),
        "trials": [[[trial.left, trial.right, trial.request] for trial in own] for own in trials],
    }
    environment = Environment(loader=PackageLoader("kdx2i.study"), autoescape=True, undefined=StrictUndefined)
    template = environment.get_template("study.html.j2")
    page = template.render(data=Markup(as_json(data)), subjects=config.subjects, count=len(trials[0]))
    return page, key


def key_path(page: Path) -> Path:
    """Return where the key of a page lies: beside it, `.json` for `.html`."""
    return page.with_suffix(".json")


def _uri(image: Image.Image) -> str:
    """Return an image as PNG in a data URI: what subjects judge is not compressed with losses."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _noise(images: StudyImages, seed: int) -> str:
    """Return the image of noise of attention checks, as large as the others."""
    size = images.inputs[0].size
    draw = random.Random(f"{seed}/noise")
    return _uri(Image.frombytes("RGB", size, draw.randbytes(3 * size[0] * size[1])))
