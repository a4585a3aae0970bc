"""Stage `segmenter`: real training pairs of image and label map -> a segmenter, and how well it does on real ones.

Made once per dataset and resolution, for data whose label maps no public parser knows.
"""

import torch
from torch import Tensor

from kdx2i.config import load_dataset
from kdx2i.data.images import Split, load_images
from kdx2i.data.label_maps import label_classes, load_label_maps
from kdx2i.files import write_json
from kdx2i.metrics.segmentation.mean_iou import segmentation_entry
from kdx2i.metrics.segmentation.segmenter import train_segmenter
from kdx2i.metrics.segmentation.settings import SegmenterSettings
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import SegmenterSpec
from kdx2i.provenance import write_provenance
from kdx2i.training.determinism import describe_device, make_deterministic, pick_device
from kdx2i.training.loop import save_grid
from kdx2i.training.precision import to_images

GRID_COLUMNS = 16
# White ground, then colours that can be told apart, repeated where there are more classes.
PALETTE = (0xFFFFFF, 0xF2C94C, 0x1F3B73, 0x8C564B, 0xC0392B, 0xFF9EB5, 0x4FB3E8, 0x6FA84F, 0x7F4FA8, 0x888888)


def run(plan: Plan, leaf: Leaf[SegmenterSpec]) -> None:
    """Train the segmenter of `leaf`, and score it on the real test images: the ceiling of every method's mIoU."""
    spec = leaf.spec
    make_deterministic()
    device = pick_device()
    dataset, size = load_dataset(plan.root, spec.dataset), spec.resolution
    classes = label_classes(dataset)
    split = Split(leaf.inputs["split"].folder)
    settings = SegmenterSettings.model_validate(spec.segmenter)
    (train, train_maps), (test, test_maps) = (
        (load_images(split, role, size)[0], load_label_maps(dataset, plan.root, split.select(role), size))
        for role in ("train", "test")
    )
    segmenter = train_segmenter(train, train_maps, classes, settings, spec.seed, device)
    segmenter.save(leaf.file("segmenter.safetensors"))
    ceiling = segmentation_entry(test, test_maps, classes, segmenter)
    document = {"values": {"mIoU": ceiling}, "n_train": segmenter.samples, "n_test": len(test)}
    write_json(leaf.file("metrics.json"), {**document, "identity": leaf.identity})
    chosen = torch.linspace(0, len(test) - 1, min(GRID_COLUMNS, len(test))).long()
    maps = torch.cat([test_maps[chosen], segmenter.segment(test[chosen])])
    pictures = torch.cat([test[chosen], coloured(maps)])
    save_grid(leaf.file("samples.png"), to_images(pictures, device), len(chosen))
    write_provenance(plan, leaf, device=describe_device(device), extra={"segmenter_sha256": segmenter.sha256})


def coloured(maps: Tensor) -> Tensor:
    """Return label maps (N, H, W) as uint8 images (N, 3, H, W)."""
    table = torch.tensor([[colour >> 16, colour >> 8 & 255, colour & 255] for colour in PALETTE], dtype=torch.uint8)
    return table[maps.long() % len(PALETTE)].permute(0, 3, 1, 2)
