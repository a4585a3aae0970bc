"""Stage 1, eqs. (1) to (5), recomputed from their definitions with the official layers and the triplet's parts."""

import copy

import pytest
import tiny
import torch
import torch.nn.functional as F

from kdx2i.distill.i2i import I2IDistillation
from kdx2i.distill.transfers import TRANSFERS, TransferReadings, read_transfers
from kdx2i.errors import UserError
from kdx2i.methods.settings import I2IDistillSettings
from kdx2i.training.loop import LoopSettings, train

DISTILLING = [name for name, t in TRANSFERS.items() if t.distils and t.student is None and t.only in (None, "i2i")]
WEIGHTS = {"gamma": 0.3, "tau": 0.7, "alpha": 0.2, "beta": 1.1, "lambda_adv": 0.6, "lambda_kdl": 1.7, "r1_weight": 0.8}
SEED, BATCH = 21, 2
EVERY_TERM = {"encoder", "style", "generator", "image"}


def norm1(a, b, norm):
    """|a - b|_1: a mean over everything, over samples and positions, or over samples."""
    return (a - b).abs().sum() / {"mean": a.numel(), "positions": a.numel() / a.shape[1], "sum": len(a)}[norm]


class ByHand:
    """One iteration by the formulas of the paper, on copies of the networks."""

    def __init__(self, distillation):
        self.settings, self.transfer = distillation.settings, distillation.transfer
        self.networks = copy.deepcopy(dict(distillation.networks))
        self.generator, self.mapping, self.style_encoder, self.discriminator = (
            self.networks[n] for n in ("generator", "mapping_network", "style_encoder", "discriminator")
        )
        self.teacher = (distillation.teacher_generator, distillation.teacher_discriminator)
        self.one = torch.zeros(BATCH, dtype=torch.long)

    @torch.no_grad()
    def triplet(self):
        """Draw s1 and s2; x1 = G'(s1), x2 = G'(s2), y = G'(Phi(s1, s2)) with its features."""
        torch.manual_seed(SEED)
        teacher = self.teacher[0]
        z1, z2 = torch.randn(2, BATCH, teacher.config.z_dim)
        noise = (z2 if self.transfer.mixing else z1)[:, :4]
        if self.settings.noise == "lift":
            lifted = torch.cat([noise, noise[:, :2]], dim=1)
            z1, z2 = (z1, lifted) if self.transfer.mixing else (lifted, z2)
        s1, s2 = (teacher.mapping(z)[:, None].expand(-1, teacher.num_ws, -1) for z in (z1, z2))
        layers = self.settings.mixing_layers
        x1, features1 = teacher.synthesis(s1, "const")
        if not self.transfer.mixing:
            return x1, x1, x1, noise, features1
        x2 = teacher.synthesis(s2, "const")[0]
        y, features = teacher.synthesis(torch.cat([s1[:, :layers], s2[:, layers:]], dim=1), "const")
        return x1, x2, y, noise, features

    def student_encoder(self, x):
        """E_S: the stem at 8 px; of the three blocks at 4 px, the last."""
        g = self.generator
        stem = g.from_rgb(x)
        bottleneck = g.encode[2](g.encode[1](g.encode[0](stem)))
        return bottleneck, {8: stem, 4: bottleneck}

    def student_decoder(self, h, s):
        """G_S: of the two blocks at 4 px the last, the block at 8 px, and the image."""
        g = self.generator
        at4 = g.decode[1](g.decode[0](h, s), s)
        at8 = g.decode[2](at4, s)
        return g.to_rgb(at8), {4: at4, 8: at8}

    def student_style(self, x):
        """E_R: the stem at 8 px, the block at 4 px, and the style."""
        layers = self.style_encoder.shared
        stem = layers[0](x)
        at4 = layers[1](stem)
        h = layers[4](layers[3](layers[2](at4)))
        return self.style_encoder.unshared(h.flatten(1), self.one), {8: stem, 4: at4}

    @torch.no_grad()
    def teacher_discriminator(self, x):
        """D_T(x)_l: from-RGB at 8 px, the ResBlock's output at 4 px."""
        entered = self.teacher[1].b8.fromrgb(x)
        return {8: entered, 4: self.teacher[1].b8(entered)}

    def aligned(self, name, teacher, student):
        """sum_l |T_l - S_l|_1, a 1x1 convolution mapping one side where the widths differ."""
        total = 0.0
        for r in (4, 8):
            of_teacher, of_student = teacher[r], student[r]
            if of_teacher.shape[1] != of_student.shape[1]:
                if name not in self.networks["hints"]:
                    return torch.zeros(())  # a term that the transfer leaves out has no hint layers
                layer = self.networks["hints"][name].maps[str(r)]
                if self.settings.hints == "student-to-teacher":
                    of_student = F.conv2d(of_student, layer.weight, layer.bias)
                else:
                    of_teacher = F.conv2d(of_teacher, layer.weight, layer.bias)
            total = total + norm1(of_teacher, of_student, self.settings.norm)
        return total

    def terms(self):
        """Return the terms of eqs. (1) to (3), the images and y."""
        s = self.settings
        x1, x2, y, z, features = self.triplet()
        content, encoded = self.student_encoder(x1)
        style, styled = self.student_style(x2)
        guided = [style]
        if s.guidance == "both":
            guided.append(self.mapping(z, self.one))
        outputs = [self.student_decoder(content, one) for one in guided]
        images = torch.cat([image for image, _ in outputs])
        if not self.transfer.alignment:
            return {}, images, y
        of_x1, of_x2 = self.teacher_discriminator(x1), self.teacher_discriminator(x2)
        encoder, style = self.aligned("encoder", of_x1, encoded), self.aligned("style", of_x2, styled)
        # With both guidances the generator's terms are means over the two passes.
        generator = sum(self.aligned("generator", features, decoded) for _, decoded in outputs) / len(outputs)
        image = sum(norm1(image, y, s.norm) for image, _ in outputs) / len(outputs)
        terms = {"encoder": s.gamma * encoder, "style": s.tau * style, "generator": s.alpha * generator}
        kept = {name: terms[name] for name in self.transfer.alignment}
        return kept | ({"image": s.beta * image} if "generator" in kept else {}), images, y

    def logits(self, x):
        return self.discriminator.main(x).flatten(1)[:, 0]

    def iteration(self):
        """Return all scalars and the gradient of eq. (5) for every parameter of the student."""
        s = self.settings
        scalars, images, y = self.terms()
        total = s.lambda_kdl * sum(scalars.values())
        if self.transfer.trains_discriminator:
            judge = list(self.discriminator.parameters())
            real = y.clone().requires_grad_(True)
            of_real = self.logits(real)
            (slope,) = torch.autograd.grad(of_real.sum(), real, create_graph=True)
            d = -torch.log(torch.sigmoid(of_real)).mean()
            d = d - torch.log(1 - torch.sigmoid(self.logits(images.detach()))).mean()
            d = d + s.r1_weight / 2 * slope.square().sum() / len(slope)
            optimizer = torch.optim.Adam(
                judge, lr=s.learning_rate, betas=(s.beta1, s.beta2), weight_decay=s.weight_decay
            )
            for parameter, gradient in zip(judge, torch.autograd.grad(d, judge), strict=True):
                parameter.grad = gradient
            optimizer.step()
            scalars["d"] = d
        if self.transfer.adversarial:
            probability = torch.sigmoid(self.logits(images))
            printed, switched = torch.log(1 - probability).mean(), -torch.log(probability).mean()
            scalars["adv"] = printed if s.adversarial == "saturating" else switched
            total = total + s.lambda_adv * scalars["adv"]
        trained = {n: m for n, m in self.networks.items() if n != "discriminator"}
        parameters = {f"{n}.{k}": p for n, m in trained.items() for k, p in m.named_parameters()}
        gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
        return scalars, dict(zip(parameters, gradients, strict=True))


