"""The command `kdx2i`: one sub-command for each stage, and those that check and explain results.

Torch is imported by the stage that runs, never here. A user's mistake is one sentence on stderr and
exit status 2; 1 means that a check found something.
"""

from typer.models import CommandInfo

from kdx2i.cli import (
    claims,
    compare,
    data,
    evaluate,
    export,
    inspection,
    ladder,
    new_dataset,
    results,
    score,
    study,
    translate,
)
from kdx2i.cli.app import app, guarded, main
from kdx2i.plan import KINDS

# The help lists what makes results first, in the order of the flow.
_FLOW = [kind.command for kind in KINDS.values()]


def _place(command: CommandInfo) -> int:
    name = command.name or getattr(command.callback, "__name__", "")
    return _FLOW.index(name) if name in _FLOW else len(_FLOW)


app.registered_commands.sort(key=_place)

__all__ = [
    "app",
    "claims",
    "compare",
    "data",
    "evaluate",
    "export",
    "guarded",
    "inspection",
    "ladder",
    "main",
    "new_dataset",
    "results",
    "score",
    "study",
    "translate",
]
