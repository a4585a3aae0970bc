"""DeepI2I: its two variants."""

from . import deepi2i_biggan, deepi2i_stylegan


def build(module, entry):
    """The variants have classes of one name: the names of modules tell them apart."""
    variant = deepi2i_stylegan if module.startswith("stylegan") else deepi2i_biggan
    return variant.build(module, entry)


def paper_entries(paper):
    yield from deepi2i_biggan.paper_entries(paper)
    yield from deepi2i_stylegan.paper_entries(paper)
