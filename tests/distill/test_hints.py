"""Hint layers where the widths of shared resolutions differ, in both directions."""

import pytest
import tiny
import torch
import torch.nn.functional as F

from kdx2i.distill.equations.i2i import feature_distance
from kdx2i.distill.hints import HintLayers
from kdx2i.distill.i2i import teacher_features
from kdx2i.errors import UserError

WIDTHS = {"teacher": {4: 8, 8: 6, 16: 5}, "student": {8: 6, 16: 3, 32: 2}}


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(0)
    return {
        side: {r: torch.randn(2, c, r, r, generator=generator) for r, c in widths.items()}
        for side, widths in WIDTHS.items()
    }


@pytest.mark.parametrize("direction", ["student-to-teacher", "teacher-to-student"])
def test_one_side_is_mapped_where_the_widths_of_a_shared_resolution_differ(features, direction):
    layers = HintLayers(features["teacher"], features["student"], direction)
    assert layers.shared == [8, 16]
    # Only where the widths differ there is a map, and it has the width of its target.
    assert list(layers.maps) == ["16"]
    layer = layers.maps["16"]
    source, target = ("student", "teacher") if direction == "student-to-teacher" else ("teacher", "student")
    assert layer.weight.shape == (WIDTHS[target][16], WIDTHS[source][16], 1, 1)
    mapped = torch.einsum("oc,bchw->bohw", layer.weight[:, :, 0, 0], features[source][16])
    expected = {
        source: {8: features[source][8], 16: mapped + layer.bias[None, :, None, None]},
        target: {r: features[target][r] for r in (8, 16)},
    }
    before = {side: list(of_side) for side, of_side in features.items()}
    for side, matched in zip(("teacher", "student"), layers(features["teacher"], features["student"]), strict=True):
        assert list(matched) == [8, 16]
        for resolution, feature in matched.items():
            torch.testing.assert_close(feature, expected[side][resolution])
    assert {side: list(of_side) for side, of_side in features.items()} == before


def test_nothing_in_common_is_refused(features):
    teacher, student = {4: features["teacher"][4]}, {32: features["student"][32]}
    with pytest.raises(UserError, match=r"\[4\] px and the student at \[32\] px: they share no resolution"):
        HintLayers(teacher, student, "student-to-teacher")


def test_map_of_the_teacher_has_a_trivial_solution_that_the_default_has_not(features):
    zero = {r: torch.zeros_like(f) for r, f in features["student"].items()}
    totals = {}
    for direction in ("student-to-teacher", "teacher-to-student"):
        layers = HintLayers(features["teacher"], zero, direction)
        with torch.no_grad():
            for parameter in layers.parameters():
                parameter.zero_()
        matched = layers({16: features["teacher"][16], 8: zero[8]}, zero)
        totals[direction] = float(feature_distance(*matched, "mean").detach())
    assert totals["teacher-to-student"] == 0.0
    assert totals["student-to-teacher"] > 0.5


def test_teacher_features_are_from_rgb_and_the_outputs_of_the_blocks():
    discriminator = tiny.teacher(16).discriminator
    x = torch.randn(2, 3, 16, 16)
    on_images = teacher_features(discriminator, x)
    entered = F.leaky_relu(
        F.conv2d(x, discriminator.b16.fromrgb.weight / 3**0.5, discriminator.b16.fromrgb.bias), 0.2
    ) * (2**0.5)
    expected = {16: entered}
    expected[8] = discriminator.b16(entered)
    expected[4] = discriminator.b8(expected[8])
    assert set(on_images) == {4, 8, 16}
    for resolution, feature in expected.items():
        assert on_images[resolution].shape[2:] == (resolution, resolution)
        assert not on_images[resolution].requires_grad
        torch.testing.assert_close(on_images[resolution], feature)
