"""A backtest as tables a person can read at 100 columns: a summary first, then each task, then the views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nextoffer.backtest.metrics import LOWER_IS_BETTER

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

OURS = "nextoffer"
MEANING = {
    "next_purchase": "what a customer buys next, of everything",
    "explore": "what they buy for the first time",
    "up_sell": "which dearer product of a family they take",
    "replenishment": "which product they buy again",
    "lapse": "who buys nothing",
}
HEADLINE = {
    "next_purchase": "recall@10",
    "explore": "recall@10",
    "up_sell": "ndcg@5",
    "replenishment": "pr_auc",
    "lapse": "roc_auc",
}
BAND = {"head": "first 20 % of sales", "middle": "next 60 %", "tail": "last 20 %"}
VIEWS = {
    "coverage": "share of the products sold so far that stand in some list",
    "full_lists": "customers whose list has no empty place",
    "diversity": "families per product of a list",
    "gini": "0 = all products listed alike, 1 = one product for all",
    "novelty": "−log2 of the share of customers who had bought the product",
    "new_share": "listed products the customer had never bought",
}
MARK = {1: "[green]▲[/green]", -1: "[red]▼[/red]", 0: " ", None: "?"}


def rendered(result: dict[str, Any]) -> RenderableType:
    """Everything of one backtest; `result` is what `backtest --json` prints."""
    from rich.console import Group

    horizon, cuts = result["horizon_days"], result["cuts"]
    dates = ", ".join(cut["as_of"][:10] for cut in cuts)
    parts: list[Any] = [
        f"Learned before [bold]{dates}[/bold], scored the {horizon} days after "
        f"{'it' if len(cuts) == 1 else 'each'}: {result['customers']:,} customers, {result['buyers']:,} of them "
        f"bought. Ranker: {result['ranker']}.",
        *(f"[yellow]Note: {warning}.[/yellow]" for warning in result.get("warnings", [])),
        _summary(result),
        *([_by_cut(result)] if len(cuts) > 1 else []),
        *(_task(result, task) for task in result["tasks"]),
        *(_by_popularity(task, bands) for task, bands in result["by_popularity"].items()),
        *(_variety(task, methods) for task, methods in result["lists"].items()),
        *(_segments(task, rows) for task, rows in result["segments"].items()),
        _legend(result),
    ]
    return Group(*parts)


def _legend(result: dict[str, Any]) -> str:
    return "\n".join(
        [
            "",
            f"▲ nextoffer is ahead, ▼ behind: the interval excludes 0 ({result['interval']}).",
            "? Too few customers for an interval. Under each figure: what nextoffer is ahead of it by, ± half its "
            f"interval. Lower is better for {' and '.join(LOWER_IS_BETTER)}.",
            f"ndcg: {result['ndcg']}.",
            *(f"{name}: {text}." for name, text in VIEWS.items()),
        ]
    )


def _summary(result: dict[str, Any]) -> Table:
    """nextoffer against the best baseline of each task, in one measure."""
    table = _table("Summary: nextoffer against the best baseline of each task")
    table.add_column("task")
    table.add_column("measure")
    for name in ("nextoffer", "best baseline"):
        table.add_column(name, justify="right")
    table.add_column("ahead by [low, high]")
    for task, metric in HEADLINE.items():
        methods = result["tasks"][task]
        theirs = {name: m[metric] for name, m in methods.items() if name != OURS and metric in m}
        if metric not in methods[OURS] or not theirs:
            table.add_row(task, metric, "–", "–", "nothing could be judged")
            continue
        best = max(theirs, key=lambda name: theirs[name])
        ours, against = f"[bold]{methods[OURS][metric]:.3f}[/bold]", f"{best} {theirs[best]:.3f}"
        table.add_row(task, metric, ours, against, _interval(result["differences"][task][best][metric]))
    return table


def _by_cut(result: dict[str, Any]) -> Table:
    table = _table("nextoffer at each cut-off")
    table.add_column("as of", no_wrap=True)
    for name in ("customers", "buyers", *(f"{task}\n{metric}" for task, metric in HEADLINE.items())):
        table.add_column(name, justify="right")
    several = len({cut["ranker"] for cut in result["cuts"]}) > 1
    for cut in result["cuts"]:
        figures = [cut["tasks"][task][OURS].get(metric) for task, metric in HEADLINE.items()]
        cells = ["–" if figure is None else f"{figure:.3f}" for figure in figures]
        when = cut["as_of"][:10] + (f"\n{cut['ranker']}" if several else "")
        table.add_row(when, f"{cut['customers']:,}", f"{cut['buyers']:,}", *cells)
    return table


def _task(result: dict[str, Any], task: str) -> RenderableType:
    methods = result["tasks"][task]
    names = list(dict.fromkeys(name for metrics in methods.values() for name in metrics))
    if not names:
        return f"\n{task} — {MEANING[task]}: nothing happened that could be judged"
    table = _table(f"{task} — {MEANING[task]} ({result['judged'][task]:,} customers)")
    return _figures(table, names, methods, result["differences"][task])


def _figures(
    table: Table,
    names: list[str],
    methods: Mapping[str, Mapping[str, float]],
    differences: Mapping[str, Mapping[str, Any]],
) -> Table:
    """A row per method, a column per measure; the best figure bold, what nextoffer is ahead by beneath."""
    table.add_column("method")
    for name in names:
        table.add_column(name, justify="right")
    for method, metrics in methods.items():
        cells = [
            _cell(name, metrics, methods) + _beneath(differences.get(method, {}).get(name), name)
            for name in names
        ]
        table.add_row(method, *cells)
    return table


def _by_popularity(task: str, bands: Mapping[str, Any]) -> RenderableType:
    """The same lists, by how much the products bought are sold."""
    methods: dict[str, dict[str, float]] = {}
    differences: dict[str, dict[str, Any]] = {}
    for band, one in bands.items():
        name = f"{band}\n{BAND[band]}"
        for method, metrics in one["methods"].items():
            methods.setdefault(method, {})
            if metrics:
                methods[method][name] = next(iter(metrics.values()))
        for method, metrics in one["differences"].items():
            differences.setdefault(method, {})[name] = next(iter(metrics.values()))
    names = list(dict.fromkeys(name for metrics in methods.values() for name in metrics))
    if not names:
        return ""
    table = _table(f"{task} — recall@10 of purchases, by how much the product bought sells")
    return _figures(table, names, methods, differences)


def _variety(task: str, methods: Mapping[str, Mapping[str, float]]) -> RenderableType:
    if not methods.get(OURS):
        return ""
    table = _table(f"{task} — what the lists are like")
    table.add_column("method")
    for name in VIEWS:
        table.add_column(name, justify="right")
    for method, measures in methods.items():
        table.add_row(method, *(f"{measures[name]:.3f}" for name in VIEWS))
    return table


def _segments(task: str, rows: list[dict[str, Any]]) -> RenderableType:
    if not rows:
        return f"\n{task}: no segment has customers enough to be judged by itself"
    title = (
        f"{task} — segments where nextoffer is furthest behind the best baseline there ({rows[0]['metric']})"
    )
    table = _table(title)
    table.add_column("customers who are")
    table.add_column("n", justify="right")
    table.add_column("best baseline")
    table.add_column("ahead by [low, high]")
    for row in rows:
        orders = f"{row['orders']} order{'' if row['orders'] == '1' else 's'}"
        band = orders if row["orders"] else f"{row['prices']} prices"
        who = f"{row['segment'].replace('_', ' ')}, {band}"
        table.add_row(who, f"{row['n']:,}", row["baseline"], _interval(row))
    return table


def _table(title: str) -> Table:
    from rich.table import Table

    return Table(title=f"\n{title}", title_justify="left", min_width=72)


def _cell(name: str, metrics: Mapping[str, float], methods: Mapping[str, Mapping[str, float]]) -> str:
    if name not in metrics:
        return "–"
    values = [other[name] for other in methods.values() if name in other]
    best = min(values) if name in LOWER_IS_BETTER else max(values)
    text = f"{metrics[name]:.4f}"
    return f"[bold]{text}[/bold]" if metrics[name] == best and len(values) > 1 else text


def _beneath(found: Mapping[str, float | None] | None, metric: str) -> str:
    if found is None:
        return ""
    difference, sign = found["difference"], _sign(found, metric)
    low, high = found["low"], found["high"]
    half = "" if low is None or high is None else f"±{(high - low) / 2:.4f}"
    return f"\n[dim]{difference:+.4f}{half}[/dim] {MARK[sign]}"


def _interval(found: Mapping[str, Any]) -> str:
    low, high = found["low"], found["high"]
    ends = "" if low is None else f" \\[{low:+.4f}, {high:+.4f}]"
    return f"{found['difference']:+.4f}{ends} {MARK[_sign(found)]}"


def _sign(found: Mapping[str, Any], metric: str = "") -> int | None:
    """1 where nextoffer is better, −1 where worse, 0 if the interval holds 0, None without one."""
    low, high = found["low"], found["high"]
    if low is None or high is None:
        return None
    sign = int(low > 0) - int(high < 0)
    return -sign if metric in LOWER_IS_BETTER else sign
