"""Small tables: contexts, evaluations with any values, and assembled tables."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from kdx2i.config import TableConfig
from kdx2i.tables.assemble import (
    Absent,
    Budgets,
    Controls,
    EvaluationKey,
    Evaluations,
    MethodKey,
    Scores,
    assemble,
    direction_of,
)
from kdx2i.tables.model import Budget, Context, Table
from kdx2i.tasks.facts import TASKS

ROOT = Path(__file__).parents[2]
CONTROLS = TASKS["image-to-image"].controls
Values = Callable[[EvaluationKey, int, str], Any]


class Kit:
    """Builders that the tests share."""

    root = ROOT

    @staticmethod
    def keys(config: TableConfig) -> list[EvaluationKey]:
        """All evaluations of a table."""
        keys: dict[EvaluationKey, None] = {}
        for row in config.rows:
            part = config.part(row.part)
            for dataset in config.datasets_of(row.part):
                resolution = part.resolution or row.resolution
                keys[EvaluationKey(dataset, row.architecture, row.transfer, resolution, part.mode)] = None
        return list(keys)

    @staticmethod
    def metrics(config: TableConfig) -> list[str]:
        """All metrics of a table."""
        return sorted({metric for part in config.parts for metric in config.metrics_of(part.name)})

    @staticmethod
    def context(config: TableConfig, *, stand_in: bool = False, seeds: tuple[int, ...] = (0, 1, 2)) -> Context:
        """The paper's conditions, or those of a stand-in."""
        datasets = {dataset for part in config.parts for dataset in config.datasets_of(part.name)}
        resolutions = {row.resolution for row in config.rows}
        return Context(
            preset="open" if stand_in else "paper",
            title="a test",
            datasets={name: f"open-{name}" if stand_in else name for name in sorted(datasets)},
            resolutions={size: size // 4 if stand_in else size for size in sorted(resolutions)},
            seeds=seeds,
            extractor="efficientnet-lite0" if stand_in else "inception-v3-compat",
            preprocessing="clean",
        )

    @staticmethod
    def budgets(config: TableConfig, iterations: int = 100000) -> Budgets:
        """The same budget for each method."""
        return {
            MethodKey(row.architecture, row.transfer, row.resolution): Budget(train=iterations, train_paper=100000)
            for row in config.rows
        }

    @classmethod
    def controls(cls, config: TableConfig, value: float = 5.0) -> Controls:
        """One value for all control cells."""
        entry = {"value": value, "n_real": 20, "n_generated": 20, "classes": 2}
        metrics: Mapping[str, Mapping[str, Any]] = dict.fromkeys(cls.metrics(config), entry)
        return {
            (key.dataset, key.resolution, direction_of(key.mode)): dict.fromkeys(
                TASKS["image-to-image"].controls, metrics
            )
            for key in cls.keys(config)
        }

    @classmethod
    def evaluations(cls, config: TableConfig, value: Values, seeds: tuple[int, ...] = (0, 1, 2)) -> Evaluations:
        """Scores for every key and seed; `value` gives each number."""
        return {
            key: [
                Scores(
                    seed,
                    {
                        metric: {"value": value(key, seed, metric), "n_real": 20, "n_generated": 40, "classes": 2}
                        for metric in cls.metrics(config)
                    },
                )
                for seed in seeds
            ]
            for key in cls.keys(config)
        }

    @classmethod
    def table(
        cls,
        config: TableConfig,
        value: Values,
        *,
        stand_in: bool = False,
        seeds: tuple[int, ...] = (0, 1, 2),
        control: float = 5.0,
        iterations: int = 100000,
    ) -> Table:
        """A table where every evaluation is there."""
        return assemble(
            config,
            cls.context(config, stand_in=stand_in, seeds=seeds),
            cls.evaluations(config, value, seeds),
            cls.controls(config, control),
            cls.budgets(config, iterations),
        )

    @staticmethod
    def absent(reason: str, seed: int | None = None) -> Absent:
        """An absent evaluation."""
        return Absent(reason, seed)


@pytest.fixture(scope="session")
def kit() -> type[Kit]:
    return Kit


@pytest.fixture(scope="session")
def small() -> TableConfig:
    """Two parts, two architectures, two resolutions, two datasets, a metric of each direction."""
    return TableConfig.model_validate(
        {
            "name": "small",
            "title": "A small table_1",
            "caption": "Numbers & notes.",
            "parts": [
                {"name": "latent", "title": "Latent", "mode": "latent"},
                {"name": "reference", "title": "Reference", "mode": "reference", "metrics": ["mFID"]},
            ],
            "rows": [
                {
                    "part": "latent",
                    "label": "Old*",
                    "architecture": "sdit",
                    "transfer": "scratch",
                    "resolution": 128,
                },
                {
                    "part": "latent",
                    "label": "Base",
                    "architecture": "stargan_v2",
                    "transfer": "scratch",
                    "resolution": 256,
                },
                {
                    "part": "latent",
                    "label": "Ours †",
                    "architecture": "stargan_v2",
                    "transfer": "kd",
                    "resolution": 256,
                },
                {
                    "part": "reference",
                    "label": "Base",
                    "architecture": "stargan_v2",
                    "transfer": "scratch",
                    "resolution": 256,
                },
                {
                    "part": "reference",
                    "label": "Ours †",
                    "architecture": "stargan_v2",
                    "transfer": "kd",
                    "resolution": 256,
                },
            ],
            "columns": {"datasets": ["birds", "foods"], "metrics": ["mFID", "RC"]},
        }
    )