def check(distillation):
    """Compare one iteration with the one by hand: the scalars, and the gradients of the student."""
    by_hand = ByHand(distillation)
    expected, gradients = by_hand.iteration()
    names = {id(p): f"{n}.{k}" for n, m in distillation.networks.items() for k, p in m.named_parameters()}
    group = distillation.optimizers["generator"].param_groups[0]["params"]
    recorder = tiny.Recorder(group)
    distillation.optimizers = {**distillation.optimizers, "generator": recorder}
    torch.manual_seed(SEED)
    found = distillation.training_step(0)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert float(found[name].detach()) == pytest.approx(float(value.detach()), rel=1e-5, abs=1e-6)
    assert {names[id(p)] for p in group} == set(gradients)
    for parameter, gradient in zip(group, recorder.steps[0], strict=True):
        by_formula = gradients[names[id(parameter)]]
        if by_formula is None:
            assert not gradient.numel()
        else:
            torch.testing.assert_close(
                gradient, by_formula, rtol=1e-3, atol=1e-5 * max(1.0, float(by_formula.abs().max()))
            )
    return gradients


@pytest.mark.parametrize("norm", ["mean", "positions", "sum"])
@pytest.mark.parametrize("hints", ["student-to-teacher", "teacher-to-student"])
@pytest.mark.parametrize("adversarial", ["non-saturating", "saturating"])
def test_one_iteration_is_equations_1_to_5(norm, hints, adversarial):
    check(tiny.distillation(norm=norm, hints=hints, adversarial=adversarial, **WEIGHTS))


