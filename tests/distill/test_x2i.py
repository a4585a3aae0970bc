"""Stage 1 of section 3.3, eqs. (6) to (8), recomputed from their definitions; its switches; what is refused."""

import copy

import conditional_tiny as ct
import pytest
import tiny
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from kdx2i.distill.transfers import TRANSFERS, TransferReadings, read_transfers
from kdx2i.distill.x2i import X2IDistillation
from kdx2i.errors import UserError
from kdx2i.methods.conditional_settings import LabelMapDistillSettings, SpeechDistillSettings, X2IDistillSettings

SEED, BATCH = 21, 4
WEIGHTS = {"alpha_small": 0.3, "alpha_large": 0.05, "beta": 1.1, "lambda_adv": 0.6, "lambda_kdl": 1.7,
           "lambda_srl": 0.4, "r1_weight": 0.8, "dimension_limit": 4}  # fmt: skip
TABLE2 = ["kd", "kd-l1", "kd-adv", "kd-constant-condition", "kd-no-diversity"]


def lrelu(x):
    return F.leaky_relu(x, 0.2) * 2**0.5


class ByHand:
    """One iteration by the formulas of the paper, on copies of the networks."""

    def __init__(self, distillation):
        self.d, self.s, self.transfer = distillation, distillation.settings, distillation.transfer
        self.networks = copy.deepcopy(dict(distillation.networks))
        self.encoder = self.networks.get("semantic_encoder") or copy.deepcopy(distillation.semantic_encoder)

    @torch.no_grad()
    def triplet(self):
        torch.manual_seed(SEED)
        teacher = self.d.teacher_generator
        s1, s2 = (teacher.mapping(z)[:, None].expand(-1, teacher.num_ws, -1)
                  for z in torch.randn(2, BATCH, teacher.z_dim))  # fmt: skip
        cut = self.s.mixing_layers
        self.x1, self.of_x = teacher.synthesis(s1)
        self.y, self.of_y = teacher.synthesis(torch.cat([s1[:, :cut], s2[:, cut:]], dim=1))
        self.z = torch.randn(2, BATCH, ct.NOISE)
        self.keep = torch.rand(BATCH) >= self.s.first_dropout

    def code(self, images):
        """S_E by the layers of the discriminator, without the last linear one."""
        net, s = self.encoder.network, self.s
        x = lrelu(F.conv2d(images, net.b16.fromrgb.weight / 3**0.5, net.b16.fromrgb.bias))
        x = net.b8(net.b16(x))
        if s.minibatch_statistics == "batch":  # one group of all four
            size = (x.var(dim=0, unbiased=False) + 1e-8).sqrt().mean()
        else:
            size = torch.tensor(1e-4) if s.minibatch_statistics == "none" else self.encoder.statistic
        x = torch.cat([x, size.reshape(1, 1, 1, 1).expand(len(x), 1, 4, 4)], dim=1)
        conv, fc = net.b4.conv, net.b4.fc
        x = lrelu(F.conv2d(x, conv.weight / (9 * x.shape[1]) ** 0.5, conv.bias, padding=1)).flatten(1)
        return lrelu(x @ (fc.weight / x.shape[1] ** 0.5).T + fc.bias)

    def condition(self, images):
        if self.transfer.condition == "constant":
            return torch.ones(BATCH, ct.CONDITION)
        maps = self.networks["conditions"]
        return ((self.code(images) - maps.shift) * maps.factor) @ maps.weight.T

    def generate(self):
        first = self.networks["first"]
        f = F.conv2d(self.of_x[8], first.map.weight) * first.factor
        f = torch.where(self.keep[:, None, None, None], f, torch.zeros_like(f))
        z_x, z_y = self.z[0], self.z[0] if self.s.pair_noise == "shared" else self.z[1]
        self.c = c_x, c_y = self.condition(self.x1), self.condition(self.y)
        network = self.networks["generator"]
        if self.s.passes == "joint":
            images, features = network(torch.cat([z_x, z_y]), torch.cat([c_x, c_y]), torch.cat([f, f]))
            return [(images[i], {r: v[i] for r, v in features.items()}) for i in (slice(0, 4), slice(4, 8))]
        return [network(z_x, c_x, f), network(z_y, c_y, f)]

    def logits(self, images, c):
        return self.networks["discriminator"](images, c)

    def iteration(self):
        """Return all scalars and the gradient of eq. (8) for every parameter of the student and of stage 1."""
        self.triplet()
        s, scalars = self.s, {}
        (x_s, features_x), (y_s, features_y) = self.generate()
        total = torch.zeros([])
        if "generator" in self.transfer.alignment:
            scalars["features"] = torch.zeros([])
            for r, weight in self.d.alpha.items():
                for teacher, student in ((self.of_x, features_x), (self.of_y, features_y)):
                    hint = self.networks["hints"].maps[str(r)]
                    mapped = torch.einsum("oc,bchw->bohw", hint.weight[:, :, 0, 0], student[r])
                    distance = (teacher[r] - mapped - hint.bias[None, :, None, None]).abs().mean()
                    scalars["features"] = scalars["features"] + weight * distance
            scalars["image"] = s.beta * ((self.x1 - x_s).abs().mean() + (self.y - y_s).abs().mean())
            total = total + s.lambda_kdl * (scalars["features"] + scalars["image"])
        if self.transfer.diversity:
            scalars["diversity"] = -(x_s - y_s).abs().mean()
            total = total + s.lambda_srl * scalars["diversity"]
        both = s.judged == "both"
        real, fake = (torch.cat(pair) if both else pair[1] for pair in ((self.x1, self.y), (x_s, y_s)))
        c = (torch.cat(self.c) if both else self.c[1]).detach()
        if self.transfer.condition == "constant" or s.discriminator_condition == "zero":
            c = torch.zeros_like(c)
        if self.transfer.trains_discriminator:
            scalars["d"] = self.judge(real, fake.detach(), c)
        if self.transfer.adversarial:
            scalars["adv"] = -torch.log(torch.sigmoid(self.logits(fake, c))).mean()
            total = total + s.lambda_adv * scalars["adv"]
        trained = {n: m for n, m in self.networks.items() if n != "discriminator"}
        parameters = {f"{n}.{k}": p for n, m in trained.items() for k, p in m.named_parameters() if p.requires_grad}
        gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
        return scalars, dict(zip(parameters, gradients, strict=True))

    def judge(self, real, fake, c):
        s, parameters = self.s, list(self.networks["discriminator"].parameters())
        real = real.clone().requires_grad_(True)
        of_real = self.logits(real, c)
        (slope,) = torch.autograd.grad(of_real.sum(), real, create_graph=True)
        of_fake = torch.log(1 - torch.sigmoid(self.logits(fake, c))).mean()
        if s.discriminator_pairs == "mismatched":
            wrong = torch.cat([c[1:], c[:1]])
            of_fake = (of_fake + torch.log(1 - torch.sigmoid(self.logits(real.detach(), wrong))).mean()) / 2
        loss = -torch.log(torch.sigmoid(of_real)).mean() - of_fake
        loss = loss + s.r1_weight / 2 * slope.square().sum() / len(slope)
        optimizer = torch.optim.Adam(parameters, lr=s.discriminator_learning_rate, betas=(s.beta1, s.beta2))
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        optimizer.step()
        return loss


