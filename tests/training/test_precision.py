"""Pixels and images are inverse; bfloat16 sees the weights of now; networks are placed channels-last."""

import pytest
import torch
from torch import nn

from kdx2i.training.precision import autocast, place, to_images, to_pixels

CPU = torch.device("cpu")


def test_every_pixel_value_survives():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(2, 3, 16, 16)
    images = to_images(pixels, CPU)
    assert images.dtype == torch.float32
    assert float(images.min()) == -1.0
    assert float(images.max()) == 1.0
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(to_pixels(images), pixels)


def test_pixels_are_clamped_and_rounded():
    images = torch.tensor([-9.0, -1.0, -0.001, 0.0, 0.999, 1.0, 7.0]).reshape(1, 1, 1, 7)
    assert to_pixels(images).flatten().tolist() == [0, 0, 127, 128, 255, 255, 255]
    assert to_pixels(images.to(torch.bfloat16)).dtype == torch.uint8


def test_float32_runs_without_casts():
    network = nn.Linear(4, 4)
    x = torch.randn(2, 4)
    with autocast(CPU, "float32"):
        assert torch.equal(network(x), nn.functional.linear(x, network.weight, network.bias))


def test_bfloat16_uses_the_weights_after_a_step():
    network = nn.Linear(4, 4)
    with autocast(CPU, "bfloat16"):
        before = network(torch.ones(1, 4))
        assert before.dtype == torch.bfloat16
        with torch.no_grad():
            network.weight.zero_()
            network.bias.fill_(2.0)
        assert network(torch.ones(1, 4)).tolist() == [[2.0] * 4]


def test_bfloat16_trains_what_ran_without_gradient_before():
    network = nn.Linear(4, 4)
    with autocast(CPU, "bfloat16"):
        with torch.no_grad():
            network(torch.ones(1, 4))
        grads = torch.autograd.grad(network(torch.ones(1, 4)).sum(), list(network.parameters()))
    assert all(grad.dtype == torch.float32 and bool(grad.any()) for grad in grads)


def test_networks_are_channels_last():
    network = place(nn.Conv2d(3, 8, 3), CPU)
    assert network.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_networks_on_the_gpu_stay_channels_last_in_bfloat16():
    device = torch.device("cuda")
    network = place(nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3)), device)
    pixels = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    with autocast(device, "bfloat16"):
        out = network(to_images(pixels, device))
    assert out.dtype == torch.bfloat16
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert to_pixels(out).device.type == "cpu"
