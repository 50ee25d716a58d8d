"""What was given and what it was used for: types of rewards, campaigns, and loyalty programmes side by side."""

from __future__ import annotations

from collections.abc import Mapping

from nextoffer.config.measuring import ProgrammeTerms
from nextoffer.domain.money import to_minor
from nextoffer.measurement.attribution import Attributed
from nextoffer.measurement.kpi.counting import Counted, Filter, Terms, parameters
from nextoffer.measurement.kpi.registry import Totals, kpi, roi_attributed
from nextoffer.measurement.kpi.windows import Window
from nextoffer.measurement.records import Records
from nextoffer.measurement.sheet import Cell, Column, Sheet
from nextoffer.texts import Said, said, said_many, text

_TYPES = {
    "percent": text("percentage off"),
    "amount": text("money off"),
    "fixed_price": text("fixed price"),
    "free_shipping": text("free delivery"),
    "gift": text("gift"),
    "points": text("points"),
    "none": text("offer without a reward"),
}
_REWARDS = (
    Column("type", text("reward"), "key"),
    Column("reward", text("reward")),
    Column("through", text("through")),
    Column("uses", text("uses"), "count"),
    Column("average_purchase", text("average purchase"), "average"),
    Column("income", text("income"), "money"),
    Column("effectiveness", text("effectiveness")),
)
_CAMPAIGNS = (
    Column("campaign", text("campaign")),
    Column("sent", text("messages"), "count"),
    Column("offered", text("offers made"), "count"),
    Column("opened", text("opened"), "count"),
    Column("open_rate", text("share opened"), "share"),
    Column("used", text("used"), "count"),
    Column("orders", text("orders attributed"), "count"),
    Column("revenue", text("revenue attributed"), "money"),
    Column("cost", text("cost"), "money"),
    Column("roi_attributed", text("ROI, attributed"), "change"),
)
_PROGRAMMES = (
    Column("programme", text("programme")),
    Column("type", text("type")),
    Column("joining", text("how to join")),
    Column("accrual", text("what it gives")),
    Column("members", text("members"), "count"),
    Column("participation", text("participation rate"), "share"),
    Column("orders", text("orders"), "count"),
    Column("revenue", text("revenue"), "money"),
    Column("average_order", text("average order"), "average"),
    Column("cost", text("cost"), "money"),
    Column("roi_attributed", text("ROI, attributed"), "change"),
)


def reward_types(
    records: Records,
    window: Window,
    high: int,
    medium: int,
    terms: Terms | None = None,
    filter: Filter | None = None,
) -> Sheet:
    """What each type of reward was used for in a window: incentives of offers, and promo codes by their letters.

    A use is a purchase with it: the order it was used in, else the customer's first within the offer's window.

    Parameters
    ----------
    high, medium : the least income that is called so, minor units
    """
    filter = filter or Filter()
    asked = parameters(window, terms or Terms(), filter)
    used = records.rows(_USED, {**asked, "kind": filter.kind})
    (n_unknown,) = records.row(_UNKNOWN, {**asked, "kind": filter.kind})
    notes = [said("Income is uses times the average purchase. Many would have bought without a reward.")]
    if n_unknown:
        notes.append(
            said_many(
                "{n} use is left out: its purchase is not known.",
                "{n} uses are left out: their purchases are not known.",
                n_unknown,
            )
        )
    rows = sorted((_reward(*row, high=high, medium=medium) for row in used), key=_by_income)
    return Sheet(
        name="reward_types",
        title=text("Types of rewards (counted, not caused)"),
        columns=_REWARDS,
        rows=tuple(rows),
        notes=(*notes, *filter.notes(category=False, kind=True)),
    )


def effectiveness(income: int, high: int, medium: int) -> Said:
    """high, medium or low, by the income a type of reward brought."""
    return said("high") if income >= high else said("medium") if income >= medium else said("low")


def campaigns(found: Attributed, filter: Filter | None = None) -> Sheet:
    """What each campaign sent, what came of it, and its ROI: attributed, never caused."""
    rows = [
        (
            row.campaign,
            row.n_contacts,
            row.n_offered,
            row.n_clicked,
            row.click_rate,
            row.n_redeemed,
            row.n_orders,
            row.revenue,
            row.cost,
            roi_attributed(row.revenue, row.cost),
        )
        for row in found.by_campaign
        if row.campaign is not None
    ]
    return Sheet(
        name="campaigns",
        title=text("Campaigns (attributed, not caused)"),
        columns=_CAMPAIGNS,
        rows=tuple(rows),
        notes=(
            said("Orders whose last touch was the campaign's; only offers whose window is closed."),
            *(filter or Filter()).notes(kind=True),
        ),
    )


