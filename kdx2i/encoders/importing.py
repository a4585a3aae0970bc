"""Published encoders become files of this project, without running any of their code."""

from collections.abc import Sequence
from pathlib import Path

from kdx2i.encoders.damsm.files import save_damsm
from kdx2i.encoders.damsm.official import import_damsm
from kdx2i.encoders.speech.official import FILES, import_official
from kdx2i.errors import UserError
from kdx2i.files import sha256_file


def import_encoder(official: Sequence[Path], target: Path) -> Path:
    """Convert official encoders to a file and return its path.

    One folder holds S2IGAN's three speech files (`kdx2i.encoders.speech.official.FILES`); three files are AttnGAN's
    text encoder, image encoder and `captions.pickle`, in this order. `UserError` for anything else.
    """
    if target.suffix != ".safetensors":
        raise UserError(f"{target} must end in .safetensors: that is the format of encoder files")
    if len(official) == 1 and official[0].is_dir():
        folder = official[0]
        encoder = import_official(folder)
        sources = {part: sha256_file(folder / name) for part, name in FILES.items()}
        encoder.save(target, {"provenance": {"format": "S2IGAN", "source": dict(FILES), "source_sha256": sources}})
    elif len(official) == 3:
        save_damsm(target, import_damsm(*official))
    else:
        raise UserError(
            "official encoders are one folder of S2IGAN's, or three files of AttnGAN's: text encoder, image encoder, "
            "captions.pickle"
        )
    return target
