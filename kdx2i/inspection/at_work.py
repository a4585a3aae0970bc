"""Who is at work in a tree, and what those who were killed have left there.

Jobs and workflows hold shared locks of the operating system, which end with their process. Who gets one alone knows
that nobody else is at work: temporary files are then those of killed processes, and so is a lock of Snakemake's. Some
file systems keep locks to each machine: where another machine has left its note in the file, nothing is touched.
"""

import fcntl
import json
import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from kdx2i.errors import UserError
from kdx2i.foreign import read_document

JOBS, WORKFLOWS = Path("results/.work/jobs"), Path(".snakemake/kdx2i-workflows")
"""The locks of those at work, relative to the root; that of workflows lies beside Snakemake's own."""
LOCKS = Path("results") / ".locks"
"""Where the locks of single results lie, relative to the root."""

# What a write leaves that is killed: that of `kdx2i.files.replacing`, and that of safetensors below it.
_TEMPORARY = re.compile(r"\..+\.part|\.tmp[0-9A-Za-z]{6}")
_IDENTITY = re.compile(r"[0-9a-f]{64}")


def enter_job(root: Path, results: Path) -> IO[str] | None:
    """Say that a job of the preset with these `results` is at work, and clear away what killed ones left.

    Return the open file that says so until it is closed or the process ends; None where there can be no lock.
    """

    def alone(notes: list[Mapping[str, Any]]) -> bool:
        if any(map(_is_foreign, notes)):
            return False
        sweep(root, results)
        return True

    return _enter(root / JOBS, alone, ())


def enter_workflow(root: Path, results: Path, folders: Iterable[Path]) -> IO[str] | None:
    """Say that a Snakemake is at work, whose temporary `folders` these are, and clear away what killed ones left.

    That is Snakemake's lock of the folder that it works in, which would ask for `--unlock`, and the temporary folders;
    and, where no job is at work either, what `sweep` finds. Returns as `enter_job` does.
    """

    def alone(notes: list[Mapping[str, Any]]) -> bool:
        jobs = enter_job(root, results)
        if jobs is not None:
            jobs.close()
        return _end_killed_workflows(notes)

    return _enter(root / WORKFLOWS, alone, folders)


def sweep(root: Path, results: Path) -> None:
    """Remove what killed processes left below `results` and `data`; nobody may be at work there.

    Temporary files, locks that nobody holds, and work folders whose results are finished.
    """
    for folder, pattern in ((root / results, "**/.*"), (root / "data", "*/.*")):
        for path in folder.glob(pattern):
            if _TEMPORARY.fullmatch(path.name) and path.is_file():
                _remove(path)
    for path in (root / LOCKS).glob("*"):
        _remove(path)
    works = {path.name: path for path in (root / results / ".work").glob("*") if _IDENTITY.fullmatch(path.name)}
    for path in (root / results).rglob("*provenance.json") if works else ():
        try:
            document = read_document(path)
        except UserError:
            continue
        finished = document.get("identity") if isinstance(document, dict) else None
        if isinstance(finished, str) and finished in works:
            shutil.rmtree(works[finished], ignore_errors=True)


def _enter(
    path: Path, alone: Callable[[list[Mapping[str, Any]]], bool], folders: Iterable[Path | str]
) -> IO[str] | None:
    """Take a shared lock and leave a note behind those of others.

    Where nobody has the lock, `alone` is called with the notes, which go where it returns that they are done with.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a+", encoding="utf-8", errors="replace")
    except OSError:
        return None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(handle, fcntl.LOCK_SH)
        else:
            handle.seek(0)
            if alone(_notes(handle.read())):
                handle.truncate(0)
            fcntl.flock(handle, fcntl.LOCK_SH)
        handle.write(json.dumps({**_machine(), "folders": [str(folder) for folder in folders]}) + "\n")
        handle.flush()
    except OSError:  # A file system without locks, or a full one: what is left stays.
        handle.close()
        return None
    return handle


def _machine() -> dict[str, str]:
    """Return what tells this machine from others: its name, which outlives a power cut, and its kernel's start."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        boot = ""
    return {"host": socket.gethostname(), "boot": boot}


def _notes(text: str) -> list[Mapping[str, Any]]:
    """Return the notes of those who were at work; a line that is none is passed over."""
    known = []
    for line in text.splitlines():
        try:
            known.append(json.loads(line))
        except ValueError:
            continue
    return [note for note in known if isinstance(note, dict)]


def _is_foreign(note: Mapping[str, Any]) -> bool:
    """Tell whether a note is of another machine; containers on one machine have names of their own."""
    here = _machine()
    return note.get("host") != here["host"] and (note.get("boot") != here["boot"] or not here["boot"])


def _end_killed_workflows(notes: list[Mapping[str, Any]]) -> bool:
    """Remove Snakemake's lock of this folder, and the temporary folders that notes name; tell whether that is all."""
    locks = list(Path(".snakemake/locks").glob("*.lock"))
    if any(map(_is_foreign, notes)) and locks:
        return False
    for note in notes:
        for folder in note.get("folders") or ():
            if _is_temporary_folder(str(folder)):
                shutil.rmtree(folder, ignore_errors=True)
    if notes and locks:
        for path in locks:
            _remove(path)
        print("a workflow was killed here: its lock is removed", file=sys.stderr)
    return True


def _is_temporary_folder(name: str) -> bool:
    """Tell whether a name is that of a folder that Snakemake makes for one run, of this user."""
    path = Path(name)
    ours = path.is_dir() and not path.is_symlink() and path.stat().st_uid == os.geteuid()
    beside = Path(tempfile.gettempdir()).resolve() == path.parent.resolve() and path.name.startswith("snakemake")
    return ours and (beside or path.parent.name == "snakemake-runtime-cache")


def _remove(path: Path) -> None:
    """Remove a file that may be gone already, or not be ours to remove."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
