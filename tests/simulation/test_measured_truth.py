"""What the product measures against what offers truly did: by its own path, and how often it is right."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from benchmarks.bench_coverage import gates, summary
from benchmarks.coverage.living import Lived, known, live, lived_before, summed
from benchmarks.coverage.reading import N_PERMUTATIONS, assigned, read
from benchmarks.coverage.worlds import WORLDS, replicate

from nextoffer.config import Experiment
from nextoffer.measurement.costs import Costs
from nextoffer.measurement.experiment import permutation_tests
from nextoffer.measurement.outcomes import Look, observe
from nextoffer.measurement.records import Records
from nextoffer.simulation import Shop, ShopSettings, StepRows
from nextoffer.simulation.columns import customer_ids
from nextoffer.simulation.policies import flat
from nextoffer.tracking.ledger import open_ledger
from nextoffer.tracking.schema import Decision, Event

EXPERIMENT = Experiment(name="proof", holdout_share=0.2)
SETTINGS = ShopSettings(customers=900, products=240, weeks=40, rate=0.16, offer_effect=5.0, guests=0.1)
SEED, WEEKS, RUN_OUT = 5, 3, 3


def twenty_per_cent(shop: Shop) -> pa.Table:
    return flat(0.2)(shop.visible())


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    made = Shop(SETTINGS)
    made.write_history(tmp_path_factory.mktemp("proof"))
    return made


@pytest.fixture(scope="module")
def treated() -> Any:
    return assigned("proof", np.arange(SETTINGS.customers), "C")


def lived_with(
    shop: Shop, policy: Any, to: Any, luck: int = 3, effect: float | None = None
) -> list[StepRows]:
    return live(shop.fork(luck), policy, to, WEEKS, RUN_OUT, effect)


def both(shop: Shop, to: Any) -> tuple[list[StepRows], list[StepRows]]:
    return lived_with(shop, twenty_per_cent, to), lived_with(shop, None, to)


def same(one: Lived, other: Lived) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in Lived.__slots__)


# --- the truth -----------------------------------------------------------------------------------------------


def test_nothing_beside_nothing_is_exactly_nothing(shop: Shop) -> None:
    everybody = known(shop)

    assert same(*(summed(shop, lived_with(shop, None, everybody)) for _ in range(2)))
    assert not same(*(summed(shop, lived_with(shop, None, everybody, luck)) for luck in (3, 4)))


def test_offers_without_effect_change_no_order_and_no_price(shop: Shop) -> None:
    idle = summed(shop, lived_with(shop, twenty_per_cent, known(shop), effect=0.0))
    bare = summed(shop, lived_with(shop, None, known(shop)))

    assert all(
        np.array_equal(getattr(idle, name), getattr(bare, name)) for name in ("orders", "revenue", "margin")
    )
    assert idle.messages.sum() > 100 and (bare.profit - idle.profit).sum() == idle.messages.sum()


def test_groups_put_together_of_two_lives_are_the_groups_lived_through(shop: Shop, treated: Any) -> None:
    everybody = known(shop)
    written, bare = (summed(shop, rows) for rows in both(shop, everybody))
    lived, _ = both(shop, everybody & treated)

    assert same(summed(shop, lived), written.where(treated, bare))


# --- the product's own path -------------------------------------------------------------------------------------


def test_the_ledger_and_the_orders_of_a_shop_give_the_figures_of_the_proof(
    shop: Shop, treated: Any, tmp_path: Path
) -> None:
    """Assigned and recorded in a real ledger, read as records, observed, tested: to the last digit."""
    everybody = known(shop)
    lived, without = both(shop, everybody & treated)
    seen, bare, before = summed(shop, lived), summed(shop, without), lived_before(shop, lived)
    expected = read(seen, bare, before, treated, everybody, SEED)
    end = shop.end + timedelta(weeks=len(lived))

    with recorded(tmp_path, shop, lived, everybody) as records:
        observed = observe(records, Look("proof", 1, shop.end, end))
    metrics = ["profit", "revenue"]
    values, past = observed.matrix(metrics), observed.matrix_before(metrics)
    assert past is not None
    used = ((values != 0) | (past != 0)).any(axis=1)
    got = permutation_tests(
        np.concatenate([values, values], axis=1)[used],
        observed.treated[used],
        observed.n_treated,
        observed.n_holdout,
        seed=SEED,
        n_permutations=N_PERMUTATIONS,
        before=np.concatenate([0 * past, past], axis=1)[used],
    )

    assert (observed.n_treated, observed.n_holdout) == (
        (everybody & treated).sum(),
        (everybody & ~treated).sum(),
    )
    assert observed.values["revenue"].sum() == pytest.approx(seen.revenue[everybody].sum() / 100)
    assert observed.values["margin"].sum() == pytest.approx(seen.margin[everybody].sum() / 100)
    assert observed.values["contact_cost"].sum() == pytest.approx(seen.messages.sum() / 100)
    assert observed.values["incentive_cost"].sum() > 20 and seen.messages[~treated].sum() == 0
    for one, other in zip(got, expected.metrics, strict=True):
        assert (one.difference, one.low, one.high) == pytest.approx((other.difference, other.low, other.high))
        assert one.verdict == other.verdict


def recorded(folder: Path, shop: Shop, lived: Sequence[StepRows], everybody: Any) -> Records:
    """The shop as its own systems hold it: canonical orders, and a ledger of assignments, decisions and events."""
    ledger = open_ledger(f"sqlite:///{folder / 'ledger.db'}")
    ids = customer_ids(shop.settings, np.flatnonzero(everybody)).to_pylist()
    ledger.assign(EXPERIMENT, ids, shop.end)
    for week, rows in enumerate(lived[:WEEKS]):
        ledger.record_decisions([decision(week, row) for row in rows.exposures.to_pylist()])
        ledger.record_events(redeemed(week, rows))
    tables = {
        "assignments": ledger.assignments(EXPERIMENT),
        "decisions": ledger.decisions(),
        "events": ledger.events(),
    }
    ledger.close()
    orders = canonical([shop.visible().history("orders"), *(rows.orders for rows in lived)])
    return Records.open(
        orders=orders, currency="EUR", margin_share=0.3, costs=Costs(contact=Decimal("0.01")), **tables
    )


def decision(week: int, row: dict[str, Any]) -> Decision:
    offer = {
        "offer_id": f"week-{week}",
        "kind": row["kind"],
        "product_id": row["product_id"],
        "incentive": {"type": "percent", "value": str(100 * row["level"])},
    }
    name = f"{row['customer_id']}-{week}"
    return Decision(name, row["customer_id"], "treated", row["occurred_at"], None, [offer], campaign="weekly")


def redeemed(week: int, rows: StepRows) -> list[Event]:
    """One event per order that used the incentive of its week's message."""
    used = rows.redemptions.group_by(["order_id", "customer_id"]).aggregate(
        [("discount", "sum"), ("occurred_at", "min")]
    )
    return [
        Event(
            f"used-{row['order_id']}",
            "promotion-redeemed",
            row["occurred_at_min"],
            unit_id=row["customer_id"],
            decision_id=f"{row['customer_id']}-{week}",
            offer_id=f"week-{week}",
            payload={"order_id": row["order_id"], "discount": str(row["discount_sum"])},
        )
        for row in used.to_pylist()
    ]


