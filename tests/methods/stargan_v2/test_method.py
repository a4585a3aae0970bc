"""StarGAN v2 in stage 2: who is updated when, the start from a distilled student, translation."""

import pytest
import tiny
import torch

from kdx2i.errors import UserError
from kdx2i.methods.families.stargan import method as module
from kdx2i.methods.stargan_v2.settings import Train
from kdx2i.training.loop import LoopSettings, train

SOURCES = ("from_rgb", "encode")


def of_network(name, state):
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


def student_tensors(seed=1, **changes):
    return tiny.state_of(tiny.student(seed, **changes).networks)


def test_half_steps_update_what_they_update_officially(monkeypatch):
    method, pattern = tiny.method(), []
    proper = module.step_optimizers

    def watched(loss, *optimizers):
        before = tiny.state_of(method.networks)
        proper(loss, *optimizers)
        pattern.append({name.split(".")[0] for name in tiny.changed(before, tiny.state_of(method.networks))})

    monkeypatch.setattr(module, "step_optimizers", watched)
    method.training_step(0)
    assert pattern == [
        {"discriminator"},
        {"discriminator"},
        {"generator", "mapping_network", "style_encoder"},
        {"generator"},
    ]


def test_every_parameter_learns_and_is_free_again_afterwards():
    method = tiny.method(batch=6)
    recorders = tiny.record(method)
    method.training_step(0)
    assert {name: len(recorder.steps) for name, recorder in recorders.items()} == {
        "generator": 2,
        "mapping_network": 1,
        "style_encoder": 1,
        "discriminator": 2,
    }
    # The bias of a convolution that feeds an instance norm has no effect, and only rounding as a gradient.
    for name, recorder in recorders.items():
        parameters = [k for k, _ in method.networks[name].named_parameters()]
        for key, *gradients in zip(parameters, *recorder.steps, strict=True):
            assert any(bool(g.any()) for g in gradients), f"{name}.{key}"
    assert all(p.requires_grad for network in method.networks.values() for p in network.parameters())


def test_rates_and_betas_are_the_settings(monkeypatch):
    method = tiny.method()
    t = Train()
    for name, optimizer in method.optimizers.items():
        group = optimizer.param_groups[0]
        assert group["lr"] == (1e-6 if name == "mapping_network" else 1e-4)
        assert (group["betas"], group["weight_decay"]) == ((0.0, 0.99), 1e-4)
        assert len(optimizer.param_groups) == 1
        assert {id(p) for p in group["params"]} == {id(p) for p in method.networks[name].parameters()}
    assert (t.lambda_reg, t.lambda_sty, t.lambda_ds, t.lambda_cyc) == (1.0, 1.0, 2.0, 1.0)
    assert (t.batch, t.iterations, t.ds_iterations, t.ema_decay) == (8, 100_000, 100_000, 0.999)


def test_weight_of_the_diversity_decays_linearly_to_zero(monkeypatch):
    method, seen = tiny.method(lambda_ds=2.0, ds_iterations=10), []
    proper = module.generator_loss

    def watched(networks, x, y, guidance, weights, *rest):
        seen.append(weights.ds)
        return proper(networks, x, y, guidance, weights, *rest)

    monkeypatch.setattr(module, "generator_loss", watched)
    for step in (0, 1, 5, 9, 10, 1000):
        method.training_step(step)
    assert seen[::2] == pytest.approx([2.0, 1.8, 1.0, 0.2, 0.0, 0.0])
    assert seen[1::2] == seen[::2]


def test_both_guidances_ask_for_the_same_domains_and_scalars_are_named(monkeypatch):
    method, seen = tiny.method(batch=4), []
    proper = module.discriminator_loss

    def watched(networks, x, y, guidance, weights, content):
        seen.append((x, y, guidance))
        return proper(networks, x, y, guidance, weights, content)

    monkeypatch.setattr(module, "discriminator_loss", watched)
    scalars = method.training_step(0)
    (x, y, latent), (x_again, y_again, reference) = seen
    assert x is x_again
    assert y is y_again
    assert torch.equal(latent.y_trg, reference.y_trg)
    assert latent.z is not None
    assert reference.x_ref is not None
    assert not torch.equal(latent.z, latent.z2)
    terms = [f"{term}_{guidance}" for guidance in ("latent", "reference") for term in ("adv", "sty", "ds", "cyc")]
    assert sorted(scalars) == sorted(["d_latent", "d_reference", *terms])
    assert all(bool(torch.isfinite(value)) for value in scalars.values())