def check(distillation):
    """Compare one iteration with the one by hand: the scalars, and the gradients of the student."""
    expected, gradients = ByHand(distillation).iteration()
    names = {id(p): f"{n}.{k}" for n, m in distillation.networks.items() for k, p in m.named_parameters()}
    group = distillation.optimizers["generator"].param_groups[0]["params"]
    recorder = tiny.Recorder(group)
    distillation.optimizers = {**distillation.optimizers, "generator": recorder}
    torch.manual_seed(SEED)
    found = distillation.training_step(0)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert float(found[name].detach()) == pytest.approx(float(value.detach()), rel=1e-4, abs=1e-6)
    assert {names[id(p)] for p in group} == set(gradients)
    for parameter, gradient in zip(group, recorder.steps[0], strict=True):
        by_formula = gradients[names[id(parameter)]]
        if by_formula is None:
            assert not gradient.numel()
        else:
            tolerance = 1e-4 * max(1.0, float(by_formula.abs().max()))
            torch.testing.assert_close(gradient, by_formula, rtol=1e-3, atol=tolerance)
    return {name for name, gradient in gradients.items() if gradient is not None and bool(gradient.any())}


@pytest.mark.parametrize("transfer", TABLE2)
def test_each_transfer_of_table_2_keeps_exactly_its_terms(transfer):
    distillation = ct.distillation(transfer, **WEIGHTS)
    reached = check(distillation)
    torch.manual_seed(SEED)
    kept = {
        "kd": {"d", "adv", "features", "image", "diversity"},
        "kd-l1": {"features", "image"},
        "kd-adv": {"d", "adv"},
        "kd-constant-condition": {"d", "adv", "features", "image", "diversity"},
        "kd-no-diversity": {"d", "adv", "features", "image"},
    }[transfer]
    assert set(distillation.training_step(0)) == kept
    # The teacher's first feature reaches the student by a trained map, and so does the condition where there is one.
    assert "first.map.weight" in reached
    assert ("conditions.weight" in reached) == (transfer != "kd-constant-condition")
    assert ("hints" in distillation.networks) == (transfer != "kd-adv")


