"""The published numbers: entered a second time here, by columns instead of rows, and compared."""

import csv
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from kdx2i.config import load_table, names_in
from kdx2i.errors import UserError
from kdx2i.metric_catalogue import METRICS
from kdx2i.tables.published import COLUMNS, CellName, PublishedValue, read_published

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks" / "published"
TABLES = ["table1", "table2", "table3", "table4", "table5", "table6", "table7", "figure3b", "appendix_b4"]

LATENT = ["SDIT", "DMIT", "DRIT++", "StarGANv2", "DeepI2I", "TransferI2I", "Ours", "StarGANv2*", "Ours*"]
REFERENCE = ["StarGANv2*", "Ours*"]
SECOND_TABLE1 = {
    ("animal-faces", "mKIDx100"): "31.4 29.6 26.6 11.38 11.48 9.25 9.01 10.8 9.97 | 13.2 9.45",
    ("animal-faces", "mFID"): "283.6 280.1 270.1 131.2 137.1 103.5 94.7 119.4 92.8 | 134.7 96.2",
    ("animal-faces", "RC"): "5.51 5.98 4.81 12.4 10.3 22.3 25.6 30.6 33.4 | 29.3 37.2",
    ("animal-faces", "FC"): "4.64 5.11 6.15 14.8 9.27 25.4 27.8 35.7 39.9 | 36.6 39.5",
    ("birds", "mKIDx100"): "22.7 23.5 24.1 10.7 8.92 6.23 6.15 6.08 5.88 | 8.53 6.96",
    ("birds", "mFID"): "223.5 230.4 246.2 152.9 146.3 118.3 107.4 125.7 110.4 | 128.7 103.2",
    ("birds", "RC"): "8.90 12.9 11.8 25.7 20.8 27.1 29.5 29.4 32.5 | 28.6 32.6",
    ("birds", "FC"): "8.71 11.4 13.2 21.4 22.5 28.4 30.2 38.7 41.3 | 25.5 34.2",
    ("foods", "mKIDx100"): "23.7 19.5 19.1 6.72 6.38 3.62 5.52 5.86 5.28 | 6.38 5.92",
    ("foods", "mFID"): "236.2 201.4 198.5 142.6 130.8 107.8 115.2 115.6 105.9 | 132.2 120.5",
    ("foods", "RC"): "11.9 8.30 10.7 34.7 30.2 43.2 38.2 43.3 48.5 | 35.6 39.3",
    ("foods", "FC"): "11.8 10.4 12.7 22.8 19.3 24.8 21.6 24.7 26.1 | 23.6 25.4",
}
ABLATION = ["Ours (w-L1, w/o-adv.)", "Ours (w/o-L1, w-adv.)", "Ours †", "Ours ‡", "Ours"]
SECOND_TABLE2 = {
    ("text2image", "cub", "SSA-GAN", "full"): {
        "FID": "30.48 23.74 23.01 23.26 24.78 20.19",
        "KIDx100": "0.91 0.80 0.78 0.79 0.83 0.64",
        "IS": "4.29 4.19 4.22 4.26 4.23 4.52",
    },
    ("audio2image", "oxford-102", "S2IGAN", "full"): {
        "FID": "109.02 85.74 80.21 88.81 90.76 70.88",
        "KIDx100": "9.12 6.48 5.96 6.52 7.43 3.96",
        "IS": "2.97 2.94 3.19 3.03 2.99 3.97",
    },
    ("ss2image", "celebamask-hq", "SPADE OASIS CoCosNetv2", "short"): {
        "FID": "43.91 37.60 36.31 32.98 37.49 35.32",
        "KIDx100": "3.26 1.74 1.69 1.42 1.86 1.76",
        "IS": "2.53 2.75 2.71 2.80 2.66 2.72",
        "mIoU": "45.3% 48.6% 46.3% 50.4% 47.3% 48.4%",
    },
    ("ss2image-reference", "celebamask-hq", "SEAN", "short"): {
        "FID": "36.57 27.17 34.26 35.70",
        "KIDx100": "2.34 1.38 2.30 2.31",
        "IS": "2.67 2.89 2.68 2.69",
        "mIoU": "44.7% 52.1% 46.2% 45.9%",
    },
}
# Table: labels, then FID and KID x 100 of dog2cat, then of cat2dog.
SECOND_TWO_CLASSES = {
    "table3": (
        "DeepI2I TransferI2I Ours",
        "154.6 137.2 60.17",
        "6.97 6.48 4.83",
        "194.6 182.1 86.4",
        "24.53 24.14 5.46",
    ),
    "table4": ("DeepI2I TransferI2I Ours", "83.71 55.2 42.7", "4.26 3.97 3.46", "112.4 83.6 74.2", "5.67 4.56 4.03"),
    "table6": (
        "DeepI2I* TransferI2I* Ours",
        "189.3 182.6 60.17",
        "15.4 16.7 4.83",
        "205.6 198.4 86.4",
        "29.2 26.7 5.46",
    ),
    "table7": (
        "DeepI2I* TransferI2I* Ours",
        "210.7 197.8 42.7",
        "20.7 19.4 2.46",
        "196.5 182.4 74.2",
        "21.8 20.7 4.03",
    ),
}


