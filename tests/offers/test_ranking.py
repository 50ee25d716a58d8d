"""What an offer is worth, recomputed by hand in decimals; which offers make the slate, by a plain loop."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from decimal import ROUND_HALF_EVEN, Decimal, getcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.offers import DROP, DROPS, KIND, KINDS, Slates
from nextoffer.offers.choosing import NOTHING, Context, Policy
from nextoffer.offers.eligibility import RULES
from nextoffer.offers.ranking import choose, value
from nextoffer.offers.recommend import choose_stored, score
from nextoffer.plugins import OFFER_KINDS

getcontext().prec = 40
KIND_NAMES = ("cross_sell", "up_sell", "for_you", "replenishment", "win_back")


def profit(
    bundle: Bundle, policy: Policy, kind: str, product: int, p_buy: float, level: Decimal, cost: Decimal
) -> tuple[Decimal, Decimal, int]:
    """(p_offer, expected profit, final price) as the interface defines them, in exact decimals."""
    price, unit_cost = (int(getattr(bundle.catalogue, name)[product]) for name in ("price", "unit_cost"))
    final = (price * (1 - level)).quantize(Decimal(1), rounding=ROUND_HALF_EVEN)
    p = Decimal(p_buy)
    lift = Decimal(float(policy.odds[KIND[kind]])) * Decimal(float(policy.odds_per_tenth[KIND[kind]])) ** (
        10 * level
    )
    odds = lift * p / (1 - p)
    p_offer = odds / (1 + odds)
    margin, incentive = Decimal(price - unit_cost) / 100, Decimal(price - int(final)) / 100
    return p_offer, (p_offer - p) * margin - p_offer * incentive - cost, int(final)


@pytest.mark.parametrize("contact_cost", [0.0, 0.01, 0.5])
def test_expected_profit_is_the_formula_and_the_discount_its_best_level(
    contact_cost: float, shop_bundle: Bundle, shop_policy: Policy
) -> None:
    candidates = shop_bundle.candidates.batch(np.arange(0, len(shop_bundle.knowledge.customers), 9))
    policy = replace(shop_policy, levels=(0.03, 0.05, 0.1, 0.2))
    levels = [Decimal("0.03"), Decimal("0.05"), Decimal("0.1"), Decimal("0.2")]

    valued = value(shop_bundle, candidates, policy, contact_cost)

    seen = set()
    for at in range(len(candidates)):
        kind, product = KINDS[candidates.kind[at]], int(candidates.product[at])
        p_buy = float(candidates.p_buy[at])
        options = [
            (level, *profit(shop_bundle, policy, kind, product, p_buy, level, Decimal(contact_cost)))
            for level in (levels if kind == "win_back" else [Decimal(0)])
        ]
        unit_cost = int(shop_bundle.catalogue.unit_cost[product])
        kept = [option for option in options if option[3] - unit_cost >= Decimal("0.05") * option[3]]
        if not kept:
            continue  # the margin floor drops it
        level, p_offer, worth, final = max(kept, key=lambda option: (option[2], -option[0]))
        assert valued.level[at] == pytest.approx(float(level))
        assert valued.final_price[at] == final
        assert valued.p_offer[at] == pytest.approx(float(p_offer), rel=1e-9)
        assert valued.expected_profit[at] == pytest.approx(float(worth), rel=1e-7, abs=1e-9)
        seen.add((kind, level))
    assert {kind for kind, _ in seen} == set(KIND_NAMES)
    assert len({level for kind, level in seen if kind == "win_back"}) >= 2  # the best level is not always one


def everyone(bundle: Bundle) -> np.ndarray:
    return np.arange(len(bundle.knowledge.customers))


@pytest.mark.parametrize("order_by", ["expected_profit", "p_buy"])
@pytest.mark.parametrize(
    ("n", "kinds", "max_per_kind"),
    [(4, None, 2), (1, None, 2), (10, ("for_you",), 2), (6, ("up_sell", "win_back"), 1)],
)
def test_a_slate_is_what_taking_the_best_one_by_one_gives(
    n: int,
    kinds: tuple[str, ...] | None,
    max_per_kind: int,
    order_by: str,
    shop_bundle: Bundle,
    shop_policy: Policy,
) -> None:
    policy = replace(shop_policy, n=n, max_per_kind=max_per_kind, order_by=order_by, min_expected_profit=0.01)
    codes = None if kinds is None else tuple(KIND[kind] for kind in kinds)
    per_kind = max(max_per_kind, -(-n // len(kinds or KINDS)))
    rows = everyone(shop_bundle)
    candidates = shop_bundle.candidates.batch(rows)
    valued = value(shop_bundle, candidates, policy, 0.0)
    merit = candidates.p_buy if order_by == "p_buy" else valued.expected_profit

    slates = choose_stored(shop_bundle, rows, policy, Context(kinds=codes))

    failed = {
        (int(c), int(k), int(p))
        for c, k, p, reason in zip(
            slates.dropped_customer,
            slates.dropped_kind,
            slates.dropped_product,
            slates.dropped_reason,
            strict=True,
        )
        if reason < len(RULES)
    }
    for row in rows.tolist():
        at = np.flatnonzero(candidates.customer == row).tolist()
        keys = {i: (row, int(candidates.kind[i]), int(candidates.product[i])) for i in at}
        free = [i for i in at if keys[i] not in failed and valued.expected_profit[i] > 0.01]
        free = [i for i in free if kinds is None or KINDS[candidates.kind[i]] in kinds]
        free.sort(key=lambda i: (-merit[i], candidates.product[i], candidates.kind[i]))
        taken: list[tuple[int, int]] = []
        for i in free:
            kind, product = keys[i][1:]
            if product in {p for _, p in taken}:
                continue
            taken.append((kind, product))
        full: Counter[int] = Counter()
        best = []
        for kind, product in taken:
            full[kind] += 1
            if full[kind] <= per_kind:
                best.append((kind, product))
        mine = slates.customer == row
        assert list(zip(slates.kind[mine].tolist(), slates.product[mine].tolist(), strict=True)) == best[:n]
        assert slates.rank[mine].tolist() == list(range(1, mine.sum() + 1))


def test_a_slate_holds_no_product_twice_and_no_kind_too_often(
    shop_bundle: Bundle, shop_policy: Policy
) -> None:
    slates = choose_stored(shop_bundle, everyone(shop_bundle), shop_policy)

    pairs = Counter(zip(slates.customer.tolist(), slates.product.tolist(), strict=True))
    kinds = Counter(zip(slates.customer.tolist(), slates.kind.tolist(), strict=True))
    assert max(pairs.values()) == 1
    assert max(kinds.values()) == shop_policy.max_per_kind
    assert max(Counter(slates.customer.tolist()).values()) == shop_policy.n


def test_below_the_minimum_value_nothing_is_offered(shop_bundle: Bundle, shop_policy: Policy) -> None:
    rows = everyone(shop_bundle)
    all_of_them = choose_stored(shop_bundle, rows, shop_policy)
    least = float(np.median(all_of_them.expected_profit))

    slates = choose_stored(shop_bundle, rows, replace(shop_policy, min_expected_profit=least))
    dear = choose_stored(shop_bundle, rows, replace(shop_policy, min_expected_profit=1e9))

    assert (slates.expected_profit > least).all() and len(slates) > 0
    assert len(dear) == 0
    assert set(dear.dropped_reason.tolist()) <= {*range(len(RULES)), DROP["low-value"]}


def test_a_message_is_charged_what_it_costs(shop_bundle: Bundle, shop_policy: Policy) -> None:
    rows = everyone(shop_bundle)
    policy = replace(shop_policy, contact_cost=0.02, n=100, max_per_kind=100, min_expected_profit=-1.0)
    shown, sent = (
        choose_stored(shop_bundle, rows, policy, Context(contact=contact)) for contact in (False, True)
    )

    assert shown.product.tolist() == sent.product.tolist()
    np.testing.assert_allclose(shown.expected_profit - sent.expected_profit, 0.02, atol=1e-12)


def test_no_offer_sells_below_the_floor_and_only_win_back_is_discounted(
    shop_bundle: Bundle, shop_policy: Policy
) -> None:
    slates = choose_stored(shop_bundle, everyone(shop_bundle), replace(shop_policy, n=50, max_per_kind=50))
    left = slates.final_price - shop_bundle.catalogue.unit_cost[slates.product]
    discounted = slates.kind == KIND["win_back"]

    assert (20 * left >= slates.final_price).all()
    assert (slates.level[~discounted] == 0).all() and (slates.level[discounted] > 0).all()
    assert (slates.final_price[~discounted] == slates.list_price[~discounted]).all()
    assert (slates.expected_profit > 0).all()


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_candidate_is_on_the_slate_or_dropped_with_a_reason(
    seed: int, shop_bundle: Bundle, shop_policy: Policy
) -> None:
    rng = np.random.default_rng(seed)
    n = len(shop_bundle.catalogue)
    rows = rng.integers(0, len(shop_bundle.knowledge.customers), 15)
    candidates = shop_bundle.candidates.batch(rows)
    context = Context(
        allowed=rng.random(n) < 0.9,
        cart=rng.choice(n, 9),
        bought=rng.choice(n, 3),
        contact=bool(rng.integers(2)),
    )

    slates = choose(shop_bundle, rows, candidates, shop_policy, context)

    offered = Counter(
        zip(slates.customer.tolist(), slates.kind.tolist(), slates.product.tolist(), strict=True)
    )
    dropped = Counter(
        zip(
            slates.dropped_customer.tolist(),
            slates.dropped_kind.tolist(),
            slates.dropped_product.tolist(),
            strict=True,
        )
    )
    given_ = Counter(
        zip(candidates.customer.tolist(), candidates.kind.tolist(), candidates.product.tolist(), strict=True)
    )
    assert offered + dropped == given_
    assert ((slates.dropped_reason >= 0) & (slates.dropped_reason < len(DROPS))).all()


def slates_of(slates: Slates, customers: np.ndarray) -> list[list[tuple[object, ...]]]:
    """One list per customer of the batch: all columns of its offers, and what was dropped."""
    names = [field.name for field in fields(Slates)]
    offers = [name for name in names if not name.startswith("dropped") and name != "customer"]
    drops = [name for name in names if name.startswith("dropped") and name != "dropped_customer"]
    out = []
    for position in range(len(customers)):
        mine, gone = slates.customer == position, slates.dropped_customer == position
        out.append(
            list(zip(*(getattr(slates, name)[mine].tolist() for name in offers), strict=True))
            + list(zip(*(getattr(slates, name)[gone].tolist() for name in drops), strict=True))
        )
    return out


@pytest.fixture(scope="module")
def one_batch(shop_bundle: Bundle, shop_policy: Policy) -> list[list[tuple[object, ...]]]:
    rows = everyone(shop_bundle)
    return slates_of(choose_stored(shop_bundle, rows, shop_policy), rows)


@pytest.mark.parametrize("size", [1, 7, 100])
def test_batch_size_never_changes_a_slate(
    size: int, one_batch: list[list[tuple[object, ...]]], shop_bundle: Bundle, shop_policy: Policy
) -> None:
    """From scratch: scored and chosen in batches of one size, by the very functions of the nightly job."""
    rows = everyone(shop_bundle)[: 60 if size == 1 else None]
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    got = [
        slate
        for batch in batches
        for slate in slates_of(
            choose(shop_bundle, batch, score(shop_bundle, batch, OFFER_KINDS), shop_policy, NOTHING), batch
        )
    ]

    assert got == one_batch[: len(rows)]


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_neither_the_batch_nor_its_order_changes_a_slate(
    data: st.DataObject,
    one_batch: list[list[tuple[object, ...]]],
    shop_bundle: Bundle,
    shop_policy: Policy,
) -> None:
    rows = np.array(data.draw(st.lists(st.integers(0, len(one_batch) - 1), min_size=1, max_size=80)))

    fresh = choose(shop_bundle, rows, score(shop_bundle, rows, OFFER_KINDS), shop_policy, NOTHING)
    stored = choose_stored(shop_bundle, rows, shop_policy)

    expected = [one_batch[row] for row in rows.tolist()]
    assert slates_of(fresh, rows) == expected
    assert slates_of(stored, rows) == expected
