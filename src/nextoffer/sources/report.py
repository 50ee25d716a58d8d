"""What `check` prints: every row accounted for, what was refused and why, and the shop at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from nextoffer.config import Settings
from nextoffer.domain.history import History
from nextoffer.domain.money import minor_digits
from nextoffer.domain.tables import TABLES
from nextoffer.sources.checks import MALFORMED, SUPERSEDED, rules_of
from nextoffer.sources.files import quoted
from nextoffer.texts import in_language, number_text, percent_text, say, say_many, text

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


def check_report(history: History, settings: Settings, language: str = "en") -> RenderableType:
    """Tables and panels for a terminal, in a language of `texts`; print it with rich."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    found = overview(history)
    parts: list[RenderableType] = [_rows_table(history, language), Text()]
    if any(report.rejected or report.excluded for report in history.reports.values()):
        parts += [_rules_table(history, language), Text()]

    def panel(shown: RenderableType, title: str, border: str = "cyan") -> None:
        parts.append(Panel(shown, title=say(language, title), title_align="left", border_style=border))

    panel(_shop(history, found, settings, language), text("The shop"))
    if len(found.months) > 1:
        panel(_bars(found, language), text("Orders by month"))
    if history.warnings:
        listed = (Text(f"• {in_language(warning, language)}") for warning in history.warnings)
        panel(Text("\n").join(listed), text("Worth knowing"), "yellow")
    panel(_missing(history, language), text("To export campaigns"))
    after = (history.last_order_at.astimezone(settings.zone) + timedelta(days=1)).date()
    next_step = say(
        language,
        "The data can be used. Next:  {command}   (for a history that has ended: {option})",
        command="[bold]nextoffer train[/bold]",
        option=f"[bold]--as-of {after}[/bold]",
    )
    parts.append(Text.from_markup(f"\n{next_step}"))
    return Group(*parts)


def _row(con: DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    return tuple(con.execute(query).fetchall()[0])


def _stamp(moment: Any) -> str:
    return str(moment.isoformat().replace("+00:00", "Z"))


def _rows_table(history: History, language: str) -> RenderableType:
    from rich.table import Table

    def number(count: int) -> str:
        return number_text(language, count)

    title = say(language, "Rows")
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    table.add_column(say(language, "table"))
    for name in (text("read"), text("accepted"), text("rejected"), text("excluded"), text("guests")):
        table.add_column(say(language, name), justify="right")
    for name, report in history.reports.items():
        rejected = f"[red]{number(report.rejected)}[/red]" if report.rejected else "0"
        guests = number(report.guests) if name == "orders" else ""
        excluded = number(report.excluded)
        table.add_row(name, number(report.read), number(report.accepted), rejected, excluded, guests)
    return table


def _rules_table(history: History, language: str) -> RenderableType:
    """One line per rule that applied: how often, an example, what to do."""
    from rich.table import Table
    from rich.text import Text

    title = say(language, "Left out")
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    table.add_column(say(language, "table"))
    table.add_column(say(language, "rule"))
    table.add_column(say(language, "rows"), justify="right")
    table.add_column(say(language, "for example"))
    table.add_column(say(language, "why, and what to do"))
    examples = _examples(history, language)
    for name, report in history.reports.items():
        advice = _advice(name, language)
        for kind, counts in (("red", report.rejected_by_rule), ("yellow", report.excluded_by_rule)):
            for code, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
                example = Text(examples.get((name, code), ""))
                rows = number_text(language, count)
                table.add_row(name, Text(code, style=kind), rows, example, Text(advice.get(code, "")))
    if history.rejects_path is not None:
        table.caption = say(
            language,
            "red: rejected, every one in {path}; yellow: left out on purpose",
            path=history.rejects_path,
        )
        table.caption_justify = "left"
    return table


def _advice(table: str, language: str) -> dict[str, str]:
    every = frozenset(column.name for column in TABLES[table].columns)
    return {
        MALFORMED: say(language, "more or fewer cells than the header; look for unquoted separators"),
        SUPERSEDED: say(language, "a later row has the same id and is used instead"),
        **{rule.code: rule.advice.in_(language) for rule in rules_of(TABLES[table], every, ("any",))},
    }


def _examples(history: History, language: str) -> dict[tuple[str, str], str]:
    """The first row that broke each rule."""
    import duckdb

    if history.rejects_path is None:
        return {}
    with duckdb.connect() as con:
        found = con.execute(
            'SELECT "table", rule, min("row"), arg_min("column", "row"), '
            'arg_min(coalesce(value, $empty), "row") '
            f"FROM read_parquet('{quoted(history.rejects_path)}') GROUP BY 1, 2",
            {"empty": say(language, "empty")},
        ).fetchall()
    line = say(language, "line")
    return {
        (table, rule): say(
            language,
            "row {row}: {column} is {value}",
            row=row,
            column=column or line,
            value=value if len(value) <= 40 else value[:39] + "…",
        )
        for table, rule, row, column, value in found
    }


def _shop(history: History, found: Overview, settings: Settings, language: str) -> RenderableType:
    from rich.table import Table

    days = (history.last_order_at - history.first_order_at).days + 1
    orders = history.reports["orders"]
    zone = settings.zone
    first, last = history.first_order_at.astimezone(zone), history.last_order_at.astimezone(zone)
    digits = minor_digits(settings.currency)
    revenue = number_text(language, Decimal(found.revenue).scaleb(-digits), digits)
    guests = percent_text(language, orders.guests / orders.accepted if orders.accepted else 0.0)
    once = percent_text(language, found.one_time_share)
    facts = {
        text("History"): say_many(
            language,
            "{first} to {last}, {n} day",
            "{first} to {last}, {n} days",
            days,
            first=f"{first:%Y-%m-%d}",
            last=f"{last:%Y-%m-%d}",
        ),
        text("Customers"): say(language, "{n}; {once} of them bought once", n=found.customers, once=once),
        text("Orders"): say(language, "{n}, {guests} of the lines by guests", n=found.orders, guests=guests),
        text("Products"): say(language, "{n} sold", n=found.products),
        text("Revenue"): say(
            language, "{amount}, returns taken off", amount=f"{revenue} {settings.currency}"
        ),
    }
    table = Table.grid(padding=(0, 2))
    for name, fact in facts.items():
        table.add_row(f"[bold]{say(language, name)}[/bold]", fact)
    return table


def _bars(found: Overview, language: str) -> RenderableType:
    """The last 24 months, a bar for each."""
    from rich.table import Table

    months = found.months[-24:]
    most = max(count for _, count in months)
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    for month, count in months:
        table.add_row(month, number_text(language, count), f"[cyan]{_bar(count / most)}[/cyan]")
    return table


def _bar(share: float) -> str:
    eighths = round(share * BAR_WIDTH * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def _missing(history: History, language: str) -> RenderableType:
    """What stands between this history and a campaign file, and the line that mends it."""
    from rich.text import Text

    if "customers" not in history.given:
        return Text(
            say(language, "Nobody can be written to yet: no customer table is known. Add to nextoffer.toml:")
            + "\n  [history.customers]\n"
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
    message = text("{reachable} of {total} customers have an address and consent to e-mail.")
    lines = [say(language, message, reachable=reachable, total=total)]
    if not emails:
        lines.append(say(language, 'No address is known: map email = "…" under [history.customers].'))
    if emails and not reachable:
        message = text(
            'No consent is known: map consent_email = "…" under [history.customers]. Empty means no.'
        )
        lines.append(say(language, message))
    return Text("\n".join(lines))