def second_table1() -> dict[CellName, str]:
    numbers: dict[CellName, str] = {}
    for (dataset, metric), text in SECOND_TABLE1.items():
        for part, labels, column in zip(("latent", "reference"), (LATENT, REFERENCE), text.split("|"), strict=True):
            for label, value in zip(labels, column.split(), strict=True):
                numbers[CellName(part, dataset, label, metric)] = value
    return numbers


def second_table2() -> dict[CellName, str]:
    numbers: dict[CellName, str] = {}
    for (part, dataset, baselines, kind), columns in SECOND_TABLE2.items():
        labels = [*baselines.split(), *(ABLATION if kind == "full" else ABLATION[2:])]
        for metric, column in columns.items():
            for label, value in zip(labels, column.split(), strict=True):
                numbers[CellName(part, dataset, label, metric)] = value
    return numbers


def second_two_classes(table: str) -> dict[CellName, str]:
    labels, *columns = SECOND_TWO_CLASSES[table]
    places = [("dog2cat", "FID"), ("dog2cat", "KIDx100"), ("cat2dog", "FID"), ("cat2dog", "KIDx100")]
    return {
        CellName(part, "cat2dog-200", label, metric): value
        for (part, metric), column in zip(places, columns, strict=True)
        for label, value in zip(labels.split(), column.split(), strict=True)
    }


SECOND = {
    "table1": second_table1(),
    "table2": second_table2(),
    **{table: second_two_classes(table) for table in SECOND_TWO_CLASSES},
    "table5": {
        CellName("latent", "afhq-500", "StarGANv2", "FID"): "40.21",
        CellName("latent", "afhq-500", "Ours", "FID"): "35.36",
        CellName("reference", "afhq-500", "StarGANv2", "FID"): "41.62",
        CellName("reference", "afhq-500", "Ours", "FID"): "34.75",
        CellName("latent", "afhq-500", "StarGANv2", "LPIPS"): "0.45",
        CellName("latent", "afhq-500", "Ours", "LPIPS"): "0.48",
        CellName("reference", "afhq-500", "StarGANv2", "LPIPS"): "0.42",
        CellName("reference", "afhq-500", "Ours", "LPIPS"): "0.45",
    },
    "figure3b": {
        CellName("reference", "animal-faces", "No KD", "mFID"): "134.7",
        CellName("reference", "animal-faces", "KD (w-L1, w-adv.)", "mFID"): "96.2",
        CellName("reference", "animal-faces", "KD* (w-L1, w-adv.)", "mFID"): "104.1",
    },
    "appendix_b4": {
        CellName("reference", "animal-faces", "Encoders from scratch", "mFID"): "130",
        CellName("reference", "animal-faces", "Ours", "mFID"): "96.2",
    },
    "section4_1": {
        CellName("ablation", "animal-faces", "No KD", "mFID"): "134.7",
        CellName("ablation", "animal-faces", "KD (w-L1, w-adv.)", "mFID"): "96.2",
        CellName("ablation", "animal-faces", "KD* (w-L1, w-adv.)", "mFID"): "104.1",
        CellName("reference", "animal-faces", "StarGANv2*", "mFID"): "134.7",
        CellName("reference", "animal-faces", "Ours*", "mFID"): "96.2",
        CellName("latent", "animal-faces", "StarGANv2", "mFID"): "131.2",
        CellName("latent", "animal-faces", "TransferI2I", "mFID"): "103.5",
    },
}
# Counted in the paper: rows x columns of each table.
COUNTS = {
    "table1": 9 * 12 + 2 * 12,
    "table2": 6 * 3 + 6 * 3 + 6 * 4 + 4 * 4,
    "table3": 12,
    "table4": 12,
    "table5": 8,
    "table6": 12,
    "table7": 12,
    "figure3b": 3,
    "appendix_b4": 2,
    "section4_1": 7,
}


@pytest.mark.parametrize("table", SECOND)
def test_both_entries_are_the_same(table: str) -> None:
    first = {name: value.printed for name, value in read_published(ROOT, table).items()}
    assert first == SECOND[table]
    assert len(first) == COUNTS[table]


def test_every_file_is_checked() -> None:
    files = {path.stem for path in FOLDER.glob("*.csv")} - {"datasets"}
    assert files == set(SECOND) == set(COUNTS)


@pytest.mark.parametrize("table", TABLES)
def test_each_printed_number_has_a_cell_and_each_row_a_number(table: str) -> None:
    config = load_table(ROOT, table)
    cells = {
        CellName(row.part, dataset, row.label, metric)
        for row in config.rows
        for dataset in config.datasets_of(row.part)
        for metric in config.metrics_of(row.part)
    }
    published = read_published(ROOT, table)
    assert set(published) <= cells
    unprinted = cells - set(published)
    added = {cell for cell in unprinted if cell.metric == "R-precision"}
    assert len(added) == (12 if table == "table2" else 0)
    assert len(unprinted - added) == (12 if table == "figure3b" else 0)
    for value in published.values():
        rows = [row for row in config.rows if (row.part, row.label) == (value.name.part, value.name.label)]
        assert value.resolution in (None, rows[0].resolution)


