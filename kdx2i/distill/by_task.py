"""Which stage 1 each task has, by the name that `kdx2i.tasks.facts` gives it."""

from collections.abc import Mapping

from kdx2i.distill.i2i import I2IDistillation

DISTILLATIONS: Mapping[str, type[I2IDistillation]] = {"i2i": I2IDistillation}
