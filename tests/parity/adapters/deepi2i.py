"""DeepI2I: its two variants."""

from . import deepi2i_biggan, deepi2i_stylegan


def build(module, entry):
    variant = deepi2i_biggan if module in deepi2i_biggan.BIGGAN else deepi2i_stylegan
    return variant.build(module, entry)


def paper_entries(paper):
    yield from deepi2i_biggan.paper_entries(paper)
    yield from deepi2i_stylegan.paper_entries(paper)