@pytest.mark.parametrize("transfer", DISTILLING)
@pytest.mark.parametrize("guidance", ["both", "reference"])
@pytest.mark.parametrize("noise", ["lift", "first-components"])
def test_each_transfer_keeps_exactly_its_terms(transfer, guidance, noise):
    distillation = tiny.distillation(transfer, guidance=guidance, noise=noise, **WEIGHTS)
    gradients = check(distillation)
    torch.manual_seed(SEED)
    scalars = set(distillation.training_step(0))
    adversarial = {"d", "adv"} if transfer != "kd-l1" else set()
    alignment = {"kd-adv": set(), "kd-l1": {"generator", "image"}}.get(transfer, EVERY_TERM)
    assert scalars == adversarial | alignment
    assert ("discriminator" in distillation.optimizers) == (transfer != "kd-l1")
    assert ("hints" in distillation.networks) == (transfer != "kd-adv")
    # Every network of the student learns; the mapping network through latent guidance only.
    reached = {name.split(".")[0] for name, g in gradients.items() if g is not None and bool(g.any())}
    learning = {"generator", "style_encoder"} | ({"mapping_network"} if guidance == "both" else set())
    assert reached == learning | ({"hints"} if alignment else set())
    parts = {name.split(".")[1] for name, g in gradients.items() if name.startswith("generator.") and bool(g.any())}
    assert parts == {"from_rgb", "encode", "decode", "to_rgb"}


@pytest.mark.parametrize(
    ("readings", "transfer", "scalars"),
    [
        ({"l1_alignment": "all"}, "kd-l1", EVERY_TERM),
        ({"l1_discriminator": "kd"}, "kd-l1", {"generator", "image"}),
        ({"l1_discriminator": "student"}, "kd-l1", {"generator", "image", "d"}),
        ({"adversarial_alignment": "encoders"}, "kd-adv", {"encoder", "style", "d", "adv"}),
        ({"encoders_from_scratch": "stage1"}, "kd-encoder-scratch", {"generator", "image", "d", "adv"}),
    ],
)
def test_each_reading_of_an_ablation_keeps_exactly_its_terms(readings, transfer, scalars):
    read = read_transfers(TransferReadings(**readings))[transfer]
    distillation = tiny.distillation(read, **WEIGHTS)
    before = tiny.state_of({"d": distillation.networks["discriminator"]})
    check(distillation)
    assert bool(tiny.changed(before, tiny.state_of({"d": distillation.networks["discriminator"]}))) == ("d" in scalars)
    assert set(distillation.networks["hints"]) == scalars & {"encoder", "style", "generator"}
    torch.manual_seed(SEED)
    assert set(distillation.training_step(0)) == scalars