def programmes(counted: Counted, terms: Mapping[str, ProgrammeTerms]) -> Sheet:
    """The loyalty programmes side by side: their terms, who takes part, what members buy and what it costs.

    The cost of a programme is what the configuration says and the points its members spent, at their value.
    """
    counts = {} if "members" not in counted.known else dict(counted.by("programme", "is_member"))
    names = [*terms, *sorted(name for name in counts if name is not None and name not in terms)]
    everybody = counted.totals.get("customers", 0)
    currency = counted.records.currency
    return Sheet(
        name="programmes",
        title=text("Loyalty programmes (attributed, not caused)"),
        columns=_PROGRAMMES,
        rows=tuple(
            _programme(
                name,
                terms.get(name, ProgrammeTerms()),
                {**counts.get(name, {}), "customers": everybody},
                currency,
            )
            for name in names
        ),
        notes=(
            said(
                "Members would buy without a programme too: all their revenue is attributed to it, none of it proved."
            ),
            *counted.filter.notes(),
        ),
    )


def _reward(through: str, type: str, uses: int, income: int, *, high: int, medium: int) -> tuple[Cell, ...]:
    name = said(_TYPES[type]) if through == "offer" and type in _TYPES else type
    way = said("offers") if through == "offer" else said("promo codes")
    return type, name, way, uses, income / uses, income, effectiveness(income, high, medium)


def _by_income(row: tuple[Cell, ...]) -> tuple[float, str]:
    return -float(row[5] or 0), str(row[0])


def _programme(name: str, terms: ProgrammeTerms, totals: Totals, currency: str) -> tuple[Cell, ...]:
    sums = {"members": 0, "customer_orders": 0, "customer_revenue": 0, **totals}
    revenue, points = int(sums["customer_revenue"]), int(sums.get("points_value", 0))
    cost = to_minor(terms.cost, currency) + points
    of_members = {"orders": sums["customer_orders"], "revenue": revenue}
    return (
        name,
        terms.type,
        terms.joining,
        terms.accrual,
        int(sums["members"]),
        kpi("participation").cell(sums),
        int(sums["customer_orders"]),
        revenue,
        kpi("average_order").cell(of_members),
        cost,
        roi_attributed(revenue, cost),
    )


_KEPT = """
    type = 'promotion-redeemed' AND counts AND "at" >= $start AND "at" < $end AND ($kind IS NULL OR kind = $kind)
    AND ($segment IS NULL OR unit_id IN (SELECT customer_id FROM segments WHERE segment = $segment))"""
# The order of a use is the one it names, else the first within the offer's window.
_PURCHASES = f"""
purchases AS (
    SELECT a.event_id, a.incentive,
        arg_min(o, (COALESCE(o.order_id <> a.order_id, TRUE), o.ordered_at, o.order_id)) AS bought
    FROM (SELECT * FROM answers WHERE {_KEPT}) AS a JOIN orders AS o ON o.customer_id = a.unit_id AND o.revenue > 0
        AND (o.order_id = a.order_id OR (o.ordered_at >= a."at" AND o.ordered_at < a."at" + to_days(a.days)))
    GROUP BY a.event_id, a.incentive
)"""
# A code that an offer gave is counted with the offer.
_USED = f"""
WITH {_PURCHASES}, codes AS (
    SELECT upper(regexp_extract(promo_code, '^[^0-9_\\-]+')) AS letters, revenue FROM orders
    WHERE promo_code <> '' AND revenue > 0 AND ordered_at >= $start AND ordered_at < $end AND $kind IS NULL
        AND order_id NOT IN (SELECT bought.order_id FROM purchases)
        AND ($segment IS NULL OR customer_id IN (SELECT customer_id FROM segments WHERE segment = $segment))
)
SELECT 'offer' AS through, incentive AS type, COUNT(*), CAST(SUM(revenue) AS BIGINT)
FROM (SELECT DISTINCT incentive, bought.order_id, bought.revenue AS revenue FROM purchases) GROUP BY ALL
UNION ALL
SELECT 'code', CASE WHEN letters = '' THEN '0–9' ELSE letters END, COUNT(*), CAST(SUM(revenue) AS BIGINT)
FROM codes GROUP BY ALL
"""
_UNKNOWN = f"WITH {_PURCHASES} SELECT (SELECT COUNT(*) FROM answers WHERE {_KEPT}) - COUNT(*) FROM purchases"
