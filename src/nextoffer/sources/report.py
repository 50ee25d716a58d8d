"""What `check` prints: every row accounted for, what was refused and why, and the shop at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from nextoffer.config import Settings
from nextoffer.domain.history import History, TableReport
from nextoffer.domain.tables import TABLES
from nextoffer.sources.checks import MALFORMED, SUPERSEDED, rules_of
from nextoffer.sources.files import quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from rich.console import RenderableType

BAR_WIDTH = 32


@dataclass(frozen=True, slots=True)
class Overview:
    """The shop in a few numbers; a purchase is an order with at least one positive line."""

    customers: int
    orders: int
    products: int
    one_time_share: float
    revenue: int
    months: tuple[tuple[str, int], ...]


def overview(history: History) -> Overview:
    """Count customers, orders, products, and orders of each month (UTC)."""
    import duckdb

    lines = f"read_parquet('{quoted(history.folder / 'orders.parquet')}')"
    with duckdb.connect() as con:
        con.execute(
            "CREATE TABLE purchases AS SELECT order_id, min(customer_id) AS customer_id, "
            f"min(ordered_at) AS ordered_at FROM {lines} WHERE quantity > 0 GROUP BY order_id"
        )
        products, revenue = _row(con, f"SELECT count(DISTINCT product_id), sum(revenue) FROM {lines}")
        customers, once = _row(
            con,
            "SELECT count(*), count(*) FILTER (n = 1) FROM (SELECT count(*) AS n FROM purchases "
            "WHERE customer_id IS NOT NULL GROUP BY customer_id)",
        )
        months = con.execute(
            "SELECT strftime(ordered_at, '%Y-%m') AS month, count(*) FROM purchases GROUP BY 1 ORDER BY 1"
        ).fetchall()
    return Overview(
        customers=customers,
        orders=sum(count for _, count in months),
        products=products,
        one_time_share=once / customers if customers else 0.0,
        revenue=int(revenue or 0),
        months=tuple(months),
    )


def check_json(history: History) -> dict[str, Any]:
    """The same report as one JSON document."""
    found = overview(history)
    return {
        "tables": {
            name: {
                **{
                    key: getattr(report, key)
                    for key in ("read", "accepted", "rejected", "excluded", "guests")
                },
                "duplicates": report.duplicates,
                "rejected_by_rule": dict(report.rejected_by_rule),
                "excluded_by_rule": dict(report.excluded_by_rule),
            }
            for name, report in history.reports.items()
        },
        "first_order_at": _stamp(history.first_order_at),
        "last_order_at": _stamp(history.last_order_at),
        "customers": found.customers,
        "orders": found.orders,
        "products": found.products,
        "one_time_share": round(found.one_time_share, 4),
        "orders_by_month": dict(found.months),
        "warnings": list(history.warnings),
        "rejects": str(history.rejects_path) if history.rejects_path else None,
    }


def check_report(history: History, settings: Settings) -> RenderableType:
    """Tables and panels for a terminal; print it with rich."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    found = overview(history)
    parts: list[RenderableType] = [_rows_table(history), Text()]
    if any(report.rejected or report.excluded for report in history.reports.values()):
        parts += [_rules_table(history), Text()]
    parts.append(
        Panel(_shop(history, found, settings), title="The shop", title_align="left", border_style="cyan")
    )
    if len(found.months) > 1:
        parts.append(Panel(_bars(found), title="Orders by month", title_align="left", border_style="cyan"))
    if history.warnings:
        listed = Text("\n").join(Text(f"• {warning}") for warning in history.warnings)
        parts.append(Panel(listed, title="Worth knowing", title_align="left", border_style="yellow"))
    parts.append(
        Panel(_missing(history), title="To export campaigns", title_align="left", border_style="cyan")
    )
    after = (history.last_order_at.astimezone(settings.zone) + timedelta(days=1)).date()
    parts.append(
        Text.from_markup(
            f"\nThe data can be used. Next:  [bold]nextoffer train[/bold]   (for a history that has ended: "
            f"[bold]--as-of {after}[/bold])"
        )
    )
    return Group(*parts)


