"""What a killed run has left in its work folder, looked at before a run goes on from it."""

from pathlib import Path

from kdx2i.bounds import DOCUMENT_BYTES
from kdx2i.errors import UserError
from kdx2i.foreign import parse_json, read_plain, require_plain, tensor_metadata


def check_work(work: Path) -> None:
    """Raise `UserError` unless the log and checkpoint of a work folder, where it has them, could be a training's."""
    if require_plain(work / "log.jsonl") is not None:
        check_log(work / "log.jsonl")
    for checkpoint in sorted(work.glob("*.safetensors")):
        tensor_metadata(checkpoint)


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
