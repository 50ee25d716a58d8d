"""How the shop does, and what may be put down to offers: counted, attributed, never called caused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from nextoffer.domain.money import to_minor
from nextoffer.measurement.kpi.windows import Window
from nextoffer.measurement.outcomes import merged_orders
from nextoffer.texts import Said, said

ATTRIBUTION_DAYS = 7


@dataclass(frozen=True, slots=True)
class Kpis:
    """The customers who bought in a window; guests are left out. Money is in minor units, net of returns.

    `spent_so_far` is what the same customers have spent since their first order: their lifetime value up to
    now. A ratio with nothing below the line is None.
    """

    n_customers: int
    n_repeat: int
    n_orders: int
    revenue: int
    spent_so_far: int

    @property
    def repeat_rate(self) -> float | None:
        """Share of the buyers who ordered at least twice."""
        return _share(self.n_repeat, self.n_customers)

    @property
    def frequency(self) -> float | None:
        """Orders per buyer."""
        return _share(self.n_orders, self.n_customers)

    @property
    def average_order(self) -> float | None:
        """Revenue per order, minor units."""
        return _share(self.revenue, self.n_orders)

    @property
    def lifetime_value(self) -> float | None:
        """Spent so far per buyer, minor units."""
        return _share(self.spent_so_far, self.n_customers)


@dataclass(frozen=True, slots=True)
class Participation:
    """How many of the treated were reached and how many answered; members among the buyers."""

    n_treated: int
    n_offered: int
    n_clicked: int
    n_redeemed: int
    n_buyers: int
    n_member_buyers: int | None

    @property
    def offered(self) -> float | None:
        """Share of the treated who were made at least one offer."""
        return _share(self.n_offered, self.n_treated)

    @property
    def clicked(self) -> float | None:
        """Share of the treated who opened an offer."""
        return _share(self.n_clicked, self.n_treated)

    @property
    def redeemed(self) -> float | None:
        """Share of the treated who used an offer."""
        return _share(self.n_redeemed, self.n_treated)

    @property
    def members(self) -> float | None:
        """Share of the buyers who are members of the loyalty programme; None if no membership is known."""
        return None if self.n_member_buyers is None else _share(self.n_member_buyers, self.n_buyers)


@dataclass(frozen=True, slots=True)
class Attributed:
    """Orders that followed an opened or used offer within a week, and what the offers cost; minor units.

    These customers may have bought anyway: only the difference to the holdout says what offers caused.
    """

    n_orders: int
    revenue: int
    incentives: int
    contacts: int
    programme: int

    @property
    def cost(self) -> int:
        """Incentives, contacts and the programme's own costs."""
        return self.incentives + self.contacts + self.programme

    @property
    def roi_percent(self) -> float | None:
        """(revenue − cost) / cost × 100; None if nothing was spent."""
        return (self.revenue - self.cost) / self.cost * 100 if self.cost else None

    @property
    def note(self) -> Said | None:
        """Why there is no ROI."""
        return None if self.cost else said("no cost is known, so a return on it cannot be said")


class Figures:
    """The merged orders of a shop, asked several questions."""

    def __init__(
        self, orders: pa.Table, live_orders: pa.Table, customers: pa.Table | None, margin_share: float
    ) -> None:
        self._con = merged_orders(orders, live_orders, margin_share)
        self.knows_members = customers is not None and "programme" in customers.column_names
        if customers is not None and self.knows_members:
            self._con.register("people", customers.select(["customer_id", "programme"]))
            self._con.execute(
                "CREATE TEMP TABLE members AS SELECT DISTINCT customer_id FROM people "
                "WHERE programme IS NOT NULL AND programme <> ''"
            )
        else:
            self._con.execute("CREATE TEMP TABLE members (customer_id VARCHAR)")

    def kpis(self, window: Window, members: bool | None = None) -> Kpis:
        """Of all buyers, or of those who are (not) members."""
        return Kpis(*_row(self._con, _KPIS, window.parameters | {"members": members}))

    def participation(
        self, assignments: pa.Table, decisions: pa.Table, events: pa.Table, window: Window
    ) -> Participation:
        """Of the treated, and of the buyers, in a window."""
        self._con.register("assigned", assignments)
        self._register(decisions, events)
        treated, offered, clicked, redeemed = _row(self._con, _PARTICIPATION, window.parameters)
        bought = self.kpis(window).n_customers
        members = self.kpis(window, members=True).n_customers if self.knows_members else None
        return Participation(treated, offered, clicked, redeemed, bought, members)

    def attributed(
        self,
        decisions: pa.Table,
        events: pa.Table,
        window: Window,
        currency: str,
        contact_cost: float = 0.0,
        programme_cost: float = 0.0,
    ) -> Attributed:
        """Orders after a click or a redemption in a window, and the window's costs (given in currency)."""
        self._register(decisions, events)
        days = {"days": ATTRIBUTION_DAYS}
        n_orders, revenue = _row(self._con, _ATTRIBUTED, window.parameters | days)
        (n_contacts,) = _row(self._con, _CONTACTS, window.parameters)
        given = self._con.execute(_REDEEMED, window.parameters).fetchall()
        incentives = sum(
            max(0, to_minor(listed, currency) - to_minor(final, currency)) * times
            for listed, final, times in given
        )
        contacts = to_minor(str(n_contacts * contact_cost), currency)
        return Attributed(n_orders, revenue, incentives, contacts, to_minor(str(programme_cost), currency))

    def _register(self, decisions: pa.Table, events: pa.Table) -> None:
        self._con.register("decided", decisions)
        self._con.register("happened", events)