def test_shared_content_changes_no_discriminator_loss(monkeypatch):
    proper, totals = module.discriminator_loss, []

    def both(networks, x, y, guidance, weights, content):
        terms = proper(networks, x, y, guidance, weights, content)
        totals.append((terms["total"].detach(), proper(networks, x, y, guidance, weights)["total"].detach()))
        return terms

    monkeypatch.setattr(module, "discriminator_loss", both)
    tiny.method().training_step(0)
    assert len(totals) == 2
    assert all(torch.equal(shared, own) for shared, own in totals)


def test_start_duplicates_the_distilled_heads_to_every_class():
    student = student_tensors()
    method = tiny.method()
    method.initialise(student, reset_encoders=False)
    assert not tiny.changed(of_network("generator", student), method.networks["generator"].state_dict())
    for name in ("mapping_network", "style_encoder"):
        own_state, of_student = method.networks[name].state_dict(), of_network(name, student)
        for key, tensor in own_state.items():
            if key.startswith("unshared."):
                head = key.split(".")[1]
                assert int(head) in range(tiny.CLASSES)
                key = key.replace(f"unshared.{head}.", "unshared.0.", 1)
            assert torch.equal(tensor, of_student[key])
    own_state, of_student = method.networks["discriminator"].state_dict(), of_network("discriminator", student)
    last = max(own_state, key=lambda key: int(key.split(".")[1])).split(".")[1]
    for key, tensor in own_state.items():
        expected = of_student[key]
        if key.startswith(f"main.{last}."):
            assert expected.shape[0] == 1
            expected = expected.expand_as(tensor)
        assert torch.equal(tensor, expected)
    x, labels = torch.rand(3, 3, 8, 8), torch.arange(3)
    zero = torch.zeros_like(labels)
    for network, given in (("style_encoder", x), ("discriminator", x), ("mapping_network", torch.randn(3, 4))):
        of_method = method.networks[network](given, labels)
        of_student = tiny.student().networks[network](given, zero)
        torch.testing.assert_close(of_method, of_student, rtol=1e-5, atol=1e-6)


def test_heads_are_copies_that_learn_apart():
    method = tiny.method(batch=6, mapping_learning_rate=1e-3)
    method.initialise(student_tensors(), reset_encoders=False)
    for step in range(2):
        method.training_step(step)
    state = method.networks["mapping_network"].state_dict()
    assert not torch.equal(state["unshared.0.0.weight"], state["unshared.1.0.weight"])


def test_encoders_can_stay_random():
    student = student_tensors()
    method = tiny.method()
    before = tiny.state_of(method.networks)
    method.initialise(student, reset_encoders=True)
    after = tiny.state_of(method.networks)
    moved = tiny.changed(before, after)
    assert not [name for name in moved if name.startswith("style_encoder.")]
    generator = {name.removeprefix("generator.") for name in after if name.startswith("generator.")}
    for key in generator:
        kept = key.split(".")[0] in SOURCES
        assert torch.equal(after[f"generator.{key}"], (before if kept else student)[f"generator.{key}"])
    assert {key.split(".")[0] for key in generator} == {*SOURCES, "decode", "to_rgb"}
    assert any(name.startswith("mapping_network.") for name in moved)
    assert any(name.startswith("discriminator.") for name in moved)


def test_student_without_discriminator_leaves_that_network():
    student = {k: v for k, v in student_tensors().items() if not k.startswith("discriminator.")}
    method = tiny.method()
    before = tiny.state_of({"d": method.networks["discriminator"]})
    method.initialise(student, reset_encoders=False)
    assert not tiny.changed(before, tiny.state_of({"d": method.networks["discriminator"]}))


