"""`kdx2i score --cross-check`: FID, KID and IS of the same folders by clean-fid and torch-fidelity, beside the own.

Both libraries find, decode and resize the files and compute distances by their own code. torch-fidelity uses its own
Inception on the same weights; where the extractor is another network, and in clean-fid, which has no such option
for weights that lie elsewhere, the network is the one of the command.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.foreign import reason
from kdx2i.metrics.entries import Entry
from kdx2i.metrics.extractors.extractor import Extractor
from kdx2i.metrics.extractors.networks import ImageFeatures
from kdx2i.metrics.extractors.weights import find_inception

INCEPTION = "inception-v3-compat"
WRAPPED = "kdx2i-cross-check"


def cross_check(
    generated: Path, reference: Path, extractor: Extractor, values: Mapping[str, Entry], weights: Path | None, seed: int
) -> list[dict[str, Any]]:
    """Return {library, metric, value, own, note} of each metric that a library computes of two folders.

    `own` is the value of this suite, None where it has none. `UserError` for what a library refuses.
    """
    rows = []
    for library, compute in (("clean-fid", _clean_fid), ("torch-fidelity", _torch_fidelity)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found, note = compute(generated, reference, extractor, weights, seed)
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001 (libraries raise anything on files that they cannot read)
            raise UserError(f"{library} cannot score these folders: {reason(error)}") from None
        for metric, value in found.items():
            own = values.get(metric, {}).get("value")
            rows.append({"library": library, "metric": metric, "value": value, "own": own, "note": note[metric]})
    return rows


def _clean_fid(
    generated: Path, reference: Path, extractor: Extractor, weights: Path | None, seed: int
) -> tuple[dict[str, float], dict[str, str]]:
    """Return FID and KID of clean-fid, which resizes by Pillow's bicubic filter in single precision."""
    from cleanfid.fid import fid_from_feats, get_folder_features, kernel_distance
    from cleanfid.resize import make_resizer

    network = extractor.module
    if not isinstance(network, ImageFeatures):
        raise UserError(f"--cross-check needs a network of this package, not {extractor.name}")
    side = network.input_size

    def features(batch: Tensor) -> Tensor:
        x = (batch.to(extractor.device) - network.mean) / network.deviation
        return network.activations(x)[extractor.layer].flatten(1)

    pair = [
        get_folder_features(
            str(folder),
            features,
            num_workers=0,
            batch_size=extractor.batch,
            device=extractor.device,
            custom_fn_resize=make_resizer("PIL", False, "bicubic", (side, side)),
            verbose=False,
        )
        for folder in (generated, reference)
    ]
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        kid = 100.0 * float(kernel_distance(*pair))
    finally:
        np.random.set_state(state)
    note = "" if extractor.preprocessing == "clean" else "clean-fid's resize, another than asked for"
    few = "random subsets"
    notes = {"FID": note, "KIDx100": f"{note}; {few}" if note else few}
    return {"FID": float(np.real(fid_from_feats(*pair))), "KIDx100": kid}, notes


def _torch_fidelity(
    generated: Path, reference: Path, extractor: Extractor, weights: Path | None, seed: int
) -> tuple[dict[str, float], dict[str, str]]:
    """Return FID, KID and IS of torch-fidelity, whose Inception resizes as the TensorFlow graph does."""
    import torch_fidelity

    files = {side: _count(folder) for side, folder in (("input1", generated), ("input2", reference))}
    own = extractor.name == INCEPTION
    options: dict[str, Any] = {
        "feature_extractor": INCEPTION if own else _wrapped(extractor),
        "feature_extractor_weights_path": str(find_inception(weights)[0]) if own else None,
    }
    computed = torch_fidelity.calculate_metrics(
        input1=str(generated),
        input2=str(reference),
        **options,
        samples_find_deep=True,
        fid=True,
        kid=True,
        isc=bool(extractor.classes),
        kid_subset_size=min(*files.values(), 1000),
        batch_size=extractor.batch,
        cuda=extractor.device.type == "cuda",
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    note = "its own resize" if own and extractor.preprocessing != "tf1" else ""
    names = {
        "FID": ("frechet_inception_distance", 1.0, note),
        "KIDx100": ("kernel_inception_distance_mean", 100.0, f"{note}; random subsets" if note else "random subsets"),
        "IS": ("inception_score_mean", 1.0, note),
    }
    kept = {metric: row for metric, row in names.items() if row[0] in computed}
    values = {metric: scale * float(computed[key]) for metric, (key, scale, _) in kept.items()}
    return values, {metric: words for metric, (_, _, words) in kept.items()}


def _count(folder: Path) -> int:
    """Return the number of files that torch-fidelity reads of a folder."""
    found = [path for path in folder.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg")]
    if not found:
        raise UserError(f"{folder} holds no png or jpg, which is all that torch-fidelity reads")
    return len(found)


def _wrapped(extractor: Extractor) -> str:
    """Register the command's network with torch-fidelity, and return its name there."""
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

    layers = [extractor.layer, *([extractor.logits_layer] if extractor.logits_layer else [])]

    class Wrapped(FeatureExtractorBase):  # type: ignore[misc]
        """The network, with its own resize."""

        def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
            super().__init__(name, features_list)

        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            """Return the asked layers (B, d) of images uint8 (B, 3, H, W)."""
            features, logits = extractor.outputs(images)
            found = {layers[0]: features} | ({layers[1]: cast(Tensor, logits)} if len(layers) > 1 else {})
            return tuple(found[layer] for layer in self.features_list)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return tuple(layers)

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return layers[-1] if metric == "isc" else layers[0]

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        @staticmethod
        def get_dummy_input_for_compile() -> Tensor:
            return torch.zeros(1, 3, 8, 8, dtype=torch.uint8)

    FEATURE_EXTRACTORS_REGISTRY.pop(WRAPPED, None)
    register_feature_extractor(WRAPPED, Wrapped)
    return WRAPPED
