"""The report on the marketer's rules as a person reads it on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nextoffer.pipeline.offers_report import OffersReport, RuleReport
from nextoffer.pipeline.rule_conflicts import Conflict

if TYPE_CHECKING:
    from rich.console import RenderableType

_SHOWN = 20
_STARTER = """There are no rules of yours. Write them into offers.toml, beside nextoffer.toml, for example:

    [coffee-for-the-loyal]
    audience = { segments = ["champions", "loyal"] }
    category = "Coffee"
    incentive = { type = "percent", value = 10 }
    until = 2026-12-24
"""


def rules_rendered(report: OffersReport) -> RenderableType:
    """A table of the rules, what to know of each, and the conflicts."""
    from rich.console import Group
    from rich.markup import escape

    if not report.rules:
        return escape(_STARTER)
    head = (
        f"[bold]{len(report.rules)} rules[/bold] of {escape(str(report.file))} on {report.today}, "
        f"{report.customers:,} customers of bundle {report.bundle_id}"
    )
    parts: list[Any] = [head, _table(report)]
    notes = [(rule.name, note) for rule in report.rules for note in rule.notes]
    parts += [
        f"[yellow]![/yellow] [bold]{escape(name)}[/bold] {escape(note)}" for name, note in notes[:_SHOWN]
    ]
    if len(notes) > _SHOWN:
        parts.append(f"and {len(notes) - _SHOWN:,} more notes; all of them with --json")
    if report.conflicts:
        parts += ["", *(_said(one) for one in report.conflicts[:_SHOWN])]
    if len(report.conflicts) > _SHOWN:
        parts.append(f"and {len(report.conflicts) - _SHOWN:,} more conflicts; all of them with --json")
    parts.append(
        "\nEach rule by itself, as if it ran today. Cost and profit are expected, before the cost of messages, over "
        "those it is worth making to; what offers change is an assumption until experiments have measured it."
    )
    return Group(*parts)


def _table(report: OffersReport) -> RenderableType:
    from rich.markup import escape
    from rich.table import Table

    table = Table(show_lines=True)
    for name in ("rule", "offer"):
        table.add_column(name, overflow="fold")
    for name in ("reaches", "may get it", "worth it", "cost", "profit"):
        table.add_column(name, justify="right")
    for rule in report.rules:
        consent = [f"{name} {count:,}" for name, count in (rule.consent or {}).items()]
        table.add_row(
            f"[bold]{escape(rule.name)}[/bold]\n{rule.state}",
            escape("\n".join([rule.offer, *_terms(rule)])),
            "\n".join([f"{rule.reached:,}", *consent]),
            *(_about(rule, figure) for figure in (f"{rule.eligible:,}", f"{rule.offered:,}")),
            *(_about(rule, f"{amount:,.2f}") for amount in (rule.expected_cost, rule.expected_profit)),
        )
    return table


def _terms(rule: RuleReport) -> list[str]:
    """The lines below what a rule offers."""
    marks = [f"priority {rule.priority}"] * bool(rule.priority) + ["pinned"] * rule.pinned
    return [line for line in (rule.incentive_text, ", ".join(marks)) if line]


def _about(rule: RuleReport, figure: str) -> str:
    """A figure of a sample is about right."""
    return f"≈ {figure}" if rule.looked_at < rule.reached else figure


def _said(conflict: Conflict) -> str:
    from rich.markup import escape

    one, two = (f"[bold]{escape(name)}[/bold]" for name in conflict.rules)
    days = "".join(
        f" {word} {day}"
        for word, day in (("from", conflict.first_day), ("until", conflict.last_day))
        if day is not None
    )
    what = (
        "offer the same to the same audience"
        if conflict.what == "overlap"
        else "offer the same product with different incentives"
    )
    first = conflict.wins
    wins = "the one of more expected profit is made" if first is None else f"{escape(first)} wins by priority"
    return f"[red]×[/red] {one} and {two} {what}{days}: {conflict.customers:,} customers; {wins}"
