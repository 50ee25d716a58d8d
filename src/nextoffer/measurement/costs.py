"""What offers cost: what each use of an incentive costs the shop, and what of it the order's price shows already.

The canonical revenue of an order is what was paid: a percentage, an amount or a fixed price taken off at the till has
lowered it, so that its margin bears the discount already, and a gift among the lines was paid with nothing. Profit
therefore takes off only what the margin does not know of: points granted, delivery, gifts outside the order, and what
the shop says one use costs beyond the discount; and gives back what a partner pays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from nextoffer.config import Settings
from nextoffer.domain.money import minor_digits, to_minor

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class Costs:
    """Prices of what is given away.

    Parameters
    ----------
    contact : of one message, in currency
    point_value : what one point buys, in currency
    per_use : of an incentive by name, in minor units, where that is not its value
    partner_share : of an incentive by name: the share of its cost that a supplier pays
    """

    contact: Decimal = Decimal(0)
    point_value: Decimal = Decimal("0.01")
    per_use: Mapping[str, int] = field(default_factory=dict)
    partner_share: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Costs:
        """As the shop has configured them."""
        terms = settings.incentives
        return cls(
            contact=Decimal(str(settings.contact.cost)),
            point_value=settings.programme.point_value,
            per_use={
                name: to_minor(one.cost, settings.currency)
                for name, one in terms.items()
                if one.cost is not None
            },
            partner_share={name: one.partner_share for name, one in terms.items() if one.partner_share},
        )

    def of_contacts(self, n: int, currency: str) -> int:
        """Minor units of so many messages."""
        return to_minor(self.contact * n, currency)


def price_answers(
    con: DuckDBPyConnection, currency: str, costs: Costs, margin_share: float, days: Mapping[str, int]
) -> None:
    """Make the table `answers` from `happened` and `offered`: who opened or used which offer, and what that cost.

    An event says which offer it is about by decision and offer, by decision and product, by its decision alone (the
    first offer of it), or by customer and offer (the latest such offer before it).
    """
    names = sorted({*costs.per_use, *costs.partner_share})
    con.execute(
        _TERMS,
        {
            "names": names,
            "uses": [costs.per_use.get(name) for name in names],
            "shares": [costs.partner_share.get(name, 0.0) for name in names],
        },
    )
    con.execute(_WINDOW_DAYS, {"kinds": list(days), "days": list(days.values())})
    con.execute(_ABOUT)
    scale = 10 ** minor_digits(currency)
    point = float(costs.point_value) * scale
    con.execute(
        _ANSWERS,
        {
            "scale": scale,
            "point": point,
            "share": margin_share,
            "unknown_days": min(days.values(), default=14),
        },
    )
    con.execute("DROP TABLE about")


_TERMS = """
CREATE TEMP TABLE terms AS SELECT UNNEST(CAST($names AS VARCHAR[])) AS incentive_name,
    UNNEST(CAST($uses AS BIGINT[])) AS per_use, UNNEST(CAST($shares AS DOUBLE[])) AS partner_share
