"""How the demo's story looks: numbered headings, the command of each step, facts, small tables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table

from nextoffer.pipeline.workspace import Progress

WIDEST = 100
_SMALL = re.compile(r"[\[{]\s[^\[\]{}]{1,75}[\]}]")  # a small object or array: one line is enough


class Teller:
    """Prints the story; on a terminal the stage at work moves in one line that goes when it is done."""

    def __init__(self, console: Console) -> None:
        console.width = min(console.width, WIDEST)
        self._console, self._step = console, 0

    def heading(self, text: str, command: str | None = None) -> None:
        """A new step, and what one types for it in a shop of one's own."""
        self._step += 1
        self._console.print()
        self._console.print(Rule(f"[bold]{self._step}  {text}[/bold]", align="left", style="cyan"))
        if command:
            self._console.print(f"[dim]$[/dim] [bold cyan]{escape(command)}[/bold cyan]", soft_wrap=True)
        self._console.print()

    def say(self, text: str) -> None:
        """A paragraph, with rich's markup."""
        self._console.print(Padding(text, (0, 2)))

    def show(self, what: RenderableType) -> None:
        """A table or anything else rich can print, indented like the text."""
        self._console.print(Padding(what, (0, 2)))

    def document(self, document: Any) -> None:
        """JSON as the API answers it."""
        text = json.dumps(document, indent=2, ensure_ascii=False)
        text = _SMALL.sub(lambda found: " ".join(found[0].split()), text)
        self._console.print(Padding(escape(text), (1, 4)), style="green")

    @contextmanager
    def working(self, text: str) -> Iterator[Progress]:
        """What is being waited for; the progress function names the stage within it."""
        if not self._console.is_terminal:
            yield lambda _: None
            return
        with self._console.status(f"{text} …") as status:
            yield lambda stage: status.update(f"{text}: {escape(stage)} …")


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table without frame; the first column is text, the others are figures."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim", show_edge=False)
    for place, name in enumerate(names):
        made.add_column(name, justify="right" if place else "left", no_wrap=True)
    for row in rows:
        made.add_row(*row)
    return made


def listing(rows: Sequence[tuple[str, str]]) -> Table:
    """Label and text, side by side; the text may run over several lines."""
    made = Table.grid(padding=(0, 2))
    made.add_column(no_wrap=True, style="dim")
    made.add_column()
    for label, text in rows:
        made.add_row(label, text)
    return made


def shown(path: Path) -> str:
    """A path as one would type it: relative where that is shorter."""
    full = path.resolve()
    here = Path.cwd()
    return str(full.relative_to(here)) if full.is_relative_to(here) else str(full)
