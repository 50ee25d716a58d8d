"""The truth about weeks lived with offers: what each would do, what was sent, who fell silent, what it all earned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from nextoffer.domain.offers import KINDS
from nextoffer.simulation import columns
from nextoffer.simulation.baskets import World
from nextoffer.simulation.customers import Customers
from nextoffer.simulation.expected import Before, effects
from nextoffer.simulation.life import Week
from nextoffer.simulation.response import Offers
from nextoffer.simulation.sales import week_start

if TYPE_CHECKING:
    from nextoffer.simulation.shop import StepRows

PRODUCT_CLASSES = ("companion", "refill", "personal", "other")


def effect_table(now: Before, offers: Offers) -> pa.Table:
    """What each offer would truly do next week, alone (see `expected.Effects`)."""
    world, state, row = now.world, now.state, offers.row
    found, product = effects(now, offers), np.maximum(offers.product, 0)
    recent = state.recent[row]
    companions = np.where((recent >= 0)[:, :, None], world.catalogue.companions[recent], -1)
    own = (now.mean.own[row] == world.catalogue.family[product][:, None]).any(axis=1)
    classes = np.where(own, 2, 3)
    classes[(now.customers.refill[row] == product[:, None]).any(axis=1)] = 1
    classes[(companions == product[:, None, None]).any(axis=(1, 2))] = 0
    unnamed = offers.product < 0
    products = columns.product_ids(world.catalogue, np.arange(world.catalogue.size))
    return pa.table(
        {
            "as_of": columns.moments(np.full(len(row), week_start(world, now.week))),
            "customer_id": columns.customer_ids(world.settings, now.customers.customer[row]),
            "kind": pa.array(KINDS).take(pa.array(offers.kind)),
            "product_id": products.take(pa.array(offers.product, mask=unnamed)),
            "product_class": pa.array(PRODUCT_CLASSES).take(pa.array(classes, mask=unnamed)),
            "level": pa.array(offers.level),
            "basket": pa.array(offers.basket),
            "opens": pa.array(found.opens),
            "p_none": pa.array(found.p_none),
            "p_offer": pa.array(found.p_offer),
            "incremental": pa.array(found.opens * (found.p_offer - found.p_none)),
            "moved_share": pa.array(found.moved),
            "profit_week": pa.array(found.week),
            "profit_horizon": pa.array(found.value),
        }
    )


def lapse_rows(world: World, customers: Customers, week: int, outcome: Week) -> pa.Table:
    """Who fell silent in a week, and who came back and why."""
    row = np.concatenate([outcome.lapsed, outcome.returned])
    cause = np.concatenate([np.full(len(outcome.lapsed), -1, dtype=np.int8), outcome.cause])
    return pa.table(
        {
            "week": pa.array(np.full(len(row), week, dtype=np.int32)),
            "customer_id": columns.customer_ids(world.settings, customers.customer[row]),
            "event": pa.array(["lapsed", "returned"]).take(pa.array((cause >= 0).astype(np.int8))),
            "cause": pa.array(["natural", "offer"]).take(pa.array(cause, mask=cause < 0)),
        }
    )


def loop_truth(first: int, weeks: Sequence[StepRows]) -> dict[str, pa.Table]:
    """Ledger, assignments and lapses of the weeks since the history, `first` being the first of them."""
    ledger, assigned, lapses = [], [], []
    for week, rows in enumerate(weeks, first):
        ledger.append(_of_week(rows.truth, week))
        if rows.exposures.num_rows:
            assigned.append(_of_week(rows.exposures, week))
        if rows.lapses is not None:
            lapses.append(rows.lapses)
    tables = {"ledger": ledger, "assignments_since": assigned, "lapses_since": lapses}
    return {
        name: pa.concat_tables(parts, promote_options="default") for name, parts in tables.items() if parts
    }


def _of_week(table: pa.Table, week: int) -> pa.Table:
    return table.add_column(0, "week", pa.array(np.full(table.num_rows, week, dtype=np.int32)))