def _row(con: DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    return tuple(con.execute(query).fetchall()[0])


def _stamp(moment: Any) -> str:
    return str(moment.isoformat().replace("+00:00", "Z"))


def _rows_table(history: History) -> RenderableType:
    from rich.table import Table

    table = Table(title="Rows", title_justify="left", title_style="bold", header_style="bold")
    for name in ("table", "read", "accepted", "rejected", "excluded", "guests"):
        table.add_column(name, justify="left" if name == "table" else "right")
    for name, report in history.reports.items():
        rejected = f"[red]{report.rejected:,}[/red]" if report.rejected else "0"
        guests = f"{report.guests:,}" if name == "orders" else ""
        table.add_row(
            name, f"{report.read:,}", f"{report.accepted:,}", rejected, f"{report.excluded:,}", guests
        )
    return table


def _rules_table(history: History) -> RenderableType:
    """One line per rule that applied: how often, an example, what to do."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Left out", title_justify="left", title_style="bold", header_style="bold")
    table.add_column("table")
    table.add_column("rule")
    table.add_column("rows", justify="right")
    table.add_column("for example")
    table.add_column("why, and what to do")
    examples = _examples(history)
    for name, report in history.reports.items():
        advice = _advice(name)
        for kind, counts in (("red", report.rejected_by_rule), ("yellow", report.excluded_by_rule)):
            for code, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
                example = Text(examples.get((name, code), ""))
                table.add_row(name, Text(code, style=kind), f"{count:,}", example, Text(advice.get(code, "")))
    if history.rejects_path is not None:
        table.caption = f"red: rejected, every one in {history.rejects_path}; yellow: left out on purpose"
        table.caption_justify = "left"
    return table


def _advice(table: str) -> dict[str, str]:
    every = frozenset(column.name for column in TABLES[table].columns)
    return {
        MALFORMED: "more or fewer cells than the header; look for unquoted separators",
        SUPERSEDED: "a later row has the same id and is used instead",
        **{rule.code: rule.advice for rule in rules_of(TABLES[table], every, ("any",))},
    }


def _examples(history: History) -> dict[tuple[str, str], str]:
    """The first row that broke each rule."""
    import duckdb

    if history.rejects_path is None:
        return {}
    with duckdb.connect() as con:
        found = con.execute(
            'SELECT "table", rule, min("row"), arg_min("column", "row"), '
            "arg_min(coalesce(value, 'empty'), \"row\") "
            f"FROM read_parquet('{quoted(history.rejects_path)}') GROUP BY 1, 2"
        ).fetchall()
    return {
        (table, rule): f"row {row:,}: {column or 'line'} is {value if len(value) <= 40 else value[:39] + '…'}"
        for table, rule, row, column, value in found
    }


def _shop(history: History, found: Overview, settings: Settings) -> RenderableType:
    from rich.table import Table

    days = (history.last_order_at - history.first_order_at).days + 1
    orders = history.reports["orders"]
    zone = settings.zone
    first, last = history.first_order_at.astimezone(zone), history.last_order_at.astimezone(zone)
    facts = {
        "History": f"{first:%Y-%m-%d} to {last:%Y-%m-%d}, {days:,} days",
        "Customers": f"{found.customers:,}; {found.one_time_share:.0%} of them bought once",
        "Orders": f"{found.orders:,}, {_share(orders.guests, orders)} of the lines by guests",
        "Products": f"{found.products:,} sold",
        "Revenue": f"{found.revenue / 10 ** _digits(settings):,.2f} {settings.currency}, returns taken off",
    }
    table = Table.grid(padding=(0, 2))
    for name, fact in facts.items():
        table.add_row(f"[bold]{name}[/bold]", fact)
    return table


def _digits(settings: Settings) -> int:
    from nextoffer.domain.money import minor_digits

    return minor_digits(settings.currency)


def _share(part: int, report: TableReport) -> str:
    return f"{part / report.accepted:.0%}" if report.accepted else "0%"


def _bars(found: Overview) -> RenderableType:
    """The last 24 months, a bar for each."""
    from rich.table import Table

    months = found.months[-24:]
    most = max(count for _, count in months)
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    for month, count in months:
        table.add_row(month, f"{count:,}", f"[cyan]{_bar(count / most)}[/cyan]")
    return table


def _bar(share: float) -> str:
    eighths = round(share * BAR_WIDTH * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def _missing(history: History) -> RenderableType:
    """What stands between this history and a campaign file, and the line that mends it."""
    from rich.text import Text

    if "customers" not in history.given:
        return Text(
            "Nobody can be written to yet: no customer table is known. Add to nextoffer.toml:\n"
            "  [history.customers]\n"
            '  path = "customers.csv"\n'
            '  columns = { customer_id = "…", email = "…", first_name = "…", consent_email = "…" }'
        )
    import duckdb

    customers = quoted(history.folder / "customers.parquet")
    with duckdb.connect() as con:
        total, reachable, emails = _row(
            con,
            "SELECT count(*), count(*) FILTER (consent_email AND email IS NOT NULL), count(email) "
            f"FROM read_parquet('{customers}')",
        )
    lines = [f"{reachable:,} of {total:,} customers have an address and consent to e-mail."]
    if not emails:
        lines.append('No address is known: map email = "…" under [history.customers].')
    if emails and not reachable:
        lines.append(
            'No consent is known: map consent_email = "…" under [history.customers]. Empty means no.'
        )
    return Text("\n".join(lines))
