"""What label-map methods of stage 2 share: training batches, one-hot maps, previews and the refusal of references."""

from typing import TypeVar

import torch
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.methods.families.label_maps.maps import Unknown, cropped, mirrored, one_hot_maps
from kdx2i.methods.families.label_maps.settings import LabelMapSettings
from kdx2i.methods.families.paired.method import PairedMethod
from kdx2i.tasks.conditions import LabelMapCondition
from kdx2i.tasks.label_map import coloured
from kdx2i.training import distributed
from kdx2i.training.precision import to_images

LabelMapSettingsT = TypeVar("LabelMapSettingsT", bound=LabelMapSettings)


class LabelMapMethod(PairedMethod[LabelMapSettingsT, LabelMapCondition]):
    """A method that draws an image from a label map; where `takes_references`, with the style of a reference image."""

    unknown: Unknown = "last"
    """The channel that pixels without a label get with the setting `dont_care`."""
    takes_references: bool = False

    def one_hot(self, condition: LabelMapCondition) -> Tensor:
        """Return the maps of a condition as one-hot float32 [B, N, R, R].

        `UserError` for other labels than the settings say, and for a condition with references where none are taken.
        """
        networks = self.settings.networks
        if len(condition.labels) != networks.label_nc:
            raise UserError(
                f"{self.architecture} is set to {networks.label_nc} labels (`label_nc`), and the label maps have "
                f"{len(condition.labels)}"
            )
        if condition.references is not None and not self.takes_references:
            raise UserError(f"{self.architecture} has no mode `reference`, but only `map`")
        return one_hot_maps(condition.maps, networks.label_nc, self.unknown if networks.dont_care else "none")

    def draw(self, batch: int) -> tuple[Tensor, Tensor]:
        """Draw this process's share of `batch` training images [B, 3, R, R] in [-1, 1], and one-hot maps [B, N, R, R].

        Both are cropped and mirrored alike; what is random is drawn for the joint batch.
        """
        t = self.settings.train
        images, condition = self.images.draw(batch)
        places, mirror = distributed.shard(torch.rand(batch, 2)), self.share(torch.rand(batch) < t.flip)
        images, maps = cropped(images, condition.maps, t.load_scale, places)
        images, maps = mirrored(images, maps, mirror)
        drawn = LabelMapCondition(maps, condition.labels)
        return images.contiguous(memory_format=torch.channels_last), self.one_hot(drawn)

    def pictures(self, condition: LabelMapCondition) -> list[Tensor]:
        """Return the label maps, coloured, as images [B, 3, R, R] in [-1, 1]."""
        return [to_images(coloured(condition.maps.cpu()), self.device)]
