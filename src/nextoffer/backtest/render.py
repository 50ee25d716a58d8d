"""A backtest as a table a person can read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

MEANING = {
    "next_purchase": "what a customer buys next, of everything",
    "explore": "what they buy for the first time",
    "up_sell": "which dearer product of a family they take",
    "replenishment": "which product they buy again",
    "lapse": "who buys nothing",
}


def rendered(result: dict[str, Any]) -> RenderableType:
    """One table per task: nextoffer first, the best figure of each column bold."""
    from rich.console import Group
    from rich.table import Table

    parts: list[Any] = [
        f"Learned before [bold]{result['as_of'][:10]}[/bold], scored the {result['horizon_days']} days after it: "
        f"{result['customers']:,} customers, {result['buyers']:,} of them bought. Ranker: {result['ranker']}."
    ]
    for task, methods in result["tasks"].items():
        names = list(dict.fromkeys(name for metrics in methods.values() for name in metrics))
        if not names:
            parts.append(f"{task}: nothing happened that could be judged")
            continue
        table = Table(title=f"{task} — {MEANING[task]}", title_justify="left", min_width=72)
        table.add_column("method")
        for name in names:
            table.add_column(name, justify="right")
        for method, metrics in methods.items():
            table.add_row(method, *(_cell(name, metrics, methods) for name in names))
        parts.append(table)
    parts.append(f"ndcg: {result['ndcg']}. Lower is better for brier and calibration_error.")
    return Group(*parts)


def _cell(name: str, metrics: dict[str, float], methods: dict[str, dict[str, float]]) -> str:
    if name not in metrics:
        return "–"
    values = [other[name] for other in methods.values() if name in other]
    best = min(values) if name in ("brier", "calibration_error") else max(values)
    text = f"{metrics[name]:.4f}"
    return f"[bold]{text}[/bold]" if metrics[name] == best and len(values) > 1 else text
