"""`init`: looks at an orders file, proposes how to read it, and writes a commented nextoffer.toml."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nextoffer.config import Source
from nextoffer.domain.tables import ORDERS
from nextoffer.sources import cells
from nextoffer.sources.files import matching, open_files, sniff
from nextoffer.sources.looks import assign, date_note, decimal_of, look_at, make_rows, not_goods, place_of


@dataclass(frozen=True, slots=True)
class Proposal:
    """How an orders file seems to be written; `columns` is {canonical: (column, sample, confidence)}."""

    path: Path
    delimiter: str | None
    encoding: str | None
    decimal: str
    columns: Mapping[str, tuple[str, str, float]]
    currency: str
    timezone: str
    date_format: str | None = None
    exclude_products: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def propose(path: Path) -> Proposal:
    """Propose how to read an orders file (CSV or Parquet, globs allowed).

    Raises
    ------
    SourceError : the file is missing, empty or neither CSV nor Parquet.
    """
    import duckdb

    with tempfile.TemporaryDirectory() as scratch, duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute(cells.MACROS)
        origin = open_files(Source(path=str(path)), Path(scratch))
        dialect = sniff(matching(str(path))[0]) if origin.delimiter else None
        names = make_rows(con, origin)
        decimal = decimal_of(con, list(names.values()), origin.delimiter)
        looks = [look_at(con, column, name, decimal) for column, name in names.items()]
        chosen = assign(con, [look for look in looks if look.filled > 0], names)
        columns = {
            canonical: (look.name, look.sample, confidence)
            for canonical, (look, confidence) in chosen.items()
        }
        notes = date_note(con, chosen, names)
        currency, zone = place_of(con, names)
        return Proposal(
            path=path,
            delimiter=origin.delimiter,
            encoding=dialect.encoding if dialect else None,
            decimal=decimal,
            columns=columns,
            currency=currency,
            timezone=zone,
            exclude_products=not_goods(con, chosen, names),
            notes=notes,
            missing=tuple(name for name in ORDERS.required if name not in columns),
        )


def config_text(proposal: Proposal | None, relative_to: Path) -> str:
    """A commented nextoffer.toml, to be saved in the folder `relative_to`; blank without a proposal."""
    currency, zone = (proposal.currency, proposal.timezone) if proposal else ("EUR", "UTC")
    lines = [
        "# nextoffer: one shop. Lines that begin with # are comments; the values in them are the defaults.",
        "",
        f"currency = {_text(currency)}              # of all amounts; ISO 4217",
        f"timezone = {_text(zone)}    # of moments that do not say theirs",
        *_exclusions(proposal),
        "",
        *(_orders(proposal, relative_to) if proposal else _BLANK_ORDERS),
        _REST,
    ]
    return "\n".join(lines)


_BLANK_ORDERS = (
    "[history.orders]                 # CSV or Parquet (globs allowed), or a database: url and query",
    'path = "orders.csv"',
    "# which of your columns holds what (nextoffer init --orders FILE proposes it):",
    "[history.orders.columns]",
    *(f'# {column.name} = "…"{" " * (20 - len(column.name))}# {column.meaning}' for column in ORDERS.columns),
    "",
)
_REST = """\
# [history.products]               # optional; without it products are derived from the order lines
# path = "products.csv"
# columns = { product_id = "…", title = "…", url = "…", image_url = "…", category = "…", price = "…" }

# [history.customers]              # needed to export campaigns: who may be written to, and where
# path = "customers.csv"
# columns = { customer_id = "…", email = "…", first_name = "…", locale = "…", consent_email = "…" }

# [history.interactions]           # views and cart events
# url = "postgresql+psycopg://reader:${NEXTOFFER_DB_PASSWORD}@db.example/shop"
# query = "SELECT customer_id, product_id, event, occurred_at FROM events"

# models_dir = "models"            # where the nightly bundles go
# store = "sqlite:///var/nextoffer.sqlite"
# horizon_days = 28                # p_buy = chance of a purchase within so many days
# max_reject_share = 0.02          # stop if more of a table than this is bad

# [margin]
# default_share = 0.3              # unit_cost = price × (1 - share) where no cost is known
# floor_share = 0.05               # no offer may sell below this margin

# [experiment]
# holdout_share = 0.05             # customers who get no offers, so that the effect can be measured

# [offers]
# n = 4
# max_per_kind = 2
# repurchase_days = 7
# win_back_levels = [0.05, 0.10, 0.15]

# [contact]
# max_per_day = 1
# max_per_week = 3
# cost = 0.01                      # of one message, in currency

# [campaigns.win-back-email]
# channel = "email"
# kinds = ["win_back"]
# format = "csv"                   # or "mailchimp", "unisender"
"""


def _text(value: str) -> str:
    """A TOML basic string."""
    return json.dumps(value, ensure_ascii=False)


def _exclusions(proposal: Proposal | None) -> list[str]:
    """`exclude_products`, one code a line with its title."""
    if proposal is None or not proposal.exclude_products:
        return ['# exclude_products = ["POST", "FEE*"]   # ids or patterns: postage, fees']
    codes = [(_text(code), title) for code, title in proposal.exclude_products]
    width = max(len(code) for code, _ in codes) + 1
    listed = [f"    {code + ',':<{width}}  # {_one_line(title)}".rstrip(" #") for code, title in codes]
    return [
        "exclude_products = [    # these look like postage, fees and corrections, not goods",
        *listed,
        "]",
    ]


def _orders(proposal: Proposal, relative_to: Path) -> list[str]:
    path = Path(os.path.relpath(proposal.path.resolve(), relative_to.resolve())).as_posix()
    lines = ["[history.orders]", f"path = {_text(path)}"]
    if proposal.delimiter not in (None, ","):
        lines.append(f"delimiter = {_text(str(proposal.delimiter))}")
    if proposal.encoding not in (None, "utf-8"):
        lines.append(f"encoding = {_text(str(proposal.encoding))}")
    if proposal.decimal != ".":
        lines.append(f"decimal = {_text(proposal.decimal)}")
    if proposal.date_format:
        lines.append(f"date_format = {_text(proposal.date_format)}")
    lines += [f"# {note}" for note in proposal.notes]
    lines += ["", '[history.orders.columns]        # ours = "yours"; beside it, the first value found']
    names = [f"{name} = {_text(column)}" for name, (column, _, _) in proposal.columns.items()]
    width = max([len(name) for name in names], default=0)
    for name, (column, sample, confidence) in zip(names, proposal.columns.values(), strict=True):
        sure = "" if confidence >= 0.5 else f"   (a guess: please check that {column} is right)"
        lines.append(f"{name:<{width}}  # {_one_line(sample)}{sure}")
    for missing in proposal.missing:
        lines.append(f'# not found: which column holds {_HOLDS[missing]}?   {missing} = "…"')
    if "customer_id" not in proposal.columns:
        lines.append(
            '# not found: which column says who bought?   customer_id = "…"   (without it all are guests)'
        )
    return [*lines, ""]


_HOLDS = {
    "order_id": "the order number",
    "product_id": "the product's code or id",
    "quantity": "how many were bought",
    "unit_price": "the price of one unit",
    "ordered_at": "the date of the order",
}


def _one_line(text: str) -> str:
    return " ".join(text.split())[:60]
