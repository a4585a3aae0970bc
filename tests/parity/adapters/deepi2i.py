"""DeepI2I: its two variants."""

from . import deepi2i_biggan, deepi2i_stylegan


def build(module, entry):
    """The variants have classes of one name: the file tells them apart, or the module's name where none is named."""
    stylegan = "StyleGAN" in entry.get("source_file", "") or module.startswith("stylegan")
    variant = deepi2i_stylegan if stylegan else deepi2i_biggan
    return variant.build(module, entry)


def paper_entries(paper):
    yield from deepi2i_biggan.paper_entries(paper)
    yield from deepi2i_stylegan.paper_entries(paper)
