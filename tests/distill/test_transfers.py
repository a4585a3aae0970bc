"""The transfers of Figure 3(b), Appendix B.4 and Table 2, and the readings of the paper that they follow."""

import json
from dataclasses import replace

import pytest

from kdx2i.distill.transfers import TRANSFERS, TransferReadings, TransferSettings, read_transfers

OF_TABLE_2 = {"kd-constant-condition", "kd-no-diversity"}


def test_transfers_are_those_of_the_design():
    assert set(TRANSFERS) == {"scratch", "kd", "kd-l1", "kd-adv", "kd-no-mixing", "kd-encoder-scratch"} | OF_TABLE_2
    assert not TRANSFERS["scratch"].distils
    full = TRANSFERS["kd"]
    everything = ("encoder", "style", "generator")
    assert (full.distils, full.adversarial, full.mixing, full.reset_encoders) == (True,) * 3 + (False,)
    assert full.alignment == everything
    assert replace(TRANSFERS["kd-adv"], alignment=everything, label=full.label, diversity=True) == full
    assert replace(TRANSFERS["kd-no-mixing"], mixing=True, label=full.label, only=None) == full
    constant, alike = (TRANSFERS[name] for name in ("kd-constant-condition", "kd-no-diversity"))
    assert replace(constant, condition="pseudo", label=full.label, only=None) == full
    assert replace(alike, diversity=True, label=full.label, only=None) == full
    assert {name: t.only for name, t in TRANSFERS.items() if t.only} == {
        "kd-no-mixing": "i2i", "kd-encoder-scratch": "i2i", "kd-constant-condition": "x2i", "kd-no-diversity": "x2i"
    }  # fmt: skip
    l1 = TRANSFERS["kd-l1"]
    assert (l1.adversarial, l1.alignment, l1.mixing, l1.student) == (False, ("generator",), True, None)
    assert (l1.trains_discriminator, l1.discriminator) == (False, "random")
    scratch = TRANSFERS["kd-encoder-scratch"]
    assert scratch.reset_encoders
    assert scratch.student == "kd"


def test_a_reading_changes_its_own_transfers_only():
    own = {
        ("discriminator", "random"): {"kd", "kd-adv", "kd-no-mixing", "kd-encoder-scratch"} | OF_TABLE_2,
        ("l1_alignment", "all"): {"kd-l1"},
        ("l1_discriminator", "kd"): {"kd-l1"},
        ("l1_discriminator", "student"): {"kd-l1"},
        ("adversarial_alignment", "encoders"): {"kd-adv"},
        ("encoders_from_scratch", "stage1"): {"kd-encoder-scratch"},
        ("ablation_diversity", "l1"): {"kd-l1"},
        ("ablation_diversity", "both"): {"kd-l1", "kd-adv"},
    }
    for (reading, choice), transfers in own.items():
        read = read_transfers(TransferReadings(**{reading: choice}))
        assert {name for name in TRANSFERS if read[name] != TRANSFERS[name]} == transfers
    # Encoders without a teacher are distilled anew, and none of the student is reset.
    scratch = read_transfers(TransferReadings(encoders_from_scratch="stage1"))["kd-encoder-scratch"]
    assert (scratch.alignment, scratch.reset_encoders, scratch.student) == (("generator",), False, None)


@pytest.mark.parametrize("name", TRANSFERS)
def test_what_a_transfer_changes_travels_as_json(name):
    transfer = replace(TRANSFERS[name], label="", only=None)
    assert TransferSettings.from_json(json.loads(json.dumps(transfer.changes()))) == transfer
    first = TransferSettings.from_json(json.loads(json.dumps(transfer.first_stage())))
    assert first.first_stage() == transfer.first_stage()