def canonical(parts: list[pa.Table]) -> pa.Table:
    """Order lines as the shop's sources give them: minor units, UTC without zone."""
    lines = pa.concat_tables(parts)

    def minor(name: str) -> Any:
        price = pc.multiply(lines[name].cast(pa.decimal128(20, 2)), pa.scalar(Decimal(100)))
        return pc.multiply(price.cast(pa.int64()), lines["quantity"].cast(pa.int64()))

    return pa.table(
        {
            "order_id": lines["order_id"],
            "customer_id": lines["customer_id"],
            "product_id": lines["product_id"],
            "quantity": lines["quantity"],
            "ordered_at": lines["ordered_at"].cast(pa.timestamp("us", tz="UTC")).cast(pa.timestamp("us")),
            "revenue": minor("unit_price"),
            "cost": minor("unit_cost"),
        }
    )


# --- how often it is right ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_measured_uplift_covers_the_truth_where_mail_goes_to_good_customers() -> None:
    """60 luck seeds, three salts each, all bounds three Monte-Carlo errors wider than what is asked."""
    found = replicate(WORLDS["past policy"], 3_000, 600, range(1, 61), 3)
    looks = {look: summary([one.readings[look] for one in found]) for look in ("past policy", "no effect")}

    assert sum(one.changed for one in found) == 0
    for metric in ("profit", "revenue", "profit, CUPED", "revenue, CUPED"):
        share, error = looks["past policy"][metric]["coverage"]
        assert 0.92 - 3 * error <= share <= 0.975 + 3 * error, (metric, share)
        wins, error = looks["no effect"][metric]["wins"]
        assert wins <= 0.035 + 3 * error, (metric, wins)
    naive = looks["past policy"]["naive"]
    assert naive["outside"][0] > 0.9 and naive["times_off"] >= 3


@pytest.mark.slow
def test_households_must_not_be_split_where_one_buys_for_two() -> None:
    found = replicate(WORLDS["pairs"], 3_000, 600, range(1, 25), 3)
    looks = {name: summary([one.readings[name] for one in found]) for name in ("pairs", "pairs, by customer")}
    passed = gates({"pairs, by customer": looks["pairs, by customer"]}, 0)
    share, error = looks["pairs"]["profit, CUPED"]["coverage"]

    assert list(passed.values()) == [True]
    assert 0.92 - 3 * error <= share <= 0.975 + 3 * error
