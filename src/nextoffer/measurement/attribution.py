"""What may be put down to offers, and what a naive comparison shows: neither is caused, both stand beside what is.

Last touch: an order belongs to the offer that was used in it, else to the one its customer opened or used last before
it, as long as that kind's window lasts. Only windows that are closed count, so that a later look cannot add to them;
orders are net of what came back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from nextoffer.measurement.costs import Costs
from nextoffer.measurement.outcomes import BELOW, Observed
from nextoffer.measurement.records import Records
from nextoffer.texts import Said, said


@dataclass(frozen=True, slots=True)
class Touched:
    """What may be put down to some offers; money in minor units.

    Parameters
    ----------
    kind, campaign : None = unknown (an event that names no known offer), and not of a campaign
    n_offered : offers made; n_clicked : of those, opened; n_redeemed : uses
    n_orders, revenue, margin : orders whose last touch they were
    incentives : what the uses cost the shop
    n_contacts, contacts : messages they led, and what those cost
    """

    kind: str | None
    campaign: str | None
    n_offered: int = 0
    n_clicked: int = 0
    n_redeemed: int = 0
    n_orders: int = 0
    revenue: int = 0
    margin: int = 0
    incentives: int = 0
    n_contacts: int = 0
    contacts: int = 0

    @property
    def cost(self) -> int:
        """Incentives and contacts."""
        return self.incentives + self.contacts

    @property
    def roi_percent(self) -> float | None:
        """(revenue − cost) / cost × 100; None if nothing was spent."""
        return roi_percent(self.revenue, self.cost)

    @property
    def click_rate(self) -> float | None:
        """Share of the offers that were opened."""
        return self.n_clicked / self.n_offered if self.n_offered else None


@dataclass(frozen=True, slots=True)
class Attributed:
    """Orders put down to offers whose windows are closed, and what those offers cost; minor units.

    These customers may have bought anyway: only the difference to the holdout says what offers caused.

    Parameters
    ----------
    rows : by kind and campaign
    programme : the loyalty programme's own costs
    n_open_orders : orders whose last touch has a window that is still open: not counted yet
    of_category : orders are those of one category, costs are all
    """

    rows: tuple[Touched, ...]
    contacts: int
    programme: int
    n_open_orders: int
    of_category: bool = False

    @property
    def n_orders(self) -> int:
        """Orders of all rows: each order is one row's."""
        return sum(row.n_orders for row in self.rows)

    @property
    def n_contacts(self) -> int:
        """Messages."""
        return sum(row.n_contacts for row in self.rows)

    @property
    def revenue(self) -> int:
        """Net of returns and of what the till took off."""
        return sum(row.revenue for row in self.rows)

    @property
    def margin(self) -> int:
        """Of those orders."""
        return sum(row.margin for row in self.rows)

    @property
    def incentives(self) -> int:
        """What the uses cost the shop."""
        return sum(row.incentives for row in self.rows)

    @property
    def cost(self) -> int:
        """Incentives, contacts and the programme's own costs."""
        return self.incentives + self.contacts + self.programme

    @property
    def roi_percent(self) -> float | None:
        """(revenue − cost) / cost × 100; None if nothing was spent, and for a category: costs belong to none."""
        return None if self.of_category else roi_percent(self.revenue, self.cost)

    @property
    def note(self) -> Said | None:
        """Why there is no ROI."""
        if self.of_category:
            return said("what offers cost belongs to no category, so a return on it cannot be said")
        return None if self.cost else said("no cost is known, so a return on it cannot be said")

    @property
    def by_kind(self) -> tuple[Touched, ...]:
        """One row for each kind."""
        return self._summed(lambda row: (row.kind, None))

    @property
    def by_campaign(self) -> tuple[Touched, ...]:
        """One row for each campaign, one for offers of none."""
        return self._summed(lambda row: (None, row.campaign))

    def _summed(self, of: Callable[[Touched], tuple[str | None, str | None]]) -> tuple[Touched, ...]:
        sums: dict[tuple[str | None, str | None], list[int]] = {}
        for row in self.rows:
            told = sums.setdefault(of(row), [0] * len(_COUNTED))
            for place, name in enumerate(_COUNTED):
                told[place] += getattr(row, name)
        ordered = sorted(sums.items(), key=lambda item: tuple((name is None, name or "") for name in item[0]))
        return tuple(Touched(*key, *told) for key, told in ordered)


_COUNTED = (
    "n_offered",
    "n_clicked",
    "n_redeemed",
    "n_orders",
    "revenue",
    "margin",
    "incentives",
    "n_contacts",
    "contacts",
)


def roi_percent(revenue: int, cost: int) -> float | None:
    """(revenue − cost) / cost × 100; None if nothing was spent.

    >>> roi_percent(1500, 1000), roi_percent(1500, 0)
    (50.0, None)
    """
    return (revenue - cost) / cost * 100 if cost else None


