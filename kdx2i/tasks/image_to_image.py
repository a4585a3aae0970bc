"""Image to image: a condition is a source image, a target class and, by reference, an image of that class."""

import torch

from kdx2i.data.images import ImageSet
from kdx2i.data.rows import Split
from kdx2i.training.sampling import BalancedImages


class OpenTask:
    """Image-to-image translation between the classes of a split, at a resolution in pixels."""

    def __init__(self, split: Split, resolution: int) -> None:
        self.split, self.resolution = split, resolution

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of the labels."""
        return self.split.classes

    def training_data(self, device: torch.device) -> BalancedImages:
        """Return the training images, drawn class by class."""
        images = ImageSet(self.split, "train", self.resolution)
        return BalancedImages(images.fetch, images.labels, len(self.classes), device)