@pytest.mark.parametrize(
    ("changes", "network"),
    [({"style_dim": 5}, "generator"), ({"hidden_dim": 9}, "mapping_network"), ({"dim_in": 5}, "generator")],
)
def test_student_of_other_sizes_is_refused(changes, network):
    with pytest.raises(UserError, match=f"the distilled {network} does not fit this run's {network}: .*size mismatch"):
        tiny.method().initialise(student_tensors(**changes), reset_encoders=False)


@pytest.mark.parametrize("missing", ["generator", "mapping_network", "style_encoder"])
def test_student_without_a_network_is_refused(missing):
    student = {k: v for k, v in student_tensors().items() if not k.startswith(f"{missing}.")}
    with pytest.raises(UserError, match=f"the distilled student has no {missing}"):
        tiny.method().initialise(student, reset_encoders=False)


def test_networks_of_several_domains_are_no_student():
    several = tiny.state_of(tiny.method(seed=5).networks)
    with pytest.raises(UserError, match=r"the distilled mapping_network does not fit .* one domain"):
        tiny.method().initialise(several, reset_encoders=False)


def test_averages_start_as_copies_or_officially_elsewhere():
    student = student_tensors()
    for start, initialised in ((s, i) for s in ("copy", "official") for i in (False, True)):
        method = tiny.method(ema_start=start)
        assert set(method.averages) == {"generator", "mapping_network", "style_encoder"}
        own = tiny.state_of(method.averages)
        if initialised:
            method.initialise(student, reset_encoders=False)
        averages, networks = tiny.state_of(method.averages), tiny.state_of(method.networks)
        if start == "copy":
            assert not tiny.changed(averages, networks)
        else:
            assert not tiny.changed(own, averages)
            assert tiny.changed(averages, networks)
        assert not any(p.requires_grad for average in method.averages.values() for p in average.parameters())
        assert not any(average.training for average in method.averages.values())


def test_start_of_the_averages_does_not_touch_that_of_the_networks():
    with_copy, officially = tiny.method(), tiny.method(ema_start="official")
    assert not tiny.changed(tiny.state_of(with_copy.networks), tiny.state_of(officially.networks))
    # Officially the averages have torch's own initialisation, in which no bias is zero.
    assert not with_copy.averages["generator"].from_rgb.bias.any()
    assert bool(officially.averages["generator"].from_rgb.bias.all())


def test_warm_up_bounds_the_decay():
    steps = (0, 9, 10**6)
    assert [tiny.method().ema_decay(step) for step in steps] == [0.999] * 3
    warm = tiny.method(ema_warm_up=True)
    assert [warm.ema_decay(step) for step in steps] == pytest.approx([1 / 10, 10 / 19, 0.999])


def test_repeating_one_batch_makes_the_reconstruction_fall():
    method = tiny.method(learning_rate=3e-3, mapping_learning_rate=3e-3, beta1=0.5, lambda_ds=0.0)
    losses = []
    for step in range(40):
        torch.manual_seed(0)
        scalars = method.training_step(step)
        losses.append(float((scalars["cyc_latent"] + scalars["cyc_reference"]).detach()))
    assert sum(losses[-4:]) < 0.7 * sum(losses[:4])


def sources():
    images = tiny.pictures(6, seed=9).float() / 127.5 - 1
    return images[:3], images[3:], torch.arange(3)


def test_translation_uses_the_averages_and_the_asked_style():
    method = tiny.method(images=False, ema_start="official")
    x, references, y = sources()
    average = method.averages
    torch.manual_seed(4)
    latent = tiny.translated(method, x, y, "latent")
    torch.manual_seed(4)
    style = average["mapping_network"](torch.randn(3, 4), y)
    torch.testing.assert_close(latent, average["generator"](x, style).clamp(-1, 1))
    guided = tiny.translated(method, x, y, "reference", references)
    style = average["style_encoder"](references, y)
    torch.testing.assert_close(guided, average["generator"](x, style).clamp(-1, 1))
    assert not torch.allclose(latent, guided, atol=1e-3)


