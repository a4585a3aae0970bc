"""From a recipe to DAMSM encoders: what the stage `encoder` asks of their kind."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from kdx2i.data.rows import Split
from kdx2i.encoders.damsm.files import save_damsm
from kdx2i.encoders.damsm.training import DamsmTrainable
from kdx2i.encoders.recipes import DamsmRecipe
from kdx2i.tasks.text import OpenTask
from kdx2i.training.determinism import derive_seed


def open_task(split: Split, resolution: int) -> OpenTask:
    """Return the captions of a split's images."""
    return OpenTask(split, resolution)


def begin(recipe: DamsmRecipe, task: OpenTask, device: torch.device) -> DamsmTrainable:
    """Return the training at its start, drawn from the recipe's seed."""
    torch.manual_seed(derive_seed(recipe.seed, "initialise"))
    return DamsmTrainable(recipe.encoder, recipe.train, task.training_data(device), device)


def save(training: DamsmTrainable, path: Path, dtype: torch.dtype, origin: Mapping[str, Any]) -> None:
    """Write the encoders as they are, with JSON values on where they come from."""
    training.damsm.provenance = dict(origin)
    save_damsm(path, training.damsm, dtype)