def _row(con: duckdb.DuckDBPyConnection, query: str, parameters: dict[str, Any]) -> tuple[Any, ...]:
    (row,) = con.execute(query, parameters).fetchall()
    return tuple(row)


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


_KPIS = """
WITH chosen AS (
    SELECT m.* FROM merged AS m LEFT JOIN members AS p ON p.customer_id = m.customer_id
    WHERE m.customer_id IS NOT NULL AND ($members IS NULL OR (p.customer_id IS NOT NULL) = $members)
), buyers AS (
    SELECT customer_id,
        COUNT(*) FILTER (WHERE revenue > 0 AND ordered_at >= $start) AS n_orders,
        SUM(revenue) FILTER (WHERE ordered_at >= $start) AS revenue,
        SUM(revenue) AS so_far
    FROM chosen WHERE ordered_at < $end GROUP BY customer_id
)
SELECT COUNT(*), COUNT(*) FILTER (WHERE n_orders >= 2), CAST(COALESCE(SUM(n_orders), 0) AS BIGINT),
    CAST(COALESCE(SUM(revenue), 0) AS BIGINT), CAST(COALESCE(SUM(so_far), 0) AS BIGINT)
FROM buyers WHERE n_orders > 0
"""
# An event that names no customer is its decision's.
_ANSWERS = """
SELECT COALESCE(h.unit_id, d.unit_id) AS unit_id, h.type, h."at", h.decision_id, h.offer_id, h.payload
FROM happened AS h LEFT JOIN decided AS d ON d.decision_id = h.decision_id
WHERE h.type IN ('promotion-clicked', 'promotion-redeemed') AND h."at" >= $start AND h."at" < $end
"""
_PARTICIPATION = f"""
WITH answers AS ({_ANSWERS}), treated AS (
    SELECT unit_id FROM assigned WHERE "group" = 'treated' AND assigned_at < $end
)
SELECT COUNT(*),
    COUNT(*) FILTER (WHERE unit_id IN (SELECT unit_id FROM decided
        WHERE "group" = 'treated' AND slate <> '[]' AND "at" >= $start AND "at" < $end)),
    COUNT(*) FILTER (WHERE unit_id IN (SELECT unit_id FROM answers WHERE unit_id IS NOT NULL)),
    COUNT(*) FILTER (WHERE unit_id IN (SELECT unit_id FROM answers
        WHERE type = 'promotion-redeemed' AND unit_id IS NOT NULL))
FROM treated
"""
_ATTRIBUTED = f"""
WITH answers AS ({_ANSWERS})
SELECT COUNT(*), CAST(COALESCE(SUM(revenue), 0) AS BIGINT) FROM merged AS m
WHERE m.revenue > 0 AND m.ordered_at < $end AND EXISTS (
    SELECT 1 FROM answers AS a WHERE a.unit_id = m.customer_id
    AND m.ordered_at >= a."at" AND m.ordered_at < a."at" + to_days($days))
"""
_CONTACTS = """
SELECT COUNT(*) FROM decided
WHERE campaign IS NOT NULL AND "group" = 'treated' AND slate <> '[]' AND "at" >= $start AND "at" < $end
"""
# What the till took off is exact, also of several units or the whole basket; else the offer's prices say it.
_REDEEMED = f"""
WITH answers AS (
    SELECT *, payload ->> '$.discount' AS discount FROM ({_ANSWERS}) WHERE type = 'promotion-redeemed'
), told AS (
    SELECT * FROM answers WHERE discount IS NOT NULL
), used AS (
    SELECT DISTINCT offer_id, decision_id, unit_id FROM answers AS a
    WHERE NOT EXISTS (SELECT 1 FROM told AS t WHERE t.offer_id = a.offer_id AND t.unit_id = a.unit_id)
), offers AS (
    SELECT decision_id, UNNEST(from_json(slate,
        '[{{"offer_id":"VARCHAR","list_price":"VARCHAR","final_price":"VARCHAR"}}]')) AS offer
    FROM decided
    WHERE decision_id IN (SELECT decision_id FROM used)
        OR (SELECT COUNT(*) FROM used WHERE decision_id IS NULL) > 0
)
SELECT list_price, final_price, COUNT(*) FROM (
    SELECT DISTINCT u.*, o.offer.list_price AS list_price, o.offer.final_price AS final_price
    FROM used AS u JOIN offers AS o
        ON o.offer.offer_id = u.offer_id AND (u.decision_id IS NULL OR o.decision_id = u.decision_id)
)
WHERE list_price IS NOT NULL AND final_price IS NOT NULL
GROUP BY ALL
UNION ALL SELECT discount, '0', COUNT(*) FROM told GROUP BY ALL
ORDER BY ALL
"""