@pytest.mark.parametrize(
    "changes",
    [
        {"passes": "separate"},
        {"pair_noise": "own"},
        {"judged": "y"},
        {"discriminator_condition": "zero"},
        {"discriminator_pairs": "mismatched"},
        {"semantic_encoder": "trained"},
        {"minibatch_statistics": "batch", "condition_scale": "unit"},
        {"minibatch_statistics": "none", "condition_scale": "raw"},
        {"aligned": "from-first", "dimension": "pixels"},
        {"first_scale": "teacher", "first_dropout": 0.0},
        {"mixing_layers": 4, "first_dropout": 1.0, "projection": "fixed"},
    ],
    ids=str,
)
def test_one_iteration_is_eqs_4_and_6_to_8_under_each_switch(changes):
    distillation = ct.distillation(**(WEIGHTS | changes))
    reached = check(distillation)
    assert ("conditions.weight" in reached) == (changes.get("projection") != "fixed")
    assert ("first.map.weight" in reached) == (changes.get("first_dropout") != 1.0)
    trained = any(name.startswith("semantic_encoder.network.b4.fc") for name in reached)
    assert trained == (changes.get("semantic_encoder") == "trained")


def test_alpha_follows_the_dimension_of_what_is_compared():
    weights = {"alpha_small": 0.3, "alpha_large": 0.05, "beta": 1.0, "aligned": "from-first"}
    # The teacher has 8 channels at 8 px and 4 at 16 px; hint layers map to them, or the teacher's to 6 and 3.
    assert ct.distillation(dimension_limit=8, **weights).alpha == {8: 0.05, 16: 0.3}
    assert ct.distillation(dimension_limit=5, hints="teacher-to-student", **weights).alpha == {8: 0.05, 16: 0.3}
    assert ct.distillation(dimension_limit=3, hints="teacher-to-student", **weights).alpha == {8: 0.05, 16: 0.05}
    assert ct.distillation(dimension_limit=16, dimension="pixels", **weights).alpha == {8: 0.3, 16: 0.05}
    assert ct.distillation(**(weights | {"aligned": "above-first"})).alpha == {16: 0.3}


def test_the_image_counts_as_a_feature_of_its_dimension_unless_beta_is_set():
    assert X2IDistillSettings().image_weight(256) == 0.1
    by_pixels = X2IDistillSettings(dimension="pixels", lambda_srl=0.01)
    assert (by_pixels.image_weight(64), by_pixels.image_weight(256)) == (0.1, 0.01)
    assert X2IDistillSettings(beta=0.7).image_weight(256) == 0.7


def test_defaults_are_those_of_appendix_a():
    text = X2IDistillSettings()
    assert (text.batch, text.learning_rate, text.discriminator_learning_rate) == (16, 1e-4, 4e-4)
    assert (text.beta1, text.beta2) == (0.0, 0.9)
    assert (text.lambda_adv, text.lambda_kdl, text.lambda_srl) == (1.0, 1.0, 0.1)
    assert (text.feature_weight(64, 256), text.feature_weight(128, 128)) == (0.1, 0.01)
    speech, maps = SpeechDistillSettings(), LabelMapDistillSettings()
    assert (speech.batch, speech.learning_rate, speech.beta1, speech.beta2) == (12, 2e-4, 0.5, 0.999)
    assert (speech.lambda_adv, speech.lambda_kdl, speech.lambda_srl) == (10.0, 10.0, 10.0)
    assert (speech.feature_weight(64, 256), speech.feature_weight(512, 8), speech.image_weight(256)) == (10.0,) * 3
    assert (maps.batch, maps.beta1, maps.beta2, maps.lambda_srl) == (4, 0.0, 0.999, 0.1)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mixing_layers": 2}, r"2, but the first features \(8 px\) of x1 and y are the same only if at least 3 "),
        ({"mixing_layers": 4, "first_resolution": 16}, "at least 5 layers take s1"),
        ({"lambda_srl": 0.2}, r"lambda_srl is 0.2, above lambda_kdl x beta = 0.1: eq. \(7\) would pay"),
        ({"lambda_kdl": 0.5, "beta": 0.1}, r"above lambda_kdl x beta = 0.05"),
        ({"first_dropout": 1.5}, "first_dropout"),
    ],
)  # fmt: skip
def test_settings_that_contradict_the_method_are_refused_in_one_sentence(changes, sentence):
    with pytest.raises(ValidationError, match=sentence) as refusal:
        X2IDistillSettings(**changes)
    (error,) = refusal.value.errors()
    assert "\n" not in error["msg"]