def attributed(
    records: Records,
    start: datetime,
    end: datetime,
    *,
    programme: int = 0,
    kinds: tuple[str, ...] = (),
    campaigns: tuple[str, ...] = (),
    segment: str | None = None,
    category: str | None = None,
) -> Attributed:
    """What may be put down to offers opened, used or sent from `start` on whose windows are closed by `end`.

    Parameters
    ----------
    programme : the loyalty programme's own costs in that time, minor units
    kinds, campaigns : only offers of these; empty = all
    segment : only customers who are of it today
    category : only what was bought below this path
    """
    asked: dict[str, Any] = {
        "start": start,
        "end": end,
        "kinds": list(kinds),
        "campaigns": list(campaigns),
        "segment": segment,
        "category": category,
        "usual": min(records.window_days.values()),
    }
    records.rows(_TOUCHES.format(orders=BELOW if category else "orders"), asked)
    rows = tuple(_touched(row, records.costs, records.currency) for row in records.rows(_ROWS, asked))
    (n_open,) = records.row("SELECT COUNT(*) FROM touches WHERE open")
    contacts = records.costs.of_contacts(sum(row.n_contacts for row in rows), records.currency)
    return Attributed(rows, contacts, programme, n_open, category is not None)


def _touched(row: tuple[Any, ...], costs: Costs, currency: str) -> Touched:
    return replace(Touched(*row), contacts=costs.of_contacts(row[-1], currency))


def naive_difference(observed: Observed, metric: str = "revenue") -> float | None:
    """Per customer among the treated: of those who met an offer minus those who did not; None without either.

    What a tool without a holdout shows. It proves nothing: offers reach those who would have come anyway.
    """
    exposed = observed.triggered()
    n_met, n_all = exposed.n_treated, observed.n_treated
    if n_met == 0 or n_met == n_all:
        return None
    met = float(exposed.values[metric][exposed.treated].sum())
    everybody = float(observed.values[metric][observed.treated].sum())
    return met / n_met - (everybody - met) / (n_all - n_met)


# The offer used in the order itself, else the latest; of the same moment a use before a click, then by ids.
_TOUCHES = """
CREATE OR REPLACE TEMP TABLE touches AS
WITH last AS (
    SELECT o.order_id, o.customer_id, o.revenue, o.margin, arg_max(a,
        (COALESCE(a.order_id = o.order_id, FALSE), a."at", a.type = 'promotion-redeemed', a.event_id)) AS touch
    FROM {orders} AS o JOIN answers AS a ON a.unit_id = o.customer_id AND a."at" < $end AND (
        (o.ordered_at >= a."at" AND o.ordered_at < a."at" + to_days(a.days)) OR a.order_id = o.order_id)
    WHERE o.revenue > 0 AND o.ordered_at < $end
    GROUP BY o.order_id, o.customer_id, o.revenue, o.margin
)
SELECT order_id, revenue, margin, touch.kind AS kind, touch.campaign AS campaign,
    touch."at" + to_days(touch.days) > $end AS open
FROM last WHERE touch."at" >= $start
    AND (len($kinds) = 0 OR list_contains($kinds, touch.kind))
    AND (len($campaigns) = 0 OR list_contains($campaigns, touch.campaign))
    AND ($segment IS NULL OR customer_id IN (SELECT customer_id FROM segments WHERE segment = $segment))
"""
_CHOSEN = """
    "at" >= $start AND (len($kinds) = 0 OR list_contains($kinds, kind))
    AND (len($campaigns) = 0 OR list_contains($campaigns, campaign))
    AND ($segment IS NULL OR unit_id IN (SELECT customer_id FROM segments WHERE segment = $segment))"""
_ROWS = f"""
WITH told AS (
    SELECT o.kind, o.campaign, 1 AS n_offered, 0 AS n_clicked, 0 AS n_redeemed, 0 AS n_orders, 0 AS revenue,
        0 AS margin, 0 AS incentives, 0 AS n_contacts
    FROM (SELECT * FROM offered WHERE "group" = 'treated' AND withheld_by IS NULL AND {_CHOSEN}) AS o
    LEFT JOIN window_days AS w ON w.kind = o.kind WHERE o."at" + to_days(COALESCE(w.days, $usual)) <= $end
    UNION ALL
    SELECT kind, campaign, 0, CAST(type = 'promotion-clicked' AND first AS INTEGER), CAST(counts AS INTEGER),
        0, 0, 0, spent, 0
    FROM (SELECT *, event_id = MIN(event_id) OVER (PARTITION BY type, unit_id, decision_id, offer_id) AS first
        FROM answers WHERE {_CHOSEN} AND "at" + to_days(days) <= $end)
    UNION ALL
    SELECT m.kind, m.campaign, 0, 0, 0, 0, 0, 0, 0, 1
    FROM (SELECT * FROM contacts WHERE {_CHOSEN}) AS m
    LEFT JOIN window_days AS w ON w.kind = m.kind WHERE m."at" + to_days(COALESCE(w.days, $usual)) <= $end
    UNION ALL
    SELECT kind, campaign, 0, 0, 0, 1, revenue, margin, 0, 0 FROM touches WHERE NOT open
)
SELECT kind, campaign, {", ".join(f"CAST(SUM({name}) AS BIGINT)" for name in _COUNTED[:-1])}
FROM told GROUP BY kind, campaign ORDER BY kind NULLS LAST, campaign NULLS LAST
"""
