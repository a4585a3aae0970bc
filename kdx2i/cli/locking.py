"""One process at a time makes a result: a lock of the operating system, which ends with the process that holds it."""

import fcntl
import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rich.console import Console

from kdx2i.inspection.at_work import LOCKS, enter_job
from kdx2i.plan import Leaf

FOLDER = LOCKS
"""Where locks lie: splits belong to all presets, so the presets' folders are no place."""


@contextmanager
def making(leaf: Leaf[Any]) -> Iterator[bool]:
    """Hold the lock of a result, waiting for another process that makes it; yield whether there was one.

    The lock is that of the result's address, so that results of other code or settings at the same place wait too. A
    killed process leaves none: the system releases it. What else killed ones left is cleared away first, where nobody
    is at work in the tree. Under torchrun the first process holds it for all, and none hears that it waited. A file
    system that knows no locks is worked on without one, which is said.
    """
    if os.environ.get("RANK", "0") != "0":
        yield False
        return
    at_work = enter_job(leaf.root, leaf.results)
    handle, waited = _acquired(lock_path(leaf), leaf.name)
    try:
        yield waited and int(os.environ.get("WORLD_SIZE", "1")) == 1
    finally:
        if handle is not None:
            Path(handle.name).unlink(missing_ok=True)  # While it is held: whoever waits looks whether it is there.
            handle.close()
        if at_work is not None:
            at_work.close()


def lock_path(leaf: Leaf[Any]) -> Path:
    """Return the path of a result's lock."""
    return leaf.root / FOLDER / hashlib.sha256(leaf.name.encode()).hexdigest()[:16]


def _acquired(path: Path, name: str) -> tuple[IO[str] | None, bool]:
    """Return the open file that holds the lock (None where there can be no lock), and whether it was waited for."""
    waited = False
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a+", encoding="utf-8")
        try:
            waited = _lock(handle, name) or waited
        except OSError as error:
            handle.close()
            _say(f"{name} is made without a lock, which this file system does not have ({error.strerror})")
            return None, waited
        except BaseException:
            handle.close()
            raise
        if _is_at(handle, path):
            handle.truncate(0)
            handle.write(f"process {os.getpid()} on {socket.gethostname()}")
            handle.flush()
            return handle, waited
        handle.close()  # The one that held it has removed it.


def _lock(handle: IO[str], name: str) -> bool:
    """Take the lock of an open file, and return whether another process had it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.seek(0)
        _say(f"{name} is being made by {handle.read(200).strip() or 'another process'}: waiting for it to end")
        fcntl.flock(handle, fcntl.LOCK_EX)
        return True
    return False


def _is_at(handle: IO[str], path: Path) -> bool:
    """Tell whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _say(sentence: str) -> None:
    Console(stderr=True).print(sentence, highlight=False, markup=False, soft_wrap=True)
