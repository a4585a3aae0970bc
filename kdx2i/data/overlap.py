"""Which training images a dataset has, to compare with those of another one."""

from pathlib import Path

from kdx2i.config import DatasetConfig
from kdx2i.data.readers import build_reader
from kdx2i.data.roles import assign_roles


def training_fingerprints(dataset: DatasetConfig, assets_root: Path) -> set[str]:
    """Return the hashes of a dataset's different training images, as its source states them; empty where it does not.

    No image is decoded. Datasets that are not embedded state none.
    """
    if dataset.source.kind != "embedded":
        return set()
    entries = build_reader(dataset, assets_root).entries()
    roles = assign_roles(entries, dataset.split)
    return {entry.fingerprint for entry in entries if roles.get(entry.source) == "train" and entry.fingerprint}