def test_tables_are_all_here() -> None:
    assert names_in(ROOT / "benchmarks" / "tables") == sorted(TABLES)


def test_section_4_1_repeats_the_tables() -> None:
    text, table1, figure = (read_published(ROOT, name) for name in ("section4_1", "table1", "figure3b"))
    for name, value in text.items():
        other = figure[name._replace(part="reference")] if name.part == "ablation" else table1[name]
        assert value.printed == other.printed
    encoder = read_published(ROOT, "appendix_b4")[CellName("reference", "animal-faces", "Ours", "mFID")]
    assert encoder.printed == table1[CellName("reference", "animal-faces", "Ours*", "mFID")].printed


@pytest.mark.parametrize(("first", "second"), [("table3", "table6"), ("table4", "table7")])
def test_cells_that_are_printed_twice_differ_only_where_a_note_says_so(first: str, second: str) -> None:
    here, there = read_published(ROOT, first), read_published(ROOT, second)
    shared = set(here) & set(there)
    assert {name.label for name in shared} == {"Ours"}
    for name in shared:
        differ = here[name].printed != there[name].printed
        assert here[name].contradicted == there[name].contradicted == differ


def test_the_known_contradictions_are_noted() -> None:
    contradicted = Counter(
        value.table for table in SECOND for value in read_published(ROOT, table).values() if value.contradicted
    )
    assert contradicted == {"table3": 8, "table4": 1, "table7": 1, "table5": 8}


def test_dataset_facts_that_do_not_fit_are_noted() -> None:
    with (FOLDER / "datasets.csv").open(newline="", encoding="utf-8") as handle:
        facts = {(row["dataset"], row["quantity"]): row for row in csv.DictReader(handle)}
    for dataset in ("animal-faces", "birds", "foods"):
        images, classes, each = (
            int(facts[dataset, quantity]["value"].replace(",", ""))
            for quantity in ("images", "classes", "images per class")
        )
        fits = images == classes * each
        assert facts[dataset, "images per class"]["note"].startswith("contradiction:") == (not fits)
    afhq = facts["afhq-500", "training images"]
    assert int(afhq["value"]) != 3 * int(facts["afhq-500", "training images per class"]["value"])
    assert afhq["note"].startswith("contradiction:")


@pytest.mark.parametrize(
    ("printed", "low", "high"),
    [("96.2", "96.15", "96.25"), ("130", "129.5", "130.5"), ("45.3%", "45.25", "45.35"), ("8.90", "8.895", "8.905")],
)
def test_half_a_unit_of_the_last_printed_digit(printed: str, low: str, high: str) -> None:
    value = PublishedValue("t", CellName("p", "d", "l", "mFID"), printed, "lower")
    assert value.interval == (Decimal(low), Decimal(high))


def test_directions_are_those_of_the_metrics() -> None:
    for table in SECOND:
        for value in read_published(ROOT, table).values():
            assert value.direction == METRICS[value.name.metric].direction


GOOD = ["small", "p", "birds", "Ours", "mFID", "96.2", "lower", "256", ""]


def write(root: Path, *lines: list[str]) -> Path:
    path = root / "benchmarks" / "published" / "small.csv"
    path.parent.mkdir(parents=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows(lines)
    return root


def test_a_good_file_is_read(tmp_path: Path) -> None:
    (value,) = read_published(write(tmp_path, list(COLUMNS), GOOD), "small").values()
    assert (value.printed, value.resolution, value.contradicted) == ("96.2", 256, False)


@pytest.mark.parametrize(
    ("column", "text", "words"),
    [
        ("table", "other", "line 2.*other.*small"),
        ("metric", "FIDD", "line 2.*FIDD.*mFID"),
        ("direction", "higher", "line 2.*mFID.*lower"),
        ("value", "nan", "line 2.*nan.*not a printed number"),
        ("value", "1e3", "line 2.*1e3"),
        ("value", "", "line 2"),
        ("resolution", "256px", "line 2.*256px"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, column: str, text: str, words: str) -> None:
    line = dict(zip(COLUMNS, GOOD, strict=True)) | {column: text}
    with pytest.raises(UserError, match=words):
        read_published(write(tmp_path, list(COLUMNS), list(line.values())), "small")


def test_other_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"small\.csv does not exist"):
        read_published(tmp_path, "small")
    with pytest.raises(UserError, match=r"small\.csv, line 3: .*twice"):
        read_published(write(tmp_path / "twice", list(COLUMNS), GOOD, GOOD), "small")
    with pytest.raises(UserError, match=r"the columns must be table, part"):
        read_published(write(tmp_path / "columns", list(COLUMNS[:-1]), GOOD[:-1]), "small")
    with pytest.raises(UserError, match="more or fewer fields"):
        read_published(write(tmp_path / "fields", list(COLUMNS), GOOD[:-1]), "small")
