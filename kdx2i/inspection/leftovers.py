"""What a killed run has left in its work folder, looked at before a run goes on from it."""

from pathlib import Path

from rich.console import Console

from kdx2i.bounds import DOCUMENT_BYTES
from kdx2i.errors import UserError
from kdx2i.foreign import parse_json, read_plain, require_plain, tensor_metadata


def check_work(work: Path) -> None:
    """Raise `UserError` unless the log of a work folder, where it has one, could be a training's.

    A checkpoint whose header no file could have is removed, and said to be: the training goes on from the one before
    or starts again, as it does from one whose bytes are damaged.
    """
    if require_plain(work / "log.jsonl") is not None:
        check_log(work / "log.jsonl")
    for checkpoint in sorted(work.glob("*.safetensors")):
        try:
            tensor_metadata(checkpoint)
        except UserError as error:
            sentence = f"{error}; the training goes on without it"
            Console(stderr=True).print(sentence, highlight=False, markup=False, soft_wrap=True)
            checkpoint.unlink(missing_ok=True)


def check_log(path: Path) -> None:
    """Raise `UserError` for a log with a whole line that is not one step's: an object with a whole number `step`.

    The last line may be cut off, as a killed write leaves it.
    """
    data = read_plain(path, DOCUMENT_BYTES)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text: remove {path.parent} to train anew") from None
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        if line.endswith("}\n"):
            where = f"{path}, line {number}, is no step of a training (remove {path.parent} to train anew)"
            entry = parse_json(line, where)
            if not isinstance(entry, dict) or type(entry.get("step")) is not int:
                raise UserError(f"{where}: it holds no whole number `step`")
