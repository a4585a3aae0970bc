"""Every fixture: weights, inputs, state list, parameter count and outputs against the official networks."""

import json
from pathlib import Path

import pytest
import torch

from . import harness

LONG = ("cocosnet_v2/correspondence",)
"""30 s of one core, since the official class takes 512 px only; its pyramids, PatchMatch and GRU are cases as well."""


def given_root(config) -> Path | None:
    given = getattr(config.option, "parity_root", None)
    return Path(given) if given else None


def parity_root(config) -> Path:
    return given_root(config) or harness.FIXTURES


def pytest_generate_tests(metafunc):
    root = parity_root(metafunc.config)
    if "case" in metafunc.fixturenames:
        roots = [root] if given_root(metafunc.config) else [root, harness.OTHER_SIZES]
        cases = [case for one in roots for case in harness.cases(one) if harness.adapter(case.family)]
        marked = [pytest.param(case, marks=pytest.mark.nightly if str(case) in LONG else ()) for case in cases]
        metafunc.parametrize("case", marked, ids=map(str, cases))
    if "paper_case" in metafunc.fixturenames:
        cases = harness.paper_cases(root)
        metafunc.parametrize("paper_case", cases, ids=map(str, cases))
    if "probe_case" in metafunc.fixturenames:
        cases = [case for case in harness.paper_cases(root) if case.probes]
        metafunc.parametrize("probe_case", cases, ids=map(str, cases))
    if "family" in metafunc.fixturenames:
        metafunc.parametrize("family", harness.families(root))
    if "paper_family" in metafunc.fixturenames:
        metafunc.parametrize("paper_family", [f for f in harness.families(root) if harness.adapter(f)])


def build(case, device="cpu"):
    with torch.device(device):
        return harness.adapter(case.family).build(case.module, case.entry)


def test_there_are_fixtures(request):
    root = parity_root(request.config)
    assert harness.families(root), f"{root} holds no family of fixtures (a folder with spec.json)"


def test_family_has_an_adapter(family):
    """A family that this version cannot check is skipped in plain sight."""
    if harness.adapter(family) is None:
        pytest.skip(f"no adapter yet for the family {family}: nothing of it was checked")


def test_network(case):
    """The state list and the fill are those that the fixture was made with, and every output is in its tolerance.

    One test and not three: filling millions of weights takes most of the time.
    """
    harness.compare_state(build(case, "meta"), case.entry)
    state = harness.filled_state(case.entry, harness.gain_of(case.entry), harness.constants(case))
    if "fill_abs_sum" in case.entry:
        expected = pytest.approx(case.entry["fill_abs_sum"], rel=harness.SUM_RTOL, abs=1e-6)
        assert harness.abs_sum(state) == expected
    subject = build(case)
    subject.load(state)
    outputs = subject.run(harness.inputs(case.entry, case.arrays()))
    failures = list(harness.failures(case.entry, case.arrays(), outputs))
    assert not failures, "\n".join([f"{case}:", *failures])
    for resolution in case.entry.get("identical_s1_and_mix_features_at", []):
        mixed, plain = outputs[f"mix.feat_{resolution}"], outputs[f"s1.feat_{resolution}"]
        assert torch.equal(mixed, plain), f"the mixed image keeps s1's feature at {resolution} px"


def test_paper_scale(paper_case):
    """State list and parameter count at the published size, without memory for the weights."""
    with torch.device("meta"):
        subject = harness.adapter(paper_case.family).build(paper_case.module, paper_case.entry)
    harness.compare_state(subject, paper_case.entry)


def test_paper_scale_counts(paper_family, request):
    """Parameter counts that the family lists beside its networks (for example by number of domains)."""
    path = parity_root(request.config) / paper_family / "paper_scale.json"
    paper = json.loads(path.read_text()) if path.is_file() else {}
    with torch.device("meta"):
        extra_counts = getattr(harness.adapter(paper_family), "extra_counts", lambda paper: ())
        for label, subject, expected in extra_counts(paper):
            assert subject.param_count() == expected, label


def test_paper_scale_probes(probe_case):
    """Sampled outputs of the full-size networks (about a second each)."""
    for name, probe in probe_case.probes.items():
        subject = harness.adapter(probe_case.family).build(probe_case.module, probe_case.entry)
        entry = {**probe_case.entry, "inputs": probe["inputs"]}
        subject.load(harness.filled_state(entry, probe.get("gain", 1.0), subject.constants()))
        failure = harness.probe_failure(probe["probe"], subject.probe(name, harness.inputs(entry)))
        assert failure is None, f"{probe_case} {name}: {failure}"
