"""S_E, pseudo-conditions and the teacher's first feature."""

import pytest
import tiny
import torch

from kdx2i.distill.semantic import FirstFeature, PseudoConditions, SemanticEncoder


def images(count=8, seed=0):
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("statistics", ["batch", "mean", "none"])
def test_the_last_linear_layer_is_all_that_is_removed(statistics):
    discriminator = tiny.teacher(16).discriminator
    encoder = SemanticEncoder(discriminator, statistics, images())
    kept = set(discriminator.state_dict()) - {"b4.out.weight", "b4.out.bias"}
    assert set(encoder.network.state_dict()) == kept
    assert hasattr(discriminator.b4, "out")  # the teacher keeps its own
    with torch.no_grad():
        codes = encoder(images())
        assert codes.shape == (8, encoder.width) == (8, 8)
        logits = discriminator.b4.out(codes)
        if statistics == "batch":
            torch.testing.assert_close(codes, discriminator.semantic(images()))
            torch.testing.assert_close(logits, discriminator(images()))
        elif statistics == "none":
            alone = torch.cat([discriminator(image[None]) for image in images()])
            torch.testing.assert_close(logits, alone)


@pytest.mark.parametrize(("statistics", "depends"), [("batch", True), ("mean", False), ("none", False)])
def test_only_with_the_batchs_statistics_a_code_depends_on_its_neighbours(statistics, depends):
    encoder = SemanticEncoder(tiny.teacher(16).discriminator, statistics, images())
    with torch.no_grad():
        first, second = (
            encoder(torch.cat([images()[:1], others])) for others in (images()[1:4], images(3, seed=1) * 0.1)
        )
    assert torch.allclose(first[0], second[0], rtol=1e-5, atol=1e-6) != depends


def test_the_mean_statistic_is_what_the_discriminator_sees_of_such_images():
    discriminator = tiny.teacher(16).discriminator
    # Eight images in two interleaved groups of four: their standard deviations, by hand.
    with torch.no_grad():
        x = discriminator.trunk(images())[0]
        sizes = [(x[i::2].var(dim=0, unbiased=False) + 1e-8).sqrt().mean() for i in range(2)]
    encoder = SemanticEncoder(discriminator, "mean", images())
    assert float(encoder.statistic) == pytest.approx(float(sum(sizes)) / 2, rel=1e-5)


@pytest.mark.parametrize("width", [5, 12])
def test_a_projection_keeps_the_size_of_standardised_codes(width):
    torch.manual_seed(0)
    codes = torch.randn(4000, 8) * torch.arange(1.0, 9.0) + 5
    conditions = PseudoConditions(codes, width, "standardised", trained=True)
    with torch.no_grad():
        c = conditions(codes)
    assert c.shape == (4000, width)
    assert float(c.square().mean()) == pytest.approx(1, rel=0.1)
    product = conditions.weight @ conditions.weight.T if width < 8 else conditions.weight.T @ conditions.weight
    torch.testing.assert_close(product.detach(), torch.eye(min(width, 8)) * max(1, width / 8), rtol=1e-4, atol=1e-5)


def test_scales_of_c():
    torch.manual_seed(0)
    codes = torch.randn(500, 8) * torch.arange(8.0) + 3  # the first component never moves

    def made(scale):
        return PseudoConditions(codes, 8, scale, trained=True)(codes)

    assert torch.equal(made("raw"), codes)
    assert float(made("unit").square().mean()) == pytest.approx(1, rel=1e-5)
    torch.testing.assert_close(made("unit") / codes, (made("unit") / codes)[0, 0].expand(500, 8))
    standardised = made("standardised")
    assert torch.equal(standardised[:, 0], torch.zeros(500))
    torch.testing.assert_close(standardised.mean(dim=0), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(standardised[:, 1:].std(dim=0), torch.ones(7))


@pytest.mark.parametrize(("width", "trained", "parameters"), [(8, True, 0), (5, True, 1), (5, False, 0)])
def test_a_projection_is_only_where_widths_differ_and_trained_where_it_is_asked(width, trained, parameters):
    conditions = PseudoConditions(torch.randn(10, 8), width, "unit", trained=trained)
    assert len(list(conditions.parameters())) == parameters
    assert ("weight" in conditions.state_dict()) == (width != 8)


@pytest.mark.parametrize("width", [6, 4])
@pytest.mark.parametrize("scaled", [True, False])
def test_the_first_feature_is_given_the_students_size(width, scaled):
    torch.manual_seed(0)
    teacher, student = torch.randn(4, 6, 8, 8) * 0.1, torch.randn(4, width, 8, 8) * 3
    first = FirstFeature(teacher, student, scaled=scaled)
    with torch.no_grad():
        mapped = first(teacher)
    assert mapped.shape == student.shape
    assert len(list(first.parameters())) == (width != 6)
    if scaled:
        assert float(mapped.std()) == pytest.approx(float(student.std()), rel=1e-4)
    elif width == 6:
        assert torch.equal(mapped, teacher)
