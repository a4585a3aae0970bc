"""Style-mixed triplets: y has x1's content below the cut, exactly, and x2's style above it."""

import pytest
import tiny
import torch

from kdx2i.errors import UserError
from kdx2i.teacher.triplets import draw_triplets, lift, mix
from kdx2i.training import distributed

# The last of the six layers of styles that reaches the feature of each resolution of a 16 px teacher.
LAST_LAYER = {4: 0, 8: 2, 16: 4}


@pytest.fixture(scope="module")
def generator():
    return tiny.teacher(16).generator


def draw(generator, seed=3, **options):
    """Draw triplets, and again by hand x1 and x2 with their features, from the same random numbers."""
    torch.manual_seed(seed)
    triplets = draw_triplets(generator, 3, **options)
    torch.manual_seed(seed)
    z = torch.randn(2, 3, generator.config.z_dim)
    by_hand = [generator.synthesis(generator.mapping(one)[:, None].expand(-1, 6, -1), "const") for one in z]
    return triplets, z, by_hand


def test_teacher_has_the_layers_that_the_tests_assume(generator):
    assert generator.num_ws == 6


@pytest.mark.parametrize("layers", range(1, 6))
def test_features_are_shared_below_the_cut_and_differ_above(generator, layers):
    triplets, z, ((x1, below), (x2, above)) = draw(generator, layers=layers)
    torch.testing.assert_close(triplets.x1, x1, rtol=0, atol=1e-5)
    torch.testing.assert_close(triplets.x2, x2, rtol=0, atol=1e-5)
    assert torch.equal(triplets.noise, z[1])
    assert set(triplets.features) == set(LAST_LAYER)
    for resolution, last in LAST_LAYER.items():
        difference = (triplets.features[resolution] - below[resolution]).abs().amax(dim=(1, 2, 3))
        if last < layers:
            assert float(difference.max()) < 1e-5
        else:
            assert float(difference.min()) > 1e-3
        assert not torch.allclose(triplets.features[resolution], above[resolution], atol=1e-3)
    for other in (triplets.x1, triplets.x2):
        assert float((triplets.y - other).abs().amax(dim=(1, 2, 3)).min()) > 1e-4


def test_shared_features_are_equal_bit_for_bit(generator):
    """x1 and y come from one pass, so that what they share is not even rounded differently."""
    torch.manual_seed(0)
    z = torch.randn(2, 4, generator.config.z_dim)
    ws1, ws2 = generator.styles(z[0]), generator.styles(z[1])
    _, features = generator.synthesis(torch.cat([ws1, ws2, mix(ws1, ws2, 3)]), "const")
    torch.manual_seed(0)
    drawn = draw_triplets(generator, 4, layers=3)
    for resolution in (4, 8):
        x1, _, y = features[resolution].chunk(3)
        assert torch.equal(x1, y)
        assert torch.equal(drawn.features[resolution], x1)


def test_mixing_takes_the_first_layers_of_the_first_style():
    ws1, ws2 = torch.zeros(2, 6, 3), torch.ones(2, 6, 3)
    for layers in range(1, 6):
        assert mix(ws1, ws2, layers)[0, :, 0].tolist() == [0.0] * layers + [1.0] * (6 - layers)


@pytest.mark.parametrize("layers", [-1, 0, 6, 14])
def test_cut_outside_the_teacher_is_refused(generator, layers):
    with pytest.raises(UserError, match=f"mixing_layers is {layers}, but this teacher has 6 layers: choose 1 to 5"):
        draw_triplets(generator, 2, layers=layers)


def test_without_mixing_all_three_are_the_same(generator):
    triplets, z, ((x1, features), _) = draw(generator, layers=3, mixing=False)
    assert triplets.x2 is triplets.x1
    assert triplets.y is triplets.x1
    torch.testing.assert_close(triplets.x1, x1)
    assert torch.equal(triplets.noise, z[0])
    assert all(torch.allclose(triplets.features[r], features[r]) for r in features)