def test_hint_layers_are_only_where_widths_differ():
    distillation = tiny.distillation()
    hints = distillation.networks["hints"]
    assert {name: sorted(alignment.maps) for name, alignment in hints.items()} == {
        "encoder": ["8"],
        "style": ["8"],
        "generator": ["8"],
    }
    assert all(alignment.shared == [4, 8] for alignment in hints.values())


def test_from_rgb_may_count_as_no_resblock():
    distillation = tiny.distillation(from_rgb=False)
    hints = distillation.networks["hints"]
    # The discriminator's features at the image's 8 px are from-RGB's; the generator's are a block's and stay.
    assert {name: layers.shared for name, layers in hints.items()} == {
        "encoder": [4],
        "style": [4],
        "generator": [4, 8],
    }
    first, second = (float(d.training_step(0)["encoder"].detach()) for d in (distillation, tiny.distillation()))
    assert first != second


@pytest.mark.parametrize("transfer", DISTILLING)
def test_teacher_never_changes(transfer):
    distillation = tiny.distillation(transfer, learning_rate=1e-2)
    teacher = {"g": distillation.teacher_generator, "d": distillation.teacher_discriminator}
    before = tiny.state_of(teacher)
    for step in range(3):
        distillation.training_step(step)
    assert not tiny.changed(before, tiny.state_of(teacher))
    assert not any(p.requires_grad or p.grad is not None for m in teacher.values() for p in m.parameters())


def test_discriminator_is_changed_by_its_own_loss_only():
    distillation = tiny.distillation()
    before = tiny.state_of({"d": distillation.networks["discriminator"]})
    recorder = tiny.Recorder(distillation.networks["discriminator"].parameters())
    distillation.optimizers = {**distillation.optimizers, "discriminator": recorder}
    distillation.training_step(0)
    assert not tiny.changed(before, tiny.state_of({"d": distillation.networks["discriminator"]}))
    assert len(recorder.steps) == 1
    assert all(p.requires_grad for p in distillation.networks["discriminator"].parameters())
    distillation = tiny.distillation()
    distillation.optimizers = {
        **distillation.optimizers,
        "generator": tiny.Recorder(recorder.param_groups[0]["params"]),
    }
    student = {n: m for n, m in distillation.networks.items() if n != "discriminator"}
    before, judge = tiny.state_of(student), tiny.state_of({"d": distillation.networks["discriminator"]})
    distillation.training_step(0)
    assert not tiny.changed(before, tiny.state_of(student))
    assert tiny.changed(judge, tiny.state_of({"d": distillation.networks["discriminator"]}))


def test_without_adversarial_loss_the_discriminator_stays():
    distillation = tiny.distillation("kd-l1")
    before = tiny.state_of({"d": distillation.networks["discriminator"]})
    distillation.training_step(0)
    assert not tiny.changed(before, tiny.state_of({"d": distillation.networks["discriminator"]}))
    assert set(distillation.optimizers) == {"generator"}


@pytest.mark.parametrize("transfer", ["kd", "kd-l1", "kd-no-mixing"])
def test_distilling_repeated_triplets_makes_the_image_loss_fall(transfer):
    distillation = tiny.distillation(transfer, learning_rate=1e-2, beta1=0.5, beta=1.0)
    losses = []
    for step in range(80):
        torch.manual_seed(step % 2)
        losses.append(float(distillation.training_step(step)["image"].detach()))
    assert sum(losses[-4:]) < 0.75 * sum(losses[:4])


