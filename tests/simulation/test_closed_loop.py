"""The closed loop: policies see what a shop sees, and the truth about what they earn is exact."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nextoffer.domain.arrays import Floats
from nextoffer.domain.offers import KINDS
from nextoffer.simulation.aftermath import effect_table
from nextoffer.simulation.customers import TYPES
from nextoffer.simulation.expected import effects, expect, with_eligible
from nextoffer.simulation.fit import own_families
from nextoffer.simulation.history import write_chunks
from nextoffer.simulation.known import know
from nextoffer.simulation.life import State, advance
from nextoffer.simulation.loop import paired, run, without_incentives
from nextoffer.simulation.messages import as_table, read_offers
from nextoffer.simulation.oracle import alone, oracle
from nextoffer.simulation.policies import flat, for_you, random_offers, rules, shipped
from nextoffer.simulation.settings import ShopSettings
from nextoffer.simulation.shop import Shop

FIRST = 60
FULL = ShopSettings(
    customers=900,
    products=240,
    weeks=FIRST,
    rate=0.16,
    interactions=True,
    subscriptions=True,
    past_policy="confounded",
)
"""Every table and every kind of offer."""


@pytest.fixture(scope="module")
def full_shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    shop = Shop(FULL)
    shop.write_history(tmp_path_factory.mktemp("full"))
    return shop


def lived(shop: Shop, policy: Any, weeks: int) -> list[Any]:
    return [shop.step(shop.week, policy(shop.visible()) if policy else None) for _ in range(weeks)]


def lucky(shop: Shop, luck: int) -> Shop:
    """The same world and moment, and other luck from here on."""
    twin = shop.fork()
    twin.world = replace(shop.world, luck_seed=luck)
    return twin


def in_order(table: pa.Table) -> pa.Table:
    return table.sort_by([(name, "ascending") for name in table.column_names])


# --- luck and chunks -----------------------------------------------------------------------------------------


def test_chunks_change_nothing_under_the_past_policy_with_passes_and_carts(tmp_path: Path) -> None:
    world = Shop(replace(FULL, customers=200, weeks=16)).world
    found = []
    for name, chunk in (("one", 200), ("many", 70)):
        (tmp_path / name).mkdir()
        ends = list(write_chunks(world, tmp_path / name, 1, chunk))
        names = ("interactions", "messages", "subscriptions", "truth/assignments")
        tables = [
            in_order(pa.concat_tables([end.tables[table] for end in ends if table in end.tables]))
            for table in names
        ]
        state = State.concat([end.state for end in ends])
        found.append((in_order(pq.read_table(tmp_path / name)), tables, state))
    (orders, tables, state), (orders_again, tables_again, state_again) = found

    assert orders.equals(orders_again) and all(
        a.num_rows > 10 and a.equals(b) for a, b in zip(tables, tables_again, strict=True)
    )
    assert all(np.array_equal(getattr(state, n), getattr(state_again, n)) for n in State.__slots__)


def test_without_effect_no_policy_changes_an_order(tmp_path: Path) -> None:
    shop = Shop(replace(FULL, customers=300, weeks=20, offer_effect=0.0, past_policy="none"))
    shop.write_history(tmp_path)
    alone = shop.fork()
    bare = lived(alone, None, 2)
    for policy in shipped(20).values():
        twin = shop.fork()
        for got, nothing in zip(lived(twin, policy, 2), bare, strict=True):
            assert got.orders.equals(nothing.orders)
            assert got.redemptions.num_rows == 0
    twin = shop.fork()
    for nothing in bare:
        assert twin.step(twin.week, oracle()(twin)).orders.equals(nothing.orders)


def test_a_policy_needs_no_truth(tmp_path: Path) -> None:
    """Everything in truth/ is gone, and every policy sends the same."""
    shop = Shop(replace(FULL, customers=300, weeks=30))
    paths = shop.write_history(tmp_path)
    sent = []
    for _ in range(2):
        twin = shop.fork()
        twin._alive().journal.kept = {}
        seen = [twin.visible() for _ in range(2) if twin.step(twin.week, None)]
        sent.append([policy(now) for policy in shipped(30).values() if policy for now in seen])
        shutil.rmtree(paths.truth, ignore_errors=True)

    assert sum(0 if table is None else table.num_rows for table in sent[0]) > 500
    for first, second in zip(*sent, strict=True):
        assert (first is None and second is None) or first.equals(second)


# --- the truth -----------------------------------------------------------------------------------------------


def mixed(shop: Shop, seed: int = 0) -> Any:
    """One offer of random kind, product, level and scope for everyone known."""
    rng = np.random.default_rng(seed)
    customers = shop.visible().customers["customer_id"].to_pylist()
    products = shop.visible().products["product_id"].to_pylist()
    n = len(customers)
    unnamed = rng.random(n) < 0.3
    table = as_table(
        pa.table(
            {
                "customer_id": customers,
                "kind": [KINDS[code] for code in rng.integers(0, len(KINDS), n)],
                "product_id": [
                    None if bare else products[row]
                    for bare, row in zip(unnamed, rng.integers(0, len(products), n), strict=True)
                ],
                "level": rng.choice([0.0, 0.1, 0.3], n),
                "basket": unnamed | (rng.random(n) < 0.5),
            }
        )
    )
    return table


def replications(shop: Shop, times: int, measure: Any) -> Floats:
    return np.array([measure(lucky(shop, 10_000 + turn)) for turn in range(times)])


def test_the_chance_an_offer_adds_is_what_replications_show(full_shop: Shop) -> None:
    """p₁ − p₀ of `effects` against 200 replications with other luck: within 3 standard errors, kind by kind."""
    now = full_shop.before()
    given = with_eligible(now, read_offers(full_shop.world, mixed(full_shop), now.week))
    told = effect_table(now, given)
    truth = np.asarray(told["incremental"])

    def caused(shop: Shop) -> Floats:
        outcome = advance(shop.world, now.customers, now.state.take(slice(None)), now.week, given)
        change = np.zeros(len(now.natural))
        change[outcome.buyers] = outcome.ordered.astype(float) - (outcome.natural & ~outcome.settled)
        return change[given.row]

    found = replications(full_shop, 200, caused)
    assert found.mean() > 0
    for group in [given.kind >= 0, *(given.kind == kind for kind in np.unique(given.kind))]:
        error = found[:, group].mean(axis=1).std(ddof=1) / np.sqrt(len(found))
        assert abs(found[:, group].mean() - truth[group].mean()) < 3 * error + 1e-9


def test_expected_profit_is_the_mean_of_what_is_earned(tmp_path: Path) -> None:
    """The expected ledger of a week against replications of it, offers and incentives of all kinds sent."""
    settings = replace(FULL, returns=False, guests=0.0, past_policy="none", offer_effect=1.0)
    shop = Shop(settings, world_seed=3)
    shop.write_history(tmp_path)
    table = mixed(shop, 1)

    def profits(twin: Shop) -> Floats:
        rows = twin.step(twin.week, table)
        totals = [pc.sum(rows.truth[name]).as_py() for name in ("margin", "contact", "incentive")]
        return np.array([(totals[0] - totals[1]) / 100, totals[2] / 100])

    found = replications(shop, 30, profits)
    expected = shop.fork().step(shop.week, table).expected
    assert expected is not None
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    for value, truth, spread in zip(
        found.mean(axis=0), (expected.profit.sum(), expected.incentive.sum()), error, strict=True
    ):
        assert abs(value - truth) < 3 * spread + 0.03 * value


def test_the_worth_told_of_an_offer_is_what_the_ledger_books_for_it(full_shop: Shop) -> None:
    now = full_shop.before()
    given = read_offers(full_shop.world, mixed(full_shop, 2), now.week)
    given = with_eligible(now, given)
    outcome = advance(full_shop.world, now.customers, now.state.take(slice(None)), now.week, given)
    booked = expect(now, outcome.response).profit - expect(now, None).profit

    assert np.allclose(booked[given.row], effects(now, given).week, atol=1e-9)


@pytest.mark.slow
def test_the_oracle_earns_more_than_every_shipped_policy(tmp_path: Path) -> None:
    shop = Shop(replace(FULL, past_policy="none", interactions=False), world_seed=5)
    shop.write_history(tmp_path)
    nothing = run(shop, None, 3, 4)
    best, _ = paired(run(shop, None, 3, 4, oracle=oracle()), nothing)
    others = {
        name: paired(run(shop, made, 3, 4), nothing)[0] for name, made in shipped(FIRST).items() if made
    }

    assert best > 0
    assert all(earned < best for earned in others.values()), (best, others)


def test_forks_are_paired_so_that_nothing_minus_nothing_is_zero(full_shop: Shop) -> None:
    assert paired(run(full_shop, None, 2, 1), run(full_shop, None, 2, 1)) == (0.0, 0.0)


def test_a_budget_once_used_leaves_offers_without_incentives(full_shop: Shop) -> None:
    free, bound = (run(full_shop, flat(0.2), 4, 0, budget=budget) for budget in (None, 1.0))

    assert 0 < bound.incentive.sum() < 0.5 * free.incentive.sum()
    assert abs(bound.messages.sum() / free.messages.sum() - 1) < 0.02
    assert without_incentives(None) is None


def test_the_truth_of_the_loop_is_written_beside_that_of_the_history(tmp_path: Path) -> None:
    shop = Shop(replace(FULL, customers=300, weeks=30))
    shop.write_history(tmp_path)
    lived(shop, random_offers(), 3)
    written = {path.stem: pq.read_table(path) for path in shop.write_truth()}

    assert set(written) == {"ledger", "assignments_since", "lapses_since"}
    assert set(written["ledger"]["week"].to_pylist()) == {30, 31, 32}
    assert set(written["assignments_since"]["propensity"].to_pylist()) == {1 / 24}
    assert set(written["lapses_since"]["event"].to_pylist()) <= {"lapsed", "returned"}
    assert {"contact", "fatigue", "unsubscribed", "moved", "settled"} <= set(written["ledger"].column_names)


# --- what is visible -----------------------------------------------------------------------------------------


def test_tables_grow_week_by_week_and_a_fork_sees_only_its_own(full_shop: Shop) -> None:
    shop, other = full_shop.fork(), full_shop.fork()
    before = shop.visible()
    rows = lived(shop, for_you(), 2)
    after = shop.visible()

    grown = sum(row.orders.num_rows for row in rows)
    assert after.orders.num_rows == before.orders.num_rows + grown == other.visible().orders.num_rows + grown
    assert len(after.lines().order) > len(before.lines().order)
    assert after.exposures.num_rows == before.exposures.num_rows + sum(r.exposures.num_rows for r in rows)
    assert after.clicks.num_rows == sum(row.clicks.num_rows for row in rows) > 0
    assert after.now - before.now == timedelta(weeks=2)


def test_who_unsubscribes_is_seen_as_a_consent_withdrawn(full_shop: Shop) -> None:
    shop = full_shop.fork()
    left: set[str] = set()
    for _ in range(4):
        truth = shop.step(shop.week, for_you()(shop.visible())).truth
        left |= set(truth.filter(truth["unsubscribed"])["customer_id"].to_pylist())
    customers = shop.visible().customers
    gone = customers.filter(pc.is_in(customers["customer_id"], value_set=pa.array(sorted(left))))

    assert left and not any(gone["consent_email"].to_pylist())


def test_the_past_policy_wrote_to_good_and_to_lapsed_customers_and_its_log_tells_no_score(
    full_shop: Shop,
) -> None:
    journal = full_shop._alive().journal
    log = full_shop.visible().exposures
    truth = pq.read_table(journal.folder / "truth" / "assignments.parquet")
    weeks = np.unique(np.asarray(truth["week"]))

    assert set(log.column_names) == {"customer_id", "kind", "product_id", "level", "basket", "occurred_at"}
    assert set(log["kind"].to_pylist()) == {"for_you", "win_back"} and not (weeks % 2).any()
    assert 0 < pc.min(truth["propensity"]).as_py() and pc.max(truth["propensity"]).as_py() <= 0.5
    assert truth.num_rows == log.num_rows


def test_passes_follow_one_another_and_points_belong_to_members(full_shop: Shop) -> None:
    shop = full_shop.fork()
    lived(shop, None, 5)
    seen = shop.visible()
    passes = seen.subscriptions
    assert passes is not None
    rows = sorted(zip(*(passes[name].to_pylist() for name in passes.column_names), strict=True))
    follows = [(a, b) for a, b in pairwise(rows) if a[0] == b[0]]
    assert len(follows) > 5 and all(
        first[1] == second[1] and second[2] >= first[3] for first, second in follows
    )
    customers = seen.customers
    member = np.asarray(pc.is_valid(customers["programme"]))
    assert np.array_equal(member, np.asarray(pc.is_valid(customers["points_balance"])))
    assert np.array_equal(member, np.asarray(pc.is_valid(customers["points_expire_at"])))
    assert pc.max(customers["points_balance"]).as_py() > 50
    assert pc.all(pc.greater(customers["points_expire_at"], pa.scalar(seen.now))).as_py()


def test_reminders_work_where_there_is_an_occasion_and_the_occasion_is_visible(full_shop: Shop) -> None:
    """A cart, a pass about to end, a birthday: the kind says nothing to whoever has none of them."""
    shop = full_shop.fork()
    lived(shop, None, 1)
    now, known = shop.before(), know(shop.visible())
    row = known.customer
    people = (now.state.status[row] == 1) & known.consent & (now.customers.response[row] > 0.2)
    row, nothing = row[people], np.full(int(people.sum()), -1)

    def moves(kind: str) -> Any:
        found = effects(now, alone(row, np.full(len(row), KINDS.index(kind)), nothing))
        return found.p_offer - found.p_none > 1e-9

    assert np.array_equal(moves("abandoned"), known.carted[people] >= 0) and moves("abandoned").mean() < 0.5
    assert np.array_equal(moves("renewal"), known.pass_product[people] >= 0)
    seen = known.birthday[people] | (known.points[people] > 0)
    assert moves("event")[seen].all() and seen.any()
    assert 0.02 < moves("event").mean() < 0.2


def test_an_incentive_on_a_product_moves_less_than_one_on_the_basket_and_cuts_only_its_price(
    full_shop: Shop,
) -> None:
    shop = full_shop.fork()
    now = shop.before()
    people = np.flatnonzero(now.state.subscribed & (now.state.status == 1))
    family = own_families(shop.world, now.customers, people, now.week)[:, 0]
    offers = alone(
        people, np.full(len(people), KINDS.index("for_you")), shop.world.catalogue.first[family], 0.3
    )
    on_product = with_eligible(now, replace(offers, basket=np.zeros(len(people), dtype=bool)))
    plain = effects(now, replace(offers, level=np.zeros(len(people))))
    whole, part = effects(now, offers), effects(now, on_product)

    assert (plain.p_offer <= part.p_offer + 1e-12).all() and (part.p_offer <= whole.p_offer + 1e-12).all()
    assert (on_product.eligible <= 1).all() and (on_product.usual <= on_product.eligible).all()
    sent = {
        "customer_id": effect_table(now, offers)["customer_id"],
        "kind": ["for_you"] * len(people),
        "product_id": effect_table(now, offers)["product_id"],
        "level": [0.3] * len(people),
    }
    got = shop.step(shop.week, pa.table(sent))
    wanted = dict(zip(sent["customer_id"].to_pylist(), sent["product_id"].to_pylist(), strict=True))
    used = got.redemptions.to_pylist()
    assert used and all(wanted[row["customer_id"]] == row["product_id"] for row in used)


# --- switches ------------------------------------------------------------------------------------------------


def switched(tmp_path: Path, **on: Any) -> Shop:
    shop = Shop(replace(FULL, customers=500, weeks=16, past_policy="none", interactions=False, **on))
    shop.write_history(tmp_path)
    return shop


def test_harmful_puts_off_two_in_five(tmp_path: Path) -> None:
    shop = switched(tmp_path, harmful=True)
    customers = shop.before().customers

    assert 0.33 < (customers.type == TYPES.index("put off")).mean() < 0.47
    assert 0.33 < (customers.response < 0).mean() < 0.47


def test_below_the_threshold_an_incentive_moves_nobody(tmp_path: Path) -> None:
    now = switched(tmp_path, threshold_effect=True).before()
    people = np.flatnonzero(now.state.subscribed & (now.state.status > 0))
    kind, bare = np.full(len(people), KINDS.index("win_back")), np.full(len(people), -1)
    none, small, enough = (effects(now, alone(people, kind, bare, level)) for level in (0.0, 0.1, 0.15))

    assert np.allclose(none.p_offer, small.p_offer) and (enough.p_offer > small.p_offer).mean() > 0.9


def test_delayed_orders_come_two_or_three_weeks_later(tmp_path: Path) -> None:
    shop = switched(tmp_path, delayed_response=True, offer_effect=12.0)
    first, *later = [shop.step(shop.week, flat(0.2)(shop.visible())), *lived(shop, None, 4)]
    caused = [pc.sum(rows.truth["caused"]).as_py() or 0 for rows in (first, *later)]

    assert caused[0] > 5 and caused[1] == 0 and caused[2] > 0 and caused[3] > 0 and caused[4] == 0
    assert 0.4 < caused[0] / sum(caused) < 0.75


def test_wrong_clicks_say_nothing_about_who_opened(tmp_path: Path) -> None:
    shop = switched(tmp_path, wrong_click=True)
    rows = shop.step(shop.week, for_you()(shop.visible()))
    truth = rows.truth.filter(rows.truth["sent"])
    clicked = np.asarray(
        pc.is_in(truth["customer_id"], value_set=rows.clicks["customer_id"].combine_chunks())
    )
    opened = np.asarray(truth["opened"])

    assert clicked.sum() > 20 and abs(np.corrcoef(clicked, opened)[0, 1]) < 0.2


def test_what_is_out_of_stock_shows_no_stock_and_is_not_sold(tmp_path: Path) -> None:
    shop = switched(tmp_path, stockouts=True)
    seen_out = 0
    for _ in range(4):
        products = shop.visible().products
        out = products.filter(pc.equal(products["stock"], 0))["product_id"]
        rows = shop.step(shop.week)
        sold = rows.orders.filter(pc.greater(rows.orders["quantity"], 0))["product_id"]
        seen_out += len(out)
        assert not set(out.to_pylist()) & set(sold.to_pylist())
    assert seen_out > 2


def test_tastes_drift_by_two_in_a_hundred_a_week(tmp_path: Path) -> None:
    shop = switched(tmp_path, drift=True)
    customers, rows = shop.before().customers, np.arange(500)
    early, late = (own_families(shop.world, customers, rows, week) for week in (20, 30))

    assert 0.1 < (early != late).any(axis=1).mean() < 0.3


def test_rules_write_refills_win_back_and_companions(full_shop: Shop) -> None:
    shop = full_shop.fork()
    kinds = [set(table["kind"].to_pylist()) for table in (rules()(shop.visible()),)]

    assert kinds[0] == {"replenishment", "win_back", "cross_sell"}
