"""Networks that are built for their shapes alone."""

import pytest
from repository import assert_not_imported

from kdx2i.teacher import biggan, stylegan2
from kdx2i.teacher.outlines import shapes_only


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (stylegan2.Generator, stylegan2.GeneratorConfig(32, channel_base=256, channel_max=16)),
        (stylegan2.Discriminator, stylegan2.DiscriminatorConfig(32, channel_base=256, channel_max=16)),
        (biggan.Generator, biggan.GeneratorConfig(resolution=32, width=4, num_classes=3)),
        (biggan.Discriminator, biggan.DiscriminatorConfig(resolution=32, width=4, num_classes=3)),
    ],
)
def test_shapes_are_those_of_the_network(kind, config):
    with shapes_only():
        outline = kind(config)
    assert all(parameter.is_meta for parameter in outline.parameters())
    shapes = {name: tensor.shape for name, tensor in outline.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in kind(config).state_dict().items()}


def test_reading_a_teacher_does_not_import_pytorchs_compiler():
    """It takes a second or two of every job that starts from one."""
    code = (
        "from pathlib import Path\n"
        "from kdx2i.teacher.biggan.weights import load_biggan\n"
        "from kdx2i.teacher.stylegan2.weights import load_teacher\n"
        "load_biggan(Path('benchmarks/teachers/objects-r32.safetensors'))\n"
        "load_teacher(Path('benchmarks/teachers/faces-r64-long.safetensors'))\n"
    )
    assert_not_imported(code, "torch._dynamo")
