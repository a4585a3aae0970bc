"""What jobs cost, counted without computing it: networks that can be counted by hand, and every job of a preset."""

from pathlib import Path

import pytest
import torch
from torch import nn

from kdx2i.costs.counting import META, count_steps, counting, keep
from kdx2i.costs.jobs import FLOAT32, MEASURED, TF32, Jobs, Sizes
from kdx2i.costs.limits import LONGEST, MINUTES, SLOWER, UNCOUNTED, limits
from kdx2i.costs.page import lines
from kdx2i.costs.sheet import GIB, Cost, read_costs, settings_of, write_costs
from kdx2i.costs.trainings import count_run
from kdx2i.plan import Plan
from kdx2i.plan.leaf import upstream_of
from kdx2i.suite import make_plan
from tests.support.repository import ROOT


class Linear:
    """A product of 4 by 3 numbers, its gradient for the weight, and Adam's two moments."""

    def __init__(self) -> None:
        self.networks = {"net": nn.Linear(3, 2, bias=False, device="meta")}
        self.averages = {"net": nn.Linear(3, 2, bias=False, device="meta")}
        self.optimizers = {"net": torch.optim.Adam(self.networks["net"].parameters())}

    def training_step(self, step: int) -> dict[str, torch.Tensor]:
        loss = self.networks["net"](torch.zeros(4, 3, device="meta")).sum()
        loss.backward()
        self.optimizers["net"].step()
        return {"loss": loss}


def planned(plan: Plan) -> list[str]:
    return [leaf.name for leaf in upstream_of([plan.rendered(name) for name in plan.tables])]


def test_products_are_counted_forwards_and_backwards_and_all_that_is_kept():
    with counting() as counter:
        linear = Linear()
        kept = keep(counter, linear)
        flop, peak = count_steps(counter, linear, range(8, 10))
    assert flop == 2 * (2 * 4 * 3 * 2)
    assert (kept.weights, kept.gradients) == (2 * 6 * 4, 6 * 4)
    assert kept.checkpoint - kept.weights in (2 * 6 * 4, 2 * 6 * 4 + 4), "two moments, and perhaps a step"
    assert kept.held == 4 * 6 * 4, "network, average and moments"
    assert peak >= kept.held + (4 * 3 + 4 * 2) * 4, "input and output of the layer are alive beside them"


def test_tensors_that_are_gone_are_no_longer_counted():
    with counting() as counter:
        for _ in range(5):
            torch.zeros(1024, device=META)
        assert (counter.live, counter.peak) == (0, 4096)


def test_every_planned_job_has_a_cost_or_a_reason_and_stands_in_file_and_page(tmp_path: Path):
    plan = make_plan(ROOT, "open-smoke")
    costs = Jobs(plan, lambda *_: Sizes(2, 6, 4)).costs()
    assert list(costs) == planned(plan)
    for cost in costs.values():
        trains = cost.kind in ("run", "distilled")
        assert (cost.hours > 0 and cost.gpu > 0 and cost.checkpoint > cost.published > 0) == trains, cost
        assert cost.hours > 0 or cost.how, cost
    assert {cost.how for cost in costs.values() if cost.kind == "run"} == {"computed"}

    leaf = plan.evaluation("open-felid2canid", "stargan_v2", "kd", 32, 0, "latent-cat2dog")
    image = count_run(leaf.inputs["run"].spec, 2, ()).images["latent"]
    both = pytest.approx(2 * 4 * image / TF32 / 3600)
    assert costs[leaf.name].hours == both, "four images a direction by the trained method and by the untrained one"

    page = "\n".join(lines(plan, costs))
    assert all(f"| {name} |" in page for name in (*plan.tables, "all"))
    (tmp_path / "benchmarks").mkdir()
    write_costs(tmp_path, "open-smoke", costs.values())
    read = read_costs(tmp_path, "open-smoke")
    assert {job: cost.settings for job, cost in read.items()} == {job: cost.settings for job, cost in costs.items()}
    assert read_costs(tmp_path, "another") == {}


def test_limits_follow_the_costs_of_the_same_settings_for_every_seed():
    plan = make_plan(ROOT, "open-smoke", [0, 1])
    leaf = plan.run("open-birds", "stargan_v2", "scratch", 32, 1)
    first = plan.run("open-birds", "stargan_v2", "scratch", 32, 0)
    cost = Cost(first.name, "run", settings_of(first), 10.0, "computed", 1, 4 * 10**9, 10**9)
    assert limits(leaf, {first.name: cost}, 0) == (60 * SLOWER * 10, 8000 + 3000 + 5000)
    assert limits(leaf, {first.name: Cost(first.name, "run", "other", 10.0, "computed")}, 0) == UNCOUNTED["run"]
    short = Cost(first.name, "run", settings_of(first), 0.1, "computed", 1, 4, 1)
    long = Cost(first.name, "run", settings_of(first), 1000.0, "computed", 1, 4, 1)
    assert limits(leaf, {first.name: short}, 0)[0] == MINUTES and limits(leaf, {first.name: long}, 0)[0] == LONGEST
    evaluation = plan.evaluation("open-felid2canid", "stargan_v2", "kd", 32, 0, "latent-cat2dog")
    assert limits(evaluation, {}, 0) == (MINUTES, 48_000)


def test_the_committed_costs_of_the_paper_are_those_of_todays_plan():
    plan = make_plan(ROOT, "paper")
    costs = read_costs(ROOT, "paper")
    leaves = {leaf.name: leaf for leaf in upstream_of([plan.rendered(name) for name in plan.tables])}
    assert set(costs) == set(leaves), "run `kdx2i scale --preset paper`"
    counted = {name: cost for name, cost in costs.items() if cost.hours}
    old = [name for name, cost in counted.items() if cost.settings != settings_of(leaves[name])]
    assert counted and not old, f"run `kdx2i scale --preset paper`: {old[:3]}"


def test_the_rates_are_those_of_the_measured_iteration():
    costs, plan = read_costs(ROOT, "paper"), make_plan(ROOT, "paper")
    leaf = plan.run("animal-faces", *[MEASURED[0], "scratch", MEASURED[1]], 0)
    cost = costs[leaf.name]
    flop = cost.hours * 3600 * TF32 / int(leaf.spec.train["iterations"])
    page = (ROOT / "docs/speed.md").read_text(encoding="utf-8")
    for rate, label in ((TF32, "TF32"), (FLOAT32, "float32")):
        milliseconds, measured = page.split(f"\n| {label} | ", 1)[1].split(" | ")[:2]
        assert 1000 * flop / rate == pytest.approx(float(milliseconds), rel=0.01)
        assert 0.8 < cost.gpu / GIB / float(measured) < 1, "what is alive is most of what was measured"
    assert cost.how == "measured"
