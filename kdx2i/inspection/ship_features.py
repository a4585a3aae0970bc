"""Ship a feature network: weights, provenance and card in `benchmarks/features/`."""

from pathlib import Path
from typing import Any

from kdx2i.files import write_bytes, write_json, write_text
from kdx2i.foreign import read_document
from kdx2i.plan import Plan
from kdx2i.provenance import require_current


def ship_features(plan: Plan, name: str) -> Path:
    """Copy the network of a recipe's first seed to `benchmarks/features/` and return its weights.

    The networks of the other seeds must be there too: the card says how far they differ. One that is missing, stale
    or damaged raises `UserError`.
    """
    seeds = plan.catalogue.features(plan.root, name).seeds
    leaves = [plan.features(name, seed) for seed in seeds]
    require_current(leaf for first in leaves for leaf in first.upstream())
    first, target = leaves[0], plan.root / "benchmarks" / "features" / f"{name}.safetensors"
    provenance: dict[str, Any] = read_document(first.provenance_path)
    write_bytes(target, first.file("network.safetensors").read_bytes())
    shipped = {
        "sha256": provenance["outputs"]["network.safetensors"],
        "identity": first.identity,
        **provenance["training"],
    }
    write_json(target.with_suffix(".provenance.json"), shipped)
    write_text(target.with_suffix(".md"), card(shipped, {leaf.spec.seed: read_document(leaf.file("metrics.json"))
                                                         for leaf in leaves}))  # fmt: skip
    return target


def card(shipped: dict[str, Any], metrics: dict[int, Any]) -> str:
    """Return the card of a feature network: what it was trained on, and what it knows of test drawings, by seed."""
    recipe = shipped["features"]
    counts = ", ".join(f"{name} {count}" for name, count in shipped["images"].items())
    lines = [
        f"# {recipe['name']}",
        "",
        f"{recipe['title']}. SHA-256 `{shipped['sha256']}`, seed {recipe['seed']}; made by "
        f"`kdx2i features {recipe['name']}` on {shipped['device']}, {shipped['images_seen']:,} images seen.",
        "",
        f"Training images: {counts}. No training image has the pixels of a test image of "
        f"{', '.join(recipe['without_tests_of'])}.",
        "",
        "Test drawings, by the size in pixels that they are reduced to first, in %: the set's own head, a linear probe "
        "on the features (as RC has it), drawings taken for degraded, and fully damaged drawings taken for degraded. "
        "Seeds " + ", ".join(map(str, metrics)) + " in this order; the first is shipped.",
        "",
        "| set | test drawings | classes | px | head | probe | taken for degraded | damage found |",
        "| --- | ---: | ---: | ---: | --- | --- | --- | --- |",
    ]
    first = next(iter(metrics.values()))["accuracy"]
    for name, entry in first.items():
        for size in entry["by_size"]:
            values = [document["accuracy"][name]["by_size"][size] for document in metrics.values()]
            columns = (
                ", ".join(f"{value[key]:.1f}" for value in values)
                for key in ("head", "probe", "degraded", "damaged_found")
            )
            lines.append(f"| {name} | {entry['test_images']} | {entry['classes']} | {size} | {' | '.join(columns)} |")
    lines += [
        "",
        "The ladder of the shipped network, and how far those of the other seeds are from it: docs/metrics.md.",
    ]
    return "\n".join([*lines, ""])
