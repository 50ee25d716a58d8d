"""The records a measurement reads, as tables of one DuckDB connection: exact, each order once, each person once.

    lines     order_id, customer_id, ordered_at, product_id, category, quantity, revenue, cost, promo_code,
              points_spent, channel, margin; a view, read anew by each query
    orders    order_id, customer_id, ordered_at, revenue, margin, units, points_spent, promo_code
    people    customer_id, programme, joined_at, referred_by
    segments  customer_id, segment; as it is today
    surveys   customer_id, kind, aspect, product_id, score, answered_at
    assigned  experiment, version, unit_id, "group", assigned_at, stratum, crossed
    decided   decision_id, unit_id, "group", "at", campaign, placement, run_on, slate, withheld_by
    offered   one row per offer of a decision: decision_id, unit_id, "group", "at", campaign, placement,
              withheld_by, offer_id, kind, product_id, incentive, incentive_name, list_price, final_price, rank
    answers   clicks and redemptions with the offer they are about: event_id, unit_id, type, "at", decision_id,
              offer_id, kind, campaign, placement, incentive, incentive_name, order_id, days (the kind's window),
              counts (a use, each once), spent (what it costs the shop), in_price (what revenue nets already)
    contacts  messages: decision_id, unit_id, "at", campaign, kind (of its first offer)
    happened  event_id, decision_id, offer_id, unit_id, product_id, type, "at", payload
    identities visitor_id, customer_id; of visitors who became exactly one customer

Money is BIGINT minor units, moments are UTC without zone. A visitor counts as the customer they became. An order
that the shop's history and the ledger both hold is the history's; the ledger only says who bought where the history
does not. What is returned is taken off the order it was bought with, at the moment of that order: negative lines of
the same order, and live orders that say which order they take back (unless that order has negative lines in the
history, and the history reaches beyond the return: then it holds it already).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa

from nextoffer.domain.kinds import KINDS
from nextoffer.domain.money import minor_digits
from nextoffer.measurement.costs import Costs, price_answers

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Rows: TypeAlias = Path | pa.Table | None

_PARAMETER = re.compile(r"\$([a-z_]\w*)")
# The columns read of each table, and their types; a table or column that is not given is empty.
_GIVEN: dict[str, dict[str, str]] = {
    "shop": {
        "order_id": "VARCHAR",
        "customer_id": "VARCHAR",
        "ordered_at": "TIMESTAMP",
        "product_id": "VARCHAR",
        "quantity": "DECIMAL(18,3)",
        "revenue": "BIGINT",
        "cost": "BIGINT",
        "promo_code": "VARCHAR",
        "points_spent": "BIGINT",
        "channel": "VARCHAR",
    },
    "catalogue": {
        "product_id": "VARCHAR",
        "category": "VARCHAR",
        "price": "DECIMAL(18,4)",
        "unit_cost": "DECIMAL(18,4)",
    },
    "live": {
        "order_id": "VARCHAR",
        "unit_id": "VARCHAR",
        "at": "TIMESTAMP",
        "revenue": "BIGINT",
        "cost": "BIGINT",
        "lines": "VARCHAR",
        "returns_of": "VARCHAR",
    },
    "assigned": {
        "experiment": "VARCHAR",
        "version": "INTEGER",
        "unit_id": "VARCHAR",
        "group": "VARCHAR",
        "assigned_at": "TIMESTAMP",
        "stratum": "VARCHAR",
    },
    "decided": {
        "decision_id": "VARCHAR",
        "unit_id": "VARCHAR",
        "group": "VARCHAR",
        "at": "TIMESTAMP",
        "campaign": "VARCHAR",
        "placement": "VARCHAR",
        "run_on": "VARCHAR",
        "slate": "VARCHAR",
        "withheld_by": "VARCHAR",
    },
    "happened": {
        "event_id": "VARCHAR",
        "decision_id": "VARCHAR",
        "offer_id": "VARCHAR",
        "unit_id": "VARCHAR",
        "product_id": "VARCHAR",
        "type": "VARCHAR",
        "at": "TIMESTAMP",
        "payload": "VARCHAR",
    },
    "identities": {"visitor_id": "VARCHAR", "customer_id": "VARCHAR"},
    "people": {
        "customer_id": "VARCHAR",
        "programme": "VARCHAR",
        "joined_at": "TIMESTAMP",
        "referred_by": "VARCHAR",
    },
    "segments": {"customer_id": "VARCHAR", "segment": "VARCHAR"},
    "surveys": {
        "customer_id": "VARCHAR",
        "kind": "VARCHAR",
        "aspect": "VARCHAR",
        "product_id": "VARCHAR",
        "score": "DOUBLE",
        "answered_at": "TIMESTAMP",
    },
}


# How long after being assigned an order counts in an experiment, and how long after an opened offer it is attributed:
# what refills or wins back takes as long as an order does.
WINDOW_DAYS: Mapping[str, int] = {
    kind: {"replenishment": 28, "renewal": 28, "win_back": 56}.get(kind, 14) for kind in KINDS
}
NO_COSTS = Costs()
NO_WINDOWS: Mapping[str, int] = {}


def windows(given: Mapping[str, int]) -> dict[str, int]:
    """The window of every kind, in days: as given, else the usual one."""
    return {**WINDOW_DAYS, **given}


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """An open connection with the tables above; use it as a context manager.

    Parameters
    ----------
    con : the connection; queries may add TEMP tables of their own
    costs : what is given away, as `answers` are priced
    window_days : of every kind: how long after an offer an order may be put down to it
    knows_people : whether a table of customers was given, so that membership is known
    n_merged : visitors who count as the customer they became
    n_ambiguous : visitors who were linked to several customers: they stay visitors
    """

    con: DuckDBPyConnection
    currency: str
    costs: Costs
    window_days: Mapping[str, int]
    knows_people: bool
    n_merged: int
    n_ambiguous: int

    @classmethod
    def open(
        cls,
        *,
        orders: Rows,
        currency: str,
        margin_share: float,
        products: Rows = None,
        live_orders: Rows = None,
        assignments: Rows = None,
        decisions: Rows = None,
        events: Rows = None,
        identities: Rows = None,
        customers: Rows = None,
        surveys: Rows = None,
        segments: Rows = None,
        costs: Costs = NO_COSTS,
        window_days: Mapping[str, int] = NO_WINDOWS,
        memory_limit: str | None = None,
        temp_directory: Path | None = None,
        threads: int | None = None,
    ) -> Records:
        """Make the tables. Each is given as a Parquet file, an Arrow table, or not at all.

        Parameters
        ----------
        orders, products, customers, surveys : the canonical tables; orders are never read whole into memory
        live_orders, assignments, decisions, events, identities : the ledger's; assignments of any experiments
        segments : customer_id, segment
        margin_share : margin as a share of revenue where no cost is known
        window_days : by kind, where it is not the usual one (WINDOW_DAYS)
        memory_limit, temp_directory, threads : DuckDB's; with a limit, what does not fit is spilled
        """
        con = _connected(memory_limit, temp_directory, threads)
        given = {
            "shop": orders,
            "catalogue": products,
            "live": live_orders,
            "assigned": assignments,
            "decided": decisions,
            "happened": events,
            "identities": identities,
            "people": customers,
            "segments": segments,
            "surveys": surveys,
        }
        for name, rows in given.items():
            _view(con, name, rows)
        con.execute(_IDENTITIES)
        scale = {"scale": 10 ** minor_digits(currency)}
        for statement in (_ASSIGNED, _DECIDED, _HAPPENED, _OFFERED, _LIVE):
            con.execute(statement)
        con.execute(_LIVE_LINES, scale)
        con.execute(_LINES.format(share=float(margin_share)))
        con.execute(_ORDERS)
        price_answers(con, currency, costs, margin_share, windows(window_days))
        for name in ("people", "segments", "surveys"):
            con.execute(f"CREATE TEMP VIEW {name} AS SELECT * FROM given_{name}")
        merged, ambiguous = con.sql(_N_VISITORS).fetchall()[0]
        return cls(con, currency, costs, windows(window_days), customers is not None, merged, ambiguous)

    def __enter__(self) -> Records:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; what it spilled goes with it."""
        self.con.close()

    def rows(self, query: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """The answer of a query of few rows; parameters it does not name are ignored."""
        found: list[tuple[Any, ...]] = self.con.execute(query, _named(query, parameters)).fetchall()
        return found

    def row(self, query: str, parameters: Mapping[str, Any] | None = None) -> tuple[Any, ...]:
        """The only row of an answer."""
        (only,) = self.rows(query, parameters)
        return only

    def arrow(self, query: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """The answer of a query as Arrow columns."""
        return self.con.sql(query, params=_named(query, parameters)).to_arrow_table()


def naive(moment: datetime) -> datetime:
    """The moment as canonical tables hold it: UTC, without zone."""
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _named(query: str, parameters: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The parameters a query names (DuckDB refuses others), moments without zone."""
    named = set(_PARAMETER.findall(query))
    used = {name: value for name, value in (parameters or {}).items() if name in named}
    return {
        name: naive(value) if isinstance(value, datetime) else value for name, value in used.items()
    } or None


def _connected(
    memory_limit: str | None, temp_directory: Path | None, threads: int | None
) -> DuckDBPyConnection:
    import duckdb

    con = duckdb.connect(":memory:")
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET preserve_insertion_order = false")
    options = {"memory_limit": memory_limit, "temp_directory": temp_directory, "threads": threads}
    for name, value in options.items():
        if value is not None:
            con.execute(f"SET {name} = '{_quoted(str(value))}'")
    return con


def _view(con: DuckDBPyConnection, name: str, rows: Rows) -> None:
    """`given_<name>`: the columns of _GIVEN, whatever was given."""
    wanted = _GIVEN[name]
    if rows is None:
        cells = ", ".join(f'CAST(NULL AS {kind}) AS "{column}"' for column, kind in wanted.items())
        con.execute(f"CREATE TEMP VIEW given_{name} AS SELECT {cells} WHERE FALSE")
        return
    if isinstance(rows, Path):
        source = f"read_parquet('{_quoted(str(rows))}')"
    else:
        source = f"source_{name}"
        con.register(source, rows)
    there = set(con.sql(f"SELECT * FROM {source} LIMIT 0").columns)
    cell = {column: f'"{column}"' if column in there else "NULL" for column in wanted}
    cells = ", ".join(f'CAST({cell[column]} AS {kind}) AS "{column}"' for column, kind in wanted.items())
    con.execute(f"CREATE TEMP VIEW given_{name} AS SELECT {cells} FROM {source}")


def _quoted(text: str) -> str:
    return text.replace("'", "''")


_IDENTITIES = """
CREATE TEMP TABLE identities AS
SELECT visitor_id, MIN(customer_id) AS customer_id FROM given_identities
WHERE visitor_id <> customer_id GROUP BY visitor_id HAVING COUNT(DISTINCT customer_id) = 1
"""
_N_VISITORS = """
SELECT (SELECT COUNT(*) FROM identities),
    (SELECT COUNT(DISTINCT visitor_id) FROM given_identities WHERE visitor_id <> customer_id)
    - (SELECT COUNT(*) FROM identities)
"""
# A person has one group: that of the customer if the customer was assigned, else that of their first visit.
# `crossed`: another of their ids was put in the other group.
_ASSIGNED = """
CREATE TEMP TABLE assigned AS
SELECT experiment, version, unit_id, "group", assigned_at, stratum, FALSE AS crossed FROM given_assigned;
CREATE TEMP TABLE moved AS
SELECT a.experiment, a.version, i.customer_id AS unit_id,
    arg_min(a."group", (a.assigned_at, a.unit_id)) AS "group", MIN(a.assigned_at) AS assigned_at,
    arg_min(a.stratum, (a.assigned_at, a.unit_id)) AS stratum, COUNT(DISTINCT a."group") > 1 AS crossed
FROM assigned AS a JOIN identities AS i ON i.visitor_id = a.unit_id
GROUP BY a.experiment, a.version, i.customer_id;
DELETE FROM assigned USING identities WHERE identities.visitor_id = assigned.unit_id;
UPDATE assigned SET crossed = moved.crossed OR moved."group" <> assigned."group" FROM moved
WHERE moved.experiment IS NOT DISTINCT FROM assigned.experiment
    AND moved.version IS NOT DISTINCT FROM assigned.version AND moved.unit_id = assigned.unit_id;
INSERT INTO assigned SELECT m.* FROM moved AS m WHERE NOT EXISTS (
    SELECT 1 FROM assigned AS a WHERE a.unit_id = m.unit_id
    AND a.experiment IS NOT DISTINCT FROM m.experiment AND a.version IS NOT DISTINCT FROM m.version);
DROP TABLE moved
"""
_DECIDED = """
CREATE TEMP VIEW decided AS
SELECT d.* REPLACE (COALESCE(i.customer_id, d.unit_id) AS unit_id)
FROM given_decided AS d LEFT JOIN identities AS i ON i.visitor_id = d.unit_id
"""
# An event that names no customer is its decision's.
_HAPPENED = """
CREATE TEMP VIEW happened AS
SELECT h.* REPLACE (COALESCE(i.customer_id, h.unit_id, d.unit_id) AS unit_id)
FROM given_happened AS h LEFT JOIN identities AS i ON i.visitor_id = h.unit_id
LEFT JOIN decided AS d ON d.decision_id = h.decision_id
"""
_OFFERED = """
CREATE TEMP TABLE offered AS
SELECT * EXCLUDE (offer), offer.offer_id, offer.kind, offer.product_id, offer.incentive, offer.incentive_name,
    offer.list_price, offer.final_price
FROM (
    SELECT * EXCLUDE (offers), UNNEST(offers) AS offer, generate_subscripts(offers, 1) AS rank
    FROM (SELECT decision_id, unit_id, "group", "at", campaign, placement, withheld_by, from_json(slate,
        '[{"offer_id":"VARCHAR","kind":"VARCHAR","product_id":"VARCHAR","incentive":"JSON",
           "incentive_name":"VARCHAR","list_price":"VARCHAR","final_price":"VARCHAR"}]') AS offers
        FROM decided WHERE slate <> '[]')
);
CREATE TEMP VIEW contacts AS
SELECT decision_id, unit_id, "at", campaign, kind FROM offered
WHERE rank = 1 AND campaign IS NOT NULL AND "group" = 'treated' AND withheld_by IS NULL
"""
# What an order was worth and cost is shared over its lines by their prices (its cost by their costs), by cumulative
# rounding: the shares sum to it exactly. Without lines it is one line of no product.
_LIVE = """
CREATE TEMP TABLE live AS
SELECT o.* REPLACE (COALESCE(i.customer_id, o.unit_id) AS unit_id)
FROM given_live AS o LEFT JOIN identities AS i ON i.visitor_id = o.unit_id;
CREATE TEMP TABLE live_known AS
SELECT order_id, BOOL_OR(COALESCE(quantity, revenue) < 0) AS returned FROM given_shop
WHERE order_id IN (SELECT order_id FROM live UNION ALL SELECT returns_of FROM live WHERE returns_of IS NOT NULL)
GROUP BY order_id
"""
_AMOUNT = (
    "CAST(ROUND(CAST(line.quantity AS DECIMAL(18,6)) * CAST(line.{} AS DECIMAL(18,6)) * $scale) AS HUGEINT)"
)
_LIVE_LINES = f"""
CREATE TEMP TABLE live_lines AS
WITH parts AS (
    SELECT * EXCLUDE (lines, found), UNNEST(found) AS line, generate_subscripts(found, 1) AS n
    FROM (SELECT *, CASE WHEN len(parsed) > 0 THEN parsed ELSE [NULL] END AS found
        FROM (SELECT *, from_json(lines, '[{{"product_id":"VARCHAR","quantity":"VARCHAR","unit_price":"VARCHAR",
            "line_discount":"VARCHAR","unit_cost":"VARCHAR"}}]') AS parsed FROM live))
    WHERE order_id NOT IN (SELECT order_id FROM live_known)
        AND NOT ("at" <= (SELECT MAX(ordered_at) FROM given_shop)
            AND COALESCE(returns_of IN (SELECT order_id FROM live_known WHERE returned), FALSE))
), weighed AS (
    SELECT *, COALESCE({_AMOUNT.format("unit_price")}
        - CAST(ROUND(CAST(COALESCE(line.line_discount, '0') AS DECIMAL(18,6)) * $scale) AS HUGEINT), 0) AS worth,
        {_AMOUNT.format("unit_cost")} AS spent
    FROM parts
), known AS (
    SELECT *, COUNT(*) OVER whole = COUNT(spent) OVER whole AS all_spent, SUM(ABS(worth)) OVER whole AS total_worth,
        SUM(ABS(spent)) OVER whole AS total_spent
    FROM weighed WINDOW whole AS (PARTITION BY order_id)
), weights AS (
    SELECT *, CASE WHEN total_worth = 0 THEN 1 ELSE ABS(worth) END AS by_worth,
        CASE WHEN all_spent AND total_spent > 0 THEN ABS(spent) WHEN total_worth = 0 THEN 1 ELSE ABS(worth) END
            AS by_cost
    FROM known
), sums AS (
    SELECT *, SUM(by_worth) OVER sofar AS worth_upto, SUM(by_worth) OVER whole AS worth_all,
        SUM(by_cost) OVER sofar AS cost_upto, SUM(by_cost) OVER whole AS cost_all
    FROM weights WINDOW whole AS (PARTITION BY order_id), sofar AS (PARTITION BY order_id ORDER BY n)
)
SELECT COALESCE(returns_of, order_id) AS order_id, unit_id AS customer_id, "at" AS ordered_at,
    line.product_id AS product_id, CAST(line.quantity AS DECIMAL(18,3)) AS quantity,
    CAST(sign(revenue) * ((ABS(CAST(revenue AS HUGEINT)) * worth_upto) // worth_all
        - (ABS(CAST(revenue AS HUGEINT)) * (worth_upto - by_worth)) // worth_all) AS BIGINT) AS revenue,
    CAST(sign(cost) * ((ABS(CAST(cost AS HUGEINT)) * cost_upto) // cost_all
        - (ABS(CAST(cost AS HUGEINT)) * (cost_upto - by_cost)) // cost_all) AS BIGINT) AS cost
FROM sums
"""
_LINES = """
CREATE TEMP VIEW lines AS
SELECT *, COALESCE(revenue - cost, CAST(ROUND(revenue * CAST('{share}' AS DOUBLE)) AS BIGINT)) AS margin FROM (
SELECT COALESCE(v.returns_of, s.order_id) AS order_id, COALESCE(s.customer_id, v.unit_id) AS customer_id, s.ordered_at,
    s.product_id, c.category, s.quantity, s.revenue, s.cost, s.promo_code, s.points_spent, s.channel
FROM given_shop AS s LEFT JOIN live AS v ON v.order_id = s.order_id
LEFT JOIN given_catalogue AS c ON c.product_id = s.product_id
UNION ALL
SELECT l.order_id, l.customer_id, l.ordered_at, l.product_id, c.category, l.quantity, l.revenue, l.cost,
    NULL AS promo_code, NULL AS points_spent, NULL AS channel
FROM live_lines AS l LEFT JOIN given_catalogue AS c ON c.product_id = l.product_id)
"""
# Rounding is per line, so that sums do not depend on the order of lines. An order's moment is that of its purchase.
_ORDERS = """
CREATE TEMP TABLE orders AS
SELECT order_id, MAX(customer_id) AS customer_id,
    COALESCE(MIN(ordered_at) FILTER (WHERE COALESCE(quantity, revenue) >= 0), MIN(ordered_at)) AS ordered_at,
    CAST(SUM(revenue) AS BIGINT) AS revenue,
    CAST(SUM(margin) AS BIGINT) AS margin,
    CAST(SUM(COALESCE(quantity, 0)) AS DOUBLE) AS units,
    MAX(points_spent) AS points_spent, MAX(promo_code) AS promo_code
FROM lines GROUP BY order_id
"""
