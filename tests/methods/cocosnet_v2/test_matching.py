"""PatchMatch of CoCosNet v2 against loops, and what gradients reach."""

import pytest
import torch

from kdx2i.methods.cocosnet_v2 import offsets, patch_match
from kdx2i.methods.cocosnet_v2.correspondence import CorrespondenceNetwork

SIZE, CHANNELS, CANDIDATES = 4, 5, 3


def propagated_by_loops(rows, columns, horizontal):
    """For each position: the offsets of the neighbour before, its own, of the neighbour after; 0 beyond the border."""
    step = (0, 1) if horizontal else (1, 0)
    found = {}
    for i in range(SIZE):
        for j in range(SIZE):
            around = []
            for side in (-1, 0, 1):
                r, c = i + side * step[0], j + side * step[1]
                for k in range(rows.shape[0]):
                    inside = 0 <= r < SIZE and 0 <= c < SIZE
                    around.append((float(rows[k, r, c]), float(columns[k, r, c])) if inside else (0.0, 0.0))
            found[i, j] = around
    return found


def best_by_loops(left, right, around, temperature):
    """For each position: the indices of the best third and their softmax scores, best first."""
    found = {}
    for (i, j), candidates in around.items():
        indices = []
        for down, along in candidates:
            row, column = min(max(i + down, 0), SIZE - 1), min(max(j + along, 0), SIZE - 1)
            indices.append(int(row * SIZE + column))
        dots = [float(left[:, i, j] @ right[:, index // SIZE, index % SIZE]) / temperature for index in indices]
        scores = torch.tensor(dots).softmax(0).tolist()
        order = sorted(range(len(scores)), key=lambda k: -scores[k])[: len(scores) // 3]
        found[i, j] = [(indices[k], scores[k]) for k in order]
    return found


@pytest.mark.parametrize("coin", [0.0, 0.7])
def test_search_does_what_loops_do(coin):
    generator = torch.Generator().manual_seed(3)
    left, right = torch.randn(2, CHANNELS, SIZE, SIZE, generator=generator)
    rows, columns = torch.randint(-3, 4, (2, CANDIDATES, SIZE, SIZE), generator=generator).float()
    flat = (part.flatten(1)[None] for part in (left, right))
    (own_rows, own_columns), scores = patch_match.search(*flat, (rows[None], columns[None]), 0.5, coin)
    for horizontal in (coin < 0.5, coin >= 0.5):
        best = best_by_loops(left, right, propagated_by_loops(rows, columns, horizontal), 0.5)
        rows, columns = torch.zeros(2, CANDIDATES, SIZE, SIZE)
        for (i, j), kept in best.items():
            for k, (index, _) in enumerate(kept):
                rows[k, i, j], columns[k, i, j] = index // SIZE - i, index % SIZE - j
    own = offsets.indices_of(own_rows, own_columns)[0]
    for (i, j), kept in best.items():
        assert scores[0, i * SIZE + j].tolist() == pytest.approx([score for _, score in kept], rel=1e-4)
        assert own[i * SIZE + j].tolist() == [index for index, _ in kept]


def test_a_fraction_of_a_row_moves_the_column():
    rows, columns = torch.zeros(2, 1, 1, 8, 8)
    rows[0, 0, 2, 3] = 0.25
    assert offsets.indices_of(rows, columns)[0, 2 * 8 + 3, 0] == 2 * 8 + 3 + 2


def test_the_window_lies_around_the_doubled_match():
    best = torch.zeros(1, 2, 2, dtype=torch.int64)
    best[0, 0, 1] = 3
    rows, columns = offsets.window_around(best)
    # Position (0, 1) of the coarse map matches (1, 1): down by 1, doubled, and -2, 0, 2 and 4 around it.
    assert rows.shape == (1, 16, 4, 4)
    assert rows[0, :, 0, 2].tolist() == [0.0] * 4 + [2.0] * 4 + [4.0] * 4 + [6.0] * 4
    assert columns[0, :, 0, 2].tolist() == 4 * [-2.0, 0.0, 2.0, 4.0]
    assert torch.equal(rows[0, :, 1, 3], rows[0, :, 0, 2])


def test_equal_features_warp_an_image_to_itself():
    torch.manual_seed(0)
    features = offsets.centred(torch.randn(1, 16, 8, 8))
    image = torch.randn(1, 3, 8, 8)
    zeros = torch.zeros(1, 16, 8, 8)
    module = patch_match.PatchMatchGRU(16, 0.005, 1)
    for parameter in module.refine_net.flow_head.parameters():
        torch.nn.init.zeros_(parameter)
    matches, warp = module(features, features, image, (zeros, zeros))
    assert torch.equal(matches[0, :, 0], torch.arange(64))
    torch.testing.assert_close(warp, image, atol=1e-3, rtol=1e-3)


def test_gradients_reach_features_and_exemplar_but_not_the_gru():
    torch.manual_seed(0)
    network = CorrespondenceNetwork(3, 2, iterations=1, hidden=4)
    label_map, exemplar_map = torch.rand(2, 1, 3, 64, 64)
    found = network(label_map, torch.rand(1, 3, 64, 64), exemplar_map)
    assert [warp.shape[-1] for warp in found.warps] == [8, 16, 32, 64]
    sum(warp.square().sum() for warp in found.warps).backward()
    without = {name.split(".")[0] for name, parameter in network.named_parameters() if parameter.grad is None}
    assert without == {"patch_match"}


def test_the_directions_are_drawn_from_torchs_generator():
    torch.manual_seed(5)
    drawn = [patch_match.draw_coin() for _ in range(20)]
    torch.manual_seed(5)
    assert drawn == [patch_match.draw_coin() for _ in range(20)]
    assert all(0 <= coin < 1 for coin in drawn)
    assert len({coin < 0.5 for coin in drawn}) == 2
