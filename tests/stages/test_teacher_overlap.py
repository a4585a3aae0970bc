"""What teachers have seen, counted from the datasets, is printed with the tables."""

import pytest
from repository import ROOT

from kdx2i.config import load_dataset
from kdx2i.data.overlap import training_fingerprints
from kdx2i.data.readers import build_reader
from kdx2i.stages.teacher_overlap import teacher_notes
from kdx2i.suite import make_plan


def test_notes_are_the_overlap_of_the_training_images():
    notes = teacher_notes(make_plan(ROOT, "open"), "table1")
    assert {note.architecture for note in notes} == {"deepi2i", "transferi2i"}
    seen = {note.dataset: " ".join(note.text.split()[6:10]) for note in notes}
    assert seen == {"animal-faces": "62 of the 114", "birds": "47 of the 47", "foods": "374 of the 374"}


@pytest.mark.parametrize("name", ["open-birds", "open-foods"])
def test_no_test_drawing_is_among_the_teachers_images(name):
    dataset, teachers = (load_dataset(ROOT, each) for each in (name, "open-objects"))
    entries = build_reader(dataset, ROOT).entries()
    tests = {entry.fingerprint for entry in entries if entry.role == "test"}
    own = training_fingerprints(dataset, ROOT)
    assert own == {entry.fingerprint for entry in entries if entry.role == "train"}
    assert tests and not tests & training_fingerprints(teachers, ROOT)


def test_a_dataset_that_is_not_embedded_states_no_images():
    assert training_fingerprints(load_dataset(ROOT, "animal-faces"), ROOT) == set()