"""
_WINDOW_DAYS = """
CREATE TEMP TABLE window_days AS
SELECT UNNEST(CAST($kinds AS VARCHAR[])) AS kind, UNNEST(CAST($days AS INTEGER[])) AS days
"""
# The best match first; of equals the later decision, then the better ranked offer.
_ABOUT = """
CREATE TEMP TABLE about AS
WITH asked AS (
    SELECT event_id, unit_id, decision_id, offer_id, product_id, "at" FROM happened
    WHERE type IN ('promotion-clicked', 'promotion-redeemed')
), matches AS (
    SELECT e.event_id, o AS offer, CASE WHEN o.offer_id = e.offer_id THEN 3 WHEN e.offer_id IS NULL
        AND o.product_id = e.product_id THEN 2 ELSE 1 END AS how
    FROM asked AS e JOIN offered AS o ON o.decision_id = e.decision_id
    WHERE e.offer_id IS NULL OR o.offer_id = e.offer_id
    UNION ALL
    SELECT e.event_id, o, 3 FROM asked AS e JOIN offered AS o ON o.unit_id = e.unit_id AND o.offer_id = e.offer_id
    WHERE e.decision_id IS NULL AND o."at" <= e."at"
)
SELECT event_id, arg_max(offer, (how, offer."at", -offer.rank, offer.decision_id)) AS offer
FROM matches GROUP BY event_id
"""
# What the till took off is exact, also of several units or the whole basket; else the offer's prices say it. A use
# that the till and the shop both tell of counts once, as the till tells it: one of a decision that is named unless the
# till told of that decision, or of none; one that names no decision only if nothing else is told of the offer.
_ANSWERS = """
CREATE TEMP TABLE answers AS
WITH given AS (
    SELECT h.event_id, h.unit_id, h.type, h."at", COALESCE(h.offer_id, a.offer.offer_id) AS offer_id,
        COALESCE(h.decision_id, a.offer.decision_id) AS decision_id, a.offer.kind AS kind,
        a.offer.campaign AS campaign, a.offer.placement AS placement, a.offer.incentive_name AS incentive_name,
        h.payload ->> '$.order_id' AS order_id, h.decision_id AS named,
        CAST(ROUND(CAST(h.payload ->> '$.discount' AS DECIMAL(38,6)) * $scale) AS BIGINT) AS told,
        CAST(ROUND(CAST(a.offer.list_price AS DECIMAL(38,6)) * $scale) AS BIGINT)
            - CAST(ROUND(CAST(a.offer.final_price AS DECIMAL(38,6)) * $scale) AS BIGINT) AS shown,
        COALESCE(a.offer.incentive ->> '$.type', 'none') AS incentive,
        TRY_CAST(a.offer.incentive ->> '$.value' AS DECIMAL(38,6)) AS value,
        a.offer.incentive ->> '$.product_id' AS gift
    FROM happened AS h LEFT JOIN about AS a ON a.event_id = h.event_id
    WHERE h.type IN ('promotion-clicked', 'promotion-redeemed')
), used AS (
    SELECT *, type = 'promotion-redeemed' AND (told IS NOT NULL OR (event_id = MIN(event_id) OVER same
        AND CASE WHEN named IS NULL THEN COUNT(told) OVER offered + COUNT(named) OVER offered = 0
            ELSE COUNT(told) OVER same + COUNT(told) FILTER (WHERE named IS NULL) OVER offered = 0 END)) AS counts
    FROM given WINDOW offered AS (PARTITION BY type, unit_id, offer_id),
        same AS (PARTITION BY type, unit_id, offer_id, named)
), worth AS (
    SELECT u.*, t.per_use, COALESCE(t.partner_share, 0) AS partner_share,
        CASE WHEN u.incentive = 'gift' THEN COALESCE(
                CAST(ROUND(CAST(c.unit_cost AS DECIMAL(38,4)) * $scale) AS BIGINT),
                CAST(ROUND(CAST(c.price AS DECIMAL(38,4)) * $scale * (1 - $share)) AS BIGINT), 0)
            WHEN u.incentive = 'points' THEN CAST(ROUND(COALESCE(u.value, 0) * $point) AS BIGINT)
            WHEN u.incentive IN ('free_shipping', 'amount')
                THEN COALESCE(u.told, NULLIF(GREATEST(u.shown, 0), 0), CAST(ROUND(u.value * $scale) AS BIGINT), 0)
            ELSE COALESCE(u.told, GREATEST(u.shown, 0), 0) END AS gain
    FROM used AS u LEFT JOIN terms AS t ON t.incentive_name = u.incentive_name
    LEFT JOIN given_catalogue AS c ON c.product_id = u.gift
), cost AS (
    SELECT *, COALESCE(per_use, gain) AS whole,
        CASE WHEN incentive IN ('points', 'free_shipping') OR (incentive = 'gift' AND COALESCE(told, 0) = 0)
            THEN 0 ELSE gain END AS netted
    FROM worth
)
SELECT event_id, unit_id, type, "at", decision_id, offer_id, a.kind, campaign, placement, incentive, incentive_name,
    order_id, COALESCE(w.days, $unknown_days) AS days, counts,
    CASE WHEN counts THEN whole - CAST(floor(whole * partner_share + 1e-9) AS BIGINT) ELSE 0 END AS spent,
    CASE WHEN counts THEN netted ELSE 0 END AS in_price
FROM cost AS a LEFT JOIN window_days AS w ON w.kind = a.kind
"""
