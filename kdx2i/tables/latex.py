"""A table as LaTeX: one self-contained tabular with booktabs rules (`\\usepackage{booktabs}`)."""

from kdx2i.tables.layout import TableBlock, notes, table_blocks
from kdx2i.tables.model import Table
from kdx2i.tables.published import Published

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "†": r"\textdagger{}",
    "‡": r"\textdaggerdbl{}",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "∞": r"$_\infty$",
    "¹": r"\textsuperscript{1}",
    "²": r"\textsuperscript{2}",
    "–": "--",
}


def escape_latex(text: str) -> str:
    """Return the text with every character that LaTeX would read as a command written as itself."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def render_latex(table: Table, published: Published) -> str:
    """Return the table as LaTeX, reproduced values beside the printed ones; the same bytes each time.

    It is a `tabular` (in a group with small type) followed by its notes: input it in any document that
    loads booktabs.
    """
    blocks = table_blocks(table, published)
    width = max(2 * len(block.metrics) for block in blocks)
    columns = f"ll{'r' * width}l"
    lines = [f"% {table.title}", r"\begingroup\small", rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    for number, block in enumerate(blocks):
        lines += [r"\midrule"] if number else []
        lines += _block(block, width)
    lines += [r"\bottomrule", r"\end{tabular}", "", r"\begin{itemize}"]
    lines += [rf"\item {escape_latex(note)}" for note in notes(table, published)]
    lines += [r"\end{itemize}", r"\endgroup"]
    return "\n".join(lines) + "\n"


def _block(block: TableBlock, width: int) -> list[str]:
    """Write one block: its title over all columns, its headings, its methods and its controls."""
    total = width + 3
    fill = [""] * (width - 2 * len(block.metrics))
    headings = ["Method", "px"]
    for metric in block.metrics:
        headings += [escape_latex(metric), "paper"]
    headings += [*fill, "images real/generated"]
    lines = [
        rf"\multicolumn{{{total}}}{{l}}{{\textbf{{{escape_latex(block.title)}}}}} \\",
        _row(headings),
        r"\midrule",
    ]
    controls = False
    for line in block.lines:
        if line.control and not controls:
            lines.append(rf"\cmidrule(lr){{1-{total}}}")
            controls = True
        label = rf"\textit{{{escape_latex(line.label)}}}" if line.control else escape_latex(line.label)
        values = [escape_latex(text) for pair in line.cells for text in pair]
        lines.append(_row([label, escape_latex(line.pixels), *values, *fill, escape_latex(line.counts)]))
    return lines


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"
