"""Checkpoints of xinshengwang/S2IGAN: flat state dicts of `torch.save`, each key with `module.` in front.

They are read as tensors only (`kdx2i.teacher.official.state_dicts`); nothing in them runs.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from kdx2i.encoders.speech.encoder import SpeechEncoder, assemble
from kdx2i.encoders.speech.settings import SpeechEncoderSizes
from kdx2i.errors import UserError
from kdx2i.teacher.official.state_dicts import read_state_dict
from kdx2i.teacher.official.torch_files import materialise

FILES = {"speech": "best_audio_model.pth", "image": "best_image_model.pth", "classifier": "best_class_model.pth"}
"""The files of `outputs/pre_train/<set>/models`, by the network that each holds."""


def flat_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a flat checkpoint by their keys without `module.`.

    `UserError` for a file that is missing, damaged or holds anything but one state dict.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    return materialise(read_state_dict(path), path)


def sizes_of(speech: Mapping[str, Tensor], where: str) -> SpeechEncoderSizes:
    """Return the sizes of an official speech encoder from the shapes of its tensors; `UserError` where one is absent.

    The published features padded frames by reflection, and images were read by torchvision's Inception.
    """
    try:
        return SpeechEncoderSizes(
            first=speech["Conv1.weight"].shape[0],
            second=speech["Conv2.weight"].shape[0],
            hidden=speech["rnn.weight_hh_l0"].shape[1],
            attention=speech["att.att_heads.0.hidden.weight"].shape[0],
        )
    except (KeyError, IndexError, ValueError):
        raise UserError(f"{where} does not hold the speech encoder of S2IGAN") from None


def import_official(folder: Path) -> SpeechEncoder:
    """Return the encoder of a folder with the three official files, without its image network.

    `UserError` for a file that is missing, damaged or holds another network.
    """
    states = {part: flat_state(folder / file) for part, file in FILES.items()}
    return assemble(states, sizes_of(states["speech"], str(folder / FILES["speech"])), str(folder))