def test_translation_is_a_function_of_the_seed_and_clamped():
    method = tiny.method(images=False)
    with torch.no_grad():
        method.averages["generator"].to_rgb[2].weight.mul_(50)
    x, references, y = sources()
    outputs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        outputs.append(
            (tiny.translated(method, x, y, "latent"), tiny.translated(method, x, y, "reference", references))
        )
    assert torch.equal(outputs[0][0], outputs[1][0])
    assert not torch.equal(outputs[0][0], outputs[2][0])
    assert all(torch.equal(outputs[0][1], other[1]) for other in outputs)
    for image in outputs[0]:
        assert image.shape == (3, 3, 8, 8)
        assert float(image.min()) == -1.0
        assert float(image.max()) == 1.0
        assert not image.requires_grad


def test_targets_matter():
    method = tiny.method(images=False)
    x, references, y = sources()
    for mode in ("latent", "reference"):
        outputs = []
        for target in (y, (y + 1) % 3):
            torch.manual_seed(0)
            outputs.append(tiny.translated(method, x, target, mode, references))
        assert not torch.allclose(*outputs, atol=1e-4)


@pytest.mark.parametrize(
    ("guidance", "with_references", "error", "sentence"),
    [
        ("reference", False, ValueError, "the guidance `reference` lacks its reference images"),
        ("dreaming", True, UserError, "stargan_v2 with these networks has no mode `dreaming`, but only `latent` and"),
    ],
)
def test_translation_refuses_what_it_cannot_do(guidance, with_references, error, sentence):
    x, references, y = sources()
    with pytest.raises(error, match=sentence):
        tiny.translated(tiny.method(images=False), x, y, guidance, references if with_references else None)


def test_preview_is_four_rows_and_repeats():
    method = tiny.method(batch=9)
    images, columns = method.preview()
    assert columns == 8
    assert images.shape == (32, 3, 8, 8)
    assert torch.equal(images, method.preview()[0])


def test_method_without_images_can_neither_train_nor_preview():
    method = tiny.method(images=False)
    with pytest.raises(RuntimeError, match="without images"):
        method.training_step(0)
    with pytest.raises(RuntimeError, match="without images"):
        method.preview()


def test_bfloat16_trains_with_the_weights_after_each_half_step():
    scalars = {}
    for precision in ("float32", "bfloat16"):
        method = tiny.method(precision=precision, learning_rate=0.05)
        torch.manual_seed(0)
        scalars[precision] = {k: float(v.detach()) for k, v in method.training_step(0).items()}
        assert all(t.dtype == torch.float32 for t in tiny.state_of(method.networks).values())
    # With this rate the second half-step of the discriminator differs from the first by much more than 0.2.
    float32, bfloat16 = scalars["float32"], scalars["bfloat16"]
    assert bfloat16["d_reference"] == pytest.approx(float32["d_reference"], rel=0.15, abs=0.15)
    assert bfloat16["d_latent"] == pytest.approx(float32["d_latent"], rel=0.05, abs=0.05)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 2e-2), ("bfloat16", 0.2)])
def test_gpu_computes_what_the_cpu_does(precision, tolerance, tmp_path):
    scalars = []
    for device in (tiny.CPU, torch.device("cuda")):
        method = tiny.method(device=device, precision=precision if device.type == "cuda" else "float32")
        torch.manual_seed(0)
        scalars.append({k: float(v.detach()) for k, v in method.training_step(0).items()})
        stem = method.networks["generator"].encode[0].conv1.weight
        assert stem.device.type == device.type
        assert stem.is_contiguous(memory_format=torch.channels_last)
    assert scalars[1] == pytest.approx(scalars[0], rel=tolerance, abs=tolerance)
    train(tiny.method(device=torch.device("cuda"), precision=precision), LoopSettings(2, 0), tmp_path, "x")