def test_averages_follow_all_but_the_discriminator_and_the_hints():
    distillation = tiny.distillation()
    assert set(distillation.averages) == {"generator", "mapping_network", "style_encoder"}
    for name, average in distillation.averages.items():
        assert not tiny.changed(tiny.state_of({"n": average}), tiny.state_of({"n": distillation.networks[name]}))
        assert not any(p.requires_grad for p in average.parameters())


def test_warm_up_bounds_the_decay():
    decays = {
        warm: [tiny.distillation(ema_decay=0.99, ema_warm_up=warm).ema_decay(step) for step in (0, 9, 90, 10**6)]
        for warm in (True, False)
    }
    assert decays[False] == [0.99] * 4
    assert decays[True] == pytest.approx([1 / 10, 10 / 19, 91 / 100, 0.99])


def test_preview_shows_the_triplets_above_both_guidances():
    distillation = tiny.distillation(batch=9)
    images, columns = distillation.preview()
    assert columns == 8
    assert images.shape == (40, 3, 8, 8)
    t = distillation.preview_triplets
    assert torch.equal(images[:24], torch.cat([t.x1, t.x2, t.y]))
    assert torch.equal(images, distillation.preview()[0])
    assert not torch.equal(images[24:32], images[32:])
    # The student shown is the averaged one.
    with torch.no_grad():
        for network in distillation.networks.values():
            for parameter in network.parameters():
                parameter.zero_()
    assert torch.equal(images, distillation.preview()[0])


def test_teacher_of_another_resolution_is_refused():
    settings = I2IDistillSettings(mixing_layers=2)
    with pytest.raises(UserError, match="draws images of 16 px, but the student needs 8 px"):
        I2IDistillation(tiny.student(), tiny.teacher(16), settings, TRANSFERS["kd"], tiny.CPU)


def test_teacher_with_too_little_noise_is_refused():
    settings = I2IDistillSettings(mixing_layers=2)
    with pytest.raises(UserError, match="noise has 7 dimensions, but the teacher's has only 6"):
        I2IDistillation(tiny.student(latent_dim=7), tiny.teacher(), settings, TRANSFERS["kd"], tiny.CPU)


def test_cut_beyond_the_teacher_is_refused():
    with pytest.raises(UserError, match="mixing_layers is 4, but this teacher has 4 layers"):
        tiny.distillation(mixing_layers=4)


def test_bfloat16_is_near_float32(tmp_path):
    scalars = {}
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(SEED)
        scalars[precision] = tiny.distillation(precision=precision).training_step(0)
    for name, value in scalars["float32"].items():
        assert float(scalars["bfloat16"][name].detach()) == pytest.approx(float(value.detach()), rel=0.1, abs=0.05)
    distillation = tiny.distillation(precision="bfloat16")
    train(distillation, LoopSettings(2, 0), tmp_path, "x")
    assert all(t.dtype in (torch.float32, torch.int64) for t in tiny.state_of(distillation.networks).values())


def test_scalars_beside_tensors_are_none():
    distillation = tiny.distillation()
    distillation.restore_scalars(distillation.scalars())
    assert distillation.scalars() == {}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-2), ("bfloat16", 0.15)])
def test_gpu_computes_what_the_cpu_does(precision, tolerance):
    scalars = []
    for device in (tiny.CPU, torch.device("cuda")):
        distillation = tiny.distillation(device=device, precision=precision if device.type == "cuda" else "float32")
        for network in distillation.networks.values():
            assert all(p.device.type == device.type for p in network.parameters())
        torch.manual_seed(SEED)
        scalars.append({k: float(v.detach()) for k, v in distillation.training_step(0).items()})
    assert scalars[1] == pytest.approx(scalars[0], rel=tolerance, abs=tolerance / 3)
