"""What the machine refuses in the middle of a command, as one sentence: a full disk, a folder that is read only."""

import errno
import os
import re

_REFUSED = frozenset({
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG, errno.EMFILE,
    errno.ENFILE, errno.ESTALE, errno.ENAMETOOLONG,
})  # fmt: skip


def refusal(error: BaseException) -> str | None:
    """Return the sentence on an error that lies in the machine and its file systems, None for any other error.

    safetensors has an error of its own for them, with the system's number in its text.
    """
    number, place = None, "a file"
    if isinstance(error, OSError):
        number, place = error.errno, str(error.filename2 or error.filename or place)
    elif type(error).__name__ == "SafetensorError":
        found = re.search(r"\(os error (\d+)\)", str(error))
        number = int(found[1]) if found else None
    if number is None or number not in _REFUSED:
        return None
    return f"{place} cannot be read or written: {os.strerror(number)}; what was finished before is whole"
