"""DeepI2I: its two variants."""

from . import deepi2i_stylegan


def build(module, entry):
    return deepi2i_stylegan.build(module, entry)


def paper_entries(paper):
    return deepi2i_stylegan.paper_entries(paper)
