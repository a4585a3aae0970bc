"""The shape of `benchmarks/claims.yaml`: statements of the paper that numbers can support or contradict."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from kdx2i.config.models import MetricName, Name, Strict, TableConfig, listed
from kdx2i.config.reading import load_table, names_in, read_yaml, validate
from kdx2i.errors import UserError
from kdx2i.metric_catalogue import METRICS

FILE = "benchmarks/claims.yaml"


class Pair(NamedTuple):
    """One comparison: by `metric` on `dataset` (the paper's name), the row `better` before the row `than`."""

    table: str
    part: str
    dataset: str
    metric: str
    better: str
    than: str


class ClaimCells(Strict):
    """The cells that a claim concerns: in each part, by each metric, on each dataset, one row before each of others.

    `datasets` may be left out: all of a part.
    """

    table: Name
    parts: list[Name] = Field(min_length=1)
    metrics: list[MetricName] = Field(min_length=1)
    datasets: list[Name] | None = Field(default=None, min_length=1)
    better: str
    than: list[str] = Field(min_length=1)


class Claim(Strict):
    """One statement of the paper.

    `quote` is the sentence, or the row of a table, as the paper has it; `says` what is tested, in a few words. `effect`
    is the smallest relative gain that counts; a negative one allows the row to be worse by as much ("competitive").
    `over`: the claim holds where `each` comparison shows the gain, or where their `mean` does.
    """

    id: Name
    section: str
    quote: str
    says: Annotated[str, Field(max_length=64)]
    effect: float = Field(gt=-1, lt=1)
    over: Literal["each", "mean"] = "each"
    cells: list[ClaimCells] = Field(min_length=1)

    @model_validator(mode="after")
    def _a_mean_is_of_distances(self) -> "Claim":
        metrics = {metric for cells in self.cells for metric in cells.metrics}
        if self.over == "mean" and any(METRICS[m].direction != "lower" or not METRICS[m].logarithmic for m in metrics):
            raise ValueError("`over: mean` is for FID-like metrics, whose ratios are compared")
        return self

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of the tables that it concerns, each once, in order."""
        return tuple(dict.fromkeys(cells.table for cells in self.cells))


class ClaimsFile(Strict):
    """`benchmarks/claims.yaml`."""

    claims: list[Claim] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_are_different(self) -> "ClaimsFile":
        names = [claim.id for claim in self.claims]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two claims are called {twice[0]}")
        return self


def load_claims(root: Path) -> list[Claim]:
    """Load the claims of the repository at `root`; a name that its table does not have raises `UserError`."""
    claims = validate(ClaimsFile, read_yaml(root / FILE), FILE).claims
    known = names_in(root / "benchmarks" / "tables")
    tables: dict[str, TableConfig] = {}
    for claim in claims:
        for cells in claim.cells:
            where = f"{FILE}, claim {claim.id}"
            if cells.table not in known:
                raise UserError(f"{where}: there is no table `{cells.table}`; the tables are {listed(known)}")
            table = tables.setdefault(cells.table, load_table(root, cells.table))
            _check(cells, table, where)
    return claims


def _check(cells: ClaimCells, table: TableConfig, where: str) -> None:
    """Raise `UserError` where cells name a part, row, dataset or metric that their table does not have."""
    for part in cells.parts:
        if part not in [known.name for known in table.parts]:
            raise UserError(f"{where}: {table.name} has no part `{part}`")
        rows = [row.label for row in table.rows if row.part == part]
        wanted = (
            ("row", [cells.better, *cells.than], rows),
            ("dataset", cells.datasets or [], table.datasets_of(part)),
            ("metric", cells.metrics, table.metrics_of(part)),
        )
        for kind, names, known in wanted:
            for name in names:
                if name not in known:
                    raise UserError(f"{where}: part {part} of {table.name} has no {kind} `{name}`: {listed(known)}")


def pairs(claim: Claim, datasets: Mapping[tuple[str, str], Sequence[str]]) -> Iterator[Pair]:
    """Yield the comparisons of a claim; `datasets` are those of each table's part, by (table, part)."""
    for cells in claim.cells:
        for part in cells.parts:
            for dataset in cells.datasets or datasets[cells.table, part]:
                for metric in cells.metrics:
                    for other in cells.than:
                        yield Pair(cells.table, part, dataset, metric, cells.better, other)
