"""The protocol register as a page: `docs/protocol.md`."""

from pathlib import Path

from kdx2i.config import ProtocolEntry, ProtocolRegister, load_protocol
from kdx2i.files import write_text

INTRODUCTION = """# The protocol register

What the paper leaves open or contradicts, what this suite chose (in the preset `paper`; the open presets say where
they differ), why, and the key of a preset that switches it, or that there is none.
Rendered from `benchmarks/protocol.yaml` by `kdx2i protocol`.
"""


def render(register: ProtocolRegister) -> str:
    """Return the register as Markdown: first the open choices, then the contradictions."""
    parts = [INTRODUCTION]
    for kind, title in (("choice", "Open choices"), ("contradiction", "Contradictions in the paper")):
        parts.append(f"## {title}\n")
        parts += [_entry(entry) for entry in register.entries if entry.kind == kind]
    return "\n".join(parts)


def _entry(entry: ProtocolEntry) -> str:
    reason = entry.no_switch or "there is one implementation"
    switch = f"`{entry.key}`" if entry.key else f"none: {' '.join(reason.split())}"
    lines = [
        f"### {entry.title}",
        "",
        f"`{entry.id}`, affects {', '.join(entry.affects)}; switch: {switch}",
        "",
        f"> {' '.join(entry.passage.split())}",
        "",
    ]
    for name, text in entry.alternatives.items():
        mark = " (chosen)" if name == entry.chosen else ""
        lines.append(f"- **{name}**{mark}: {' '.join(text.split())}")
    return "\n".join([*lines, "", " ".join(entry.why.split()), ""])


def write(root: Path) -> Path:
    """Write `docs/protocol.md` and return its path."""
    path = root / "docs" / "protocol.md"
    write_text(path, render(load_protocol(root)))
    return path
