"""A table as Markdown: one block for each part and dataset, the notes below."""

import re

from kdx2i.tables.layout import TableBlock, notes, table_blocks
from kdx2i.tables.model import Table
from kdx2i.tables.published import Published


def render_markdown(table: Table, published: Published) -> str:
    """Return the table as Markdown, reproduced values beside the printed ones; the same bytes each time."""
    text = [f"# {escape_markdown(table.title)}"]
    text += [_block(block) for block in table_blocks(table, published)]
    text.append("\n".join(f"- {escape_markdown(line)}" for line in notes(table, published)))
    return "\n\n".join(text) + "\n"


def _block(block: TableBlock) -> str:
    """Write one block as a heading and a pipe table."""
    headings = ["Method", "px"]
    for metric in block.metrics:
        headings += [metric, "paper"]
    headings.append("images real/generated")
    rows = [headings, ["---", "---", *["---:"] * (2 * len(block.metrics)), "---"]]
    for line in block.lines:
        label = f"_{escape_markdown(line.label)}_" if line.control else escape_markdown(line.label)
        values = [escape_markdown(text) for pair in line.cells for text in pair]
        rows.append([label, line.pixels, *values, line.counts])
    body = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"## {escape_markdown(block.title)}\n\n{body}"


def escape_markdown(text: str) -> str:
    """Return the text with what Markdown would read as markup written as itself."""
    return re.sub(r"([\\`*_|\[\]<>])", r"\\\1", text)
