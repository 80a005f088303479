"""One small table, written as plain text, Markdown or HTML."""

from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Table:
    """Cells that are text already; the first column names the rows.

    Attributes:
        header: One title per column.
        rows: Rows of as many cells.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def text(self) -> str:
        """Columns lined up for a terminal: the first to the left, the others to the right."""
        lines = (self.header, *self.rows)
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        written = []
        for first, *others in lines:
            padded = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
            written.append("  ".join([first.ljust(widths[0]), *padded]).rstrip())
        return "\n".join(written)

    def markdown(self) -> str:
        """A pipe table."""
        rule = ("---", *["---:"] * (len(self.header) - 1))
        safe = [[cell.replace("|", r"\|") for cell in line] for line in (self.header, *self.rows)]
        return "\n".join(f"| {' | '.join(line)} |" for line in (safe[0], rule, *safe[1:]))

    def html(self) -> str:
        """A table element."""
        head = "".join(f"<th>{escape(cell)}</th>" for cell in self.header)
        body = "".join(
            f"<tr><th>{escape(first)}</th>"
            + "".join(f"<td>{escape(cell)}</td>" for cell in others)
            + "</tr>"
            for first, *others in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
