"""From a recipe to a speech encoder: what the stage `encoder` asks of its kind."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from kdx2i.data.rows import Split
from kdx2i.encoders.recipes import SpeechRecipe
from kdx2i.encoders.speech.settings import SpeechEncoderSettings
from kdx2i.encoders.speech.training import SpeechEncoderLearning, spoken_images
from kdx2i.tasks.speech import OpenTask


def open_task(split: Split, resolution: int) -> OpenTask:
    """Return the utterances of a split's images."""
    return OpenTask(split, resolution)


def begin(recipe: SpeechRecipe, task: OpenTask, device: torch.device) -> SpeechEncoderLearning:
    """Return the training at its start, drawn from the recipe's seed."""
    settings = SpeechEncoderSettings(sizes=recipe.encoder, train=recipe.train, image_weights=recipe.image_weights)
    return SpeechEncoderLearning(settings, spoken_images(task), recipe.seed, device)


def save(training: SpeechEncoderLearning, path: Path, dtype: torch.dtype, origin: Mapping[str, Any]) -> None:
    """Write the encoder as it is, with JSON values on where it comes from."""
    training.encoder().save(path, {"provenance": dict(origin)}, dtype)