def test_an_image_whose_weight_falls_with_its_size_is_looked_at_when_its_size_is_known():
    changes = {"dimension": "pixels", "dimension_limit": 16}
    with pytest.raises(UserError, match=r"above lambda_kdl x beta = 0\.01"):
        ct.distillation(**changes)
    ct.distillation("kd-no-diversity", **changes)  # without eq. (7) nothing pays for it


@pytest.mark.parametrize("layers", [3, 2])
def test_first_features_of_both_images_coincide_from_a_cut_of_three(layers):
    distillation = ct.distillation()
    distillation.settings = distillation.settings.model_copy(update={"mixing_layers": layers})
    pairs = distillation.draw(4)
    assert torch.equal(pairs.features_x[4], pairs.features_y[4])
    assert torch.equal(pairs.features_x[8], pairs.features_y[8]) == (layers == 3)
    assert not torch.equal(pairs.y, pairs.x1)


def test_a_student_without_the_first_resolution_and_other_misfits_are_refused():
    settings = X2IDistillSettings(**ct.DEFAULTS)
    with pytest.raises(UserError, match="draws images of 32 px, but the student needs 16 px"):
        X2IDistillation(ct.student(), tiny.teacher(32), settings, TRANSFERS["kd"], tiny.CPU)
    with pytest.raises(UserError, match=r"KD\*"):
        ct.distillation("kd-no-mixing")
    with pytest.raises(UserError, match="a batch of 6 is no multiple"):
        ct.distillation(batch=6, minibatch_statistics="batch")
    ct.distillation(batch=6)  # the mean statistic does not care
    narrow = ct.student()
    proper = narrow.generate
    narrow.with_networks = lambda networks: narrow
    narrow.generate = lambda *given: (proper(*given)[0], {16: proper(*given)[1][16]})
    with pytest.raises(UserError, match=r"features at \[16\] px, and none at 8 px"):
        X2IDistillation(narrow, tiny.teacher(16), settings, TRANSFERS["kd"], tiny.CPU)


@pytest.mark.parametrize(("reading", "kept"), [("none", set()), ("l1", {"kd-l1"}), ("both", {"kd-l1", "kd-adv"})])
def test_eq_7_in_the_rows_of_one_loss_is_a_reading(reading, kept):
    read = read_transfers(TransferReadings(ablation_diversity=reading))
    assert {name for name in ("kd-l1", "kd-adv") if read[name].diversity} == kept
    torch.manual_seed(SEED)
    assert ("diversity" in ct.distillation(read["kd-l1"]).training_step(0)) == ("kd-l1" in kept)


@pytest.mark.parametrize("encoder", ["frozen", "trained"])
def test_the_teacher_never_changes_and_each_side_by_its_own_loss_only(encoder):
    distillation = ct.distillation(semantic_encoder=encoder, learning_rate=1e-2, discriminator_learning_rate=1e-2)
    teacher = tiny.teacher(16)
    before = tiny.state_of(distillation.networks)
    code = tiny.state_of({"s": distillation.semantic_encoder})
    for step in range(2):
        distillation.training_step(step)
    assert not tiny.changed(
        tiny.state_of({"g": teacher.generator}), tiny.state_of({"g": distillation.teacher_generator})
    )
    changed = tiny.changed(before, tiny.state_of(distillation.networks))
    assert {name.split(".")[0] for name in changed} >= {"generator", "discriminator", "conditions", "first", "hints"}
    assert bool(tiny.changed(code, tiny.state_of({"s": distillation.semantic_encoder}))) == (encoder == "trained")
    assert set(distillation.averages) == {"generator", "conditions", "first"} | (
        {"semantic_encoder"} if encoder == "trained" else set()
    )


def test_preview_shows_pairs_above_three_ways_to_draw_them():
    distillation = ct.distillation()
    images, columns = distillation.preview()
    # As many columns as a batch has pairs, which is less than eight here.
    assert columns == distillation.settings.batch < 8 and images.shape == (5 * columns, 3, 16, 16)
    assert torch.equal(images[: 2 * columns], torch.cat([distillation.preview_pairs.x1, distillation.preview_pairs.y]))
    assert torch.equal(images, distillation.preview()[0])
    assert len({float(part.sum()) for part in images[2 * columns :].chunk(3)}) == 3
    assert distillation.scalars() == {}
