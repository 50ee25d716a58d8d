"""Weeks lived with and without offers after one history, as figures per customer in minor units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextoffer.domain.arrays import Bools, Ints
from nextoffer.simulation import Shop, StepRows
from nextoffer.simulation.messages import OfferRows
from nextoffer.simulation.past import campaign_log, past_offers
from nextoffer.simulation.policies import for_you, rules
from nextoffer.simulation.response import CONTACT

WEEKS, RUN_OUT = 8, 12
BEFORE_WEEKS = 13  # 91 days of spend before the fork

ShopPolicy = Callable[[Shop], OfferRows | None]


@dataclass(frozen=True, slots=True, eq=False)
class Lived:
    """(n,) int64 by number of the customer: what the weeks brought, minor units, and messages received.

    Orders placed in these weeks, less what came back of them in these weeks; incentives are in the prices paid.
    """

    revenue: Ints
    margin: Ints
    orders: Ints
    messages: Ints

    @property
    def profit(self) -> Ints:
        """Margin less what the messages cost."""
        return self.margin - CONTACT * self.messages

    def where(self, treated: Bools, other: Lived) -> Lived:
        """These figures of the treated, the other's of everybody else."""
        return Lived(
            *(np.where(treated, getattr(self, name), getattr(other, name)) for name in self.__slots__)
        )


def live(
    shop: Shop,
    policy: ShopPolicy | None,
    to: Bools,
    weeks: int = WEEKS,
    run_out: int = RUN_OUT,
    effect: float | None = None,
) -> list[StepRows]:
    """Live on with a shop: a policy that may write to the customers `to` only, then weeks without offers.

    `effect`, if given, is how much offers change, whatever the shop's settings say.
    """
    if effect is not None:
        shop.world = replace(shop.world, settings=replace(shop.world.settings, offer_effect=effect))
    rows = [shop.step(shop.week, _among(policy(shop), to) if policy else None, False) for _ in range(weeks)]
    return rows + shop.run_out(run_out, expected=False)


def summed(shop: Shop, rows: Sequence[StepRows]) -> Lived:
    """What weeks just lived brought, customer by customer."""
    orders = pa.concat_tables([week.orders for week in rows])
    sent = [numbers(pc.unique(week.exposures["customer_id"])) for week in rows]
    found = _bought(shop, orders, shop.settings.weeks)
    return replace(found, messages=np.bincount(np.concatenate(sent), minlength=shop.settings.customers))


def lived_before(shop: Shop, rows: Sequence[StepRows]) -> Lived:
    """What the 91 days before the fork brought, less what came back of it then and in the weeks lived since."""
    since = pa.concat_tables([week.orders for week in rows])
    back = since.filter(pa.array(_week(shop, since) < shop.settings.weeks))
    orders = pa.concat_tables([shop.visible().history("orders"), back])
    return _bought(shop, orders, shop.settings.weeks - BEFORE_WEEKS)


def known(shop: Shop) -> Bools:
    """(n,) who is a customer already: everybody who can be assigned."""
    found = np.zeros(shop.settings.customers, dtype=bool)
    found[numbers(shop.visible().customers["customer_id"])] = True
    return found


def three_rules(shop: Shop) -> OfferRows | None:
    """Refill reminders, win-backs and companions, as shipped."""
    return _RULES(shop.visible())


def for_you_weekly(shop: Shop) -> OfferRows | None:
    """A product of the favourite category for all, every week."""
    return _FOR_YOU(shop.visible())


def past_policy(shop: Shop) -> OfferRows | None:
    """Mail and discounts to good, recent customers, by a score nobody wrote down."""
    now = shop.before()
    world = replace(now.world, settings=replace(now.world.settings, past_policy="confounded"))
    chosen = past_offers(world, now.customers, now.state, now.week, now.window)
    return (
        None
        if chosen is None
        else campaign_log(world, now.customers, chosen[0]).drop_columns(["occurred_at"])
    )


def numbers(ids: pa.ChunkedArray | pa.Array) -> Ints:
    """The numbers in ids like C000123."""
    return np.asarray(pc.utf8_slice_codeunits(ids, 1).cast(pa.int64()))


_RULES, _FOR_YOU = rules(), for_you()


def _among(offers: OfferRows | None, to: Bools) -> OfferRows | None:
    if offers is None:
        return None
    table = offers if isinstance(offers, pa.Table) else pa.table(dict(offers))
    return table.filter(pa.array(to[numbers(table["customer_id"])]))


def _bought(shop: Shop, orders: pa.Table, first: int) -> Lived:
    """Orders placed from week `first` on, by customer; a line that came back belongs to its order's week."""
    n = shop.settings.customers
    orders = orders.filter(pc.is_valid(orders["customer_id"]))
    orders = orders.filter(pa.array(_week(shop, orders) >= first))
    who, number = numbers(orders["customer_id"]), numbers(orders["order_id"])
    quantity = np.asarray(orders["quantity"]).astype(np.int64)
    price, cost = (_minor(orders[name]) for name in ("unit_price", "unit_cost"))
    _, one = np.unique(number, return_index=True)
    return Lived(
        revenue=_total(who, quantity * price, n),
        margin=_total(who, quantity * (price - cost), n),
        orders=np.bincount(who[one], minlength=n),
        messages=np.zeros(n, dtype=np.int64),
    )


def _week(shop: Shop, orders: pa.Table) -> Ints:
    """The week in which each line's order was placed."""
    return numbers(orders["order_id"]) // 2 // shop.settings.customers


def _minor(column: pa.ChunkedArray) -> Ints:
    return np.rint(100 * np.asarray(column.cast(pa.float64()))).astype(np.int64)


def _total(who: Ints, amount: Ints, n: int) -> Ints:
    return np.rint(np.bincount(who, weights=amount, minlength=n)).astype(np.int64)
