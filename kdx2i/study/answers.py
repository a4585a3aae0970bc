"""The answers of subjects: read, checked against the key of their study, and resolved to rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from kdx2i.config import Strict
from kdx2i.errors import UserError
from kdx2i.foreign import read_document
from kdx2i.study.design import StudyKey

CARELESS = 0.2
"""A subject who prefers noise in more than this share of the attention checks is left out."""


class Answer(Strict):
    """One choice of a trial; `ms` are the milliseconds that it took."""

    trial: int = Field(ge=0)
    choice: Literal["left", "right"]
    ms: int = Field(ge=0)


class Answers(Strict):
    """The file that the page saves: the choices of one subject (from 1), in the order of the trials."""

    format: Literal["kdx2i-answers-1"]
    study: str
    subject: int = Field(ge=1)
    answers: list[Answer]


@dataclass(frozen=True)
class Choice:
    """One choice between ours and another row (by index), on a request; `ours`: ours was preferred."""

    row: int
    request: int
    ours: bool


@dataclass(frozen=True)
class Subject:
    """What a subject chose, and how many of the attention checks that were answered failed."""

    number: int
    choices: tuple[Choice, ...]
    checks: int
    failed: int
    complete: bool

    @property
    def careless(self) -> bool:
        """Whether the attention checks say that the subject did not look."""
        return self.checks > 0 and self.failed > CARELESS * self.checks


def read_key(path: Path) -> StudyKey:
    """Read the key of a study; a missing or other file raises `UserError`."""
    if not path.is_file():
        raise UserError(f"{path} does not exist: it is the key that `snakemake user_study` writes beside the page")
    try:
        return StudyKey.model_validate(read_document(path))
    except ValidationError as error:
        raise UserError(f"{path} is not the key of a user study: {_first(error)}") from None


def read_answers(paths: Sequence[Path], key: StudyKey) -> list[Subject]:
    """Read the answers of subjects of a study, by number; a wrong file, or two of one subject, raise `UserError`."""
    subjects: dict[int, Subject] = {}
    for path in paths:
        try:
            found = Answers.model_validate(read_document(path))
        except ValidationError as error:
            raise UserError(f"{path} does not hold the answers of a user study: {_first(error)}") from None
        if found.study != key.study:
            raise UserError(f"{path} answers another study ({found.study}) than the key ({key.study})")
        if found.subject > len(key.trials):
            raise UserError(f"{path}: there is no subject {found.subject}; the study has {len(key.trials)}")
        if found.subject in subjects:
            raise UserError(f"{path}: subject {found.subject} has answered in another file too")
        subjects[found.subject] = _resolved(path, found, key)
    return [subjects[number] for number in sorted(subjects)]


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def _resolved(path: Path, found: Answers, key: StudyKey) -> Subject:
    """Return what a subject's sides mean."""
    trials = key.trials[found.subject - 1]
    if [answer.trial for answer in found.answers] != list(range(len(found.answers))) or len(found.answers) > len(
        trials
    ):
        raise UserError(f"{path}: the trials are not 0, 1, 2, ... of the {len(trials)} that there are")
    choices, checks, failed = [], 0, 0
    for answer in found.answers:
        trial = trials[answer.trial]
        preferred = trial.chosen(answer.choice)
        if trial.check:
            checks += 1
            failed += preferred != 0
        else:
            other = max(trial.left, trial.right)
            choices.append(Choice(row=other, request=trial.request, ours=preferred == 0))
    return Subject(found.subject, tuple(choices), checks, failed, len(found.answers) == len(trials))
