"""When the jobs behind results ran, by Snakemake's own records: times in a provenance would change its bytes.

Snakemake keeps one JSON file for each output in `.snakemake/metadata`, named by the output's path in base64.
"""

import base64
import binascii
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from kdx2i.errors import UserError
from kdx2i.foreign import read_document

RECORDS = Path(".snakemake") / "metadata"
_SLACK = 2.0
"""Seconds that a file system's clock may be beside the machine's."""


def job_times(root: Path, outputs: Iterable[str]) -> tuple[datetime, datetime] | None:
    """Return when the first job behind some outputs began and the last one ended (UTC).

    `outputs` are paths relative to `root`. None where one of them has no record, or is not the file that the recorded
    job wrote: it came from elsewhere, so nobody knows when it was made.
    """
    records = {name: path for path in (root / RECORDS).rglob("*") if (name := _output(path)) is not None}
    times = [_times(root / name, records.get(name)) for name in outputs]
    known = [pair for pair in times if pair is not None]
    if not known or len(known) < len(times):
        return None
    began, ended = min(begin for begin, _ in known), max(end for _, end in known)
    return datetime.fromtimestamp(began, UTC), datetime.fromtimestamp(ended, UTC)


def _output(record: Path) -> str | None:
    """Return the output that a record is of; long names are folders that start with @. None for what is no record."""
    parts = record.parts[len(record.parts) - record.parts[::-1].index(RECORDS.name) :]
    try:
        return base64.urlsafe_b64decode("".join(part.removeprefix("@") for part in parts)).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return None


def _times(output: Path, record: Path | None) -> tuple[float, float] | None:
    """Return the begin and end of the job of a record, in seconds since 1970, where the output is from then."""
    if record is None or not record.is_file() or not output.is_file():
        return None
    try:
        document = read_document(record)
    except UserError:
        return None
    began, ended = (document.get(key) if isinstance(document, dict) else None for key in ("starttime", "endtime"))
    if not isinstance(began, float) or not isinstance(ended, float):
        return None
    return (began, ended) if began - _SLACK <= output.stat().st_mtime <= ended + _SLACK else None