def test_image_is_made_of_the_last_feature_that_is_returned(generator):
    seen = {}
    handle = generator.synthesis.b16.torgb.register_forward_hook(lambda _, args, __: seen.update(x=args[0]))
    torch.manual_seed(1)
    triplets = draw_triplets(generator, 2, layers=3)
    handle.remove()
    assert torch.equal(seen["x"].chunk(3)[2], triplets.features[16])


def test_truncation_pulls_styles_to_their_mean(generator):
    torch.manual_seed(2)
    plain = draw_triplets(generator, 2, layers=3)
    torch.manual_seed(2)
    pulled = draw_triplets(generator, 2, layers=3, truncation=0.5)
    torch.manual_seed(2)
    z = torch.randn(2, 2, generator.config.z_dim)
    mean = generator.mapping.w_avg
    ws = (mean + 0.5 * (generator.mapping(z[0]) - mean))[:, None].expand(-1, 6, -1)
    torch.testing.assert_close(pulled.x1, generator.synthesis(ws, "const")[0])
    assert not torch.allclose(plain.x1, pulled.x1, atol=1e-3)


def test_triplets_are_a_function_of_the_seed_and_carry_no_gradient(generator):
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(draw_triplets(generator, 2, layers=3))
    assert torch.equal(drawn[0].y, drawn[1].y)
    assert not torch.equal(drawn[0].y, drawn[2].y)
    assert not drawn[0].y.requires_grad


@pytest.mark.parametrize("mixing", [True, False])
def test_ranks_draw_shares_of_one_batch(generator, monkeypatch, mixing):
    torch.manual_seed(4)
    joint = draw_triplets(generator, 4, layers=3, mixing=mixing)
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        torch.manual_seed(4)
        share = draw_triplets(generator, 4, layers=3, mixing=mixing)
        part = slice(2 * rank, 2 * rank + 2)
        assert torch.equal(share.noise, joint.noise[part])
        for name in ("x1", "x2", "y"):
            torch.testing.assert_close(getattr(share, name), getattr(joint, name)[part], rtol=0, atol=1e-5)
        torch.testing.assert_close(share.features[8], joint.features[8][part], rtol=0, atol=1e-5)
        torch.manual_seed(4)
        assert len(draw_triplets(generator, 4, layers=3, mixing=mixing, share=False).y) == 4
    with pytest.raises(UserError, match="a batch of 3 cannot be shared equally by 2 processes"):
        draw_triplets(generator, 3, layers=3)


@pytest.mark.parametrize("noise_dim", [1, 2, 4, 6])
def test_noise_determines_the_style_when_it_is_lifted(generator, noise_dim):
    """z2 is the noise, repeated: from the noise alone x2 can be drawn again; without the lift it cannot."""
    torch.manual_seed(6)
    drawn = draw_triplets(generator, 3, layers=3, noise_dim=noise_dim)
    assert drawn.noise.shape == (3, noise_dim)
    z = torch.stack([drawn.noise[:, i % noise_dim] for i in range(generator.config.z_dim)], dim=1)
    assert torch.equal(lift(drawn.noise, generator.config.z_dim), z)
    again = generator.synthesis(generator.styles(z), "const")[0]
    torch.testing.assert_close(drawn.x2, again, rtol=0, atol=1e-5)
    torch.manual_seed(6)
    cut_off = draw_triplets(generator, 3, layers=3, noise_dim=noise_dim, lifted=False)
    assert torch.equal(cut_off.noise, drawn.noise)
    assert torch.allclose(cut_off.x2, drawn.x2, atol=1e-4) == (noise_dim == generator.config.z_dim)


def test_other_targets_have_the_style_of_the_next_triplet(generator):
    torch.manual_seed(7)
    drawn = draw_triplets(generator, 3, layers=3, others=True)
    torch.manual_seed(7)
    ws1, ws2 = (generator.styles(z) for z in torch.randn(2, 3, generator.config.z_dim))
    for i in range(3):
        mixed = mix(ws1[i : i + 1], ws2[(i + 1) % 3][None], 3)
        torch.testing.assert_close(drawn.other_y[i], generator.synthesis(mixed, "const")[0][0], rtol=0, atol=1e-5)
    assert draw_triplets(generator, 3, layers=3).other_y is None
