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
from nextoffer.config import Settings
from nextoffer.domain.kinds import DROP, DROPS, KIND, KINDS, OPTION_DROPS, REASON, RULE_DROPS, TERMS
from nextoffer.domain.offers import Candidates, Slates
from nextoffer.domain.tables import SEGMENTS
from nextoffer.offers.choosing import NOTHING, Context, Policy
from nextoffer.offers.ranking import choose, decide
from nextoffer.offers.recommend import choose_stored, score
from nextoffer.plugins import OFFER_KINDS

getcontext().prec = 40
KIND_NAMES = ("cross_sell", "up_sell", "for_you", "replenishment", "win_back")


LEVELS = (0.03, 0.05, 0.1, 0.2)


def worth(
    bundle: Bundle,
    policy: Policy,
    row: int,
    kind: str,
    product: int,
    p_buy: float,
    level: Decimal,
    contact: float,
) -> tuple[Decimal, dict[str, Decimal], int]:
    """(p_offer, the terms of the expected profit, final price) as value.py defines them, in exact decimals."""
    catalogue, customers, beliefs = bundle.catalogue, bundle.knowledge.customers, policy.beliefs
    price, unit_cost = int(catalogue.price[product]), int(catalogue.unit_cost[product])
    final = (price * (1 - level)).quantize(Decimal(1), rounding=ROUND_HALF_EVEN)
    sold = [Decimal(int(n)) for n in bundle.knowledge.products.n_orders]
    takings = sum(n * int(p) for n, p in zip(sold, catalogue.price, strict=True))
    earned = sum(n * int(p - c) for n, p, c in zip(sold, catalogue.price, catalogue.unit_cost, strict=True))
    mean = Decimal(float(customers.monetary.sum())) / int(customers.frequency.sum())
    frequency = int(customers.frequency[row])
    basket = (Decimal(float(customers.monetary[row])) + 2 * mean) / (frequency + 2)
    order, margin = basket * earned / takings, Decimal(price - unit_cost) / 100
    saved = Decimal(price - int(final)) / 100
    p, code = Decimal(p_buy), KIND[kind]
    p_any = max(Decimal(float(customers.p_order[row])), p)
    delta = Decimal(float(beliefs.order[code])) + Decimal(
        float(beliefs.order_per_tenth[code])
    ) * 10 * saved / max(basket, Decimal(price) / 100)
    silent = Decimal(int(customers.recency_days[row]))
    caused = delta * Decimal(2) ** (-silent / Decimal(beliefs.half_life_days)) * (1 - p_any)
    share = p / p_any
    off = Decimal(price - int(final)) / price
    lift = Decimal(float(beliefs.odds[code])) * Decimal(float(beliefs.odds_per_tenth[code])) ** (10 * off)
    after = lift * share / (1 - share + lift * share)
    p_offer = (p_any + caused) * after
    pace = Decimal(frequency) / max(Decimal(int(customers.first_age_days[row])), Decimal(28))
    later = Decimal(float(customers.p_lapsed[row])) * min(pace * beliefs.later_days, Decimal(3))
    own = 1 - (1 - p_any) ** (Decimal(70) / 28)
    terms = {
        "product": (p_offer - p) * margin,
        "basket": caused * max(order - share * margin, Decimal(0)),
        "later": caused * later * order,
        "moved": -caused * order * Decimal(beliefs.moved_share) * own,
        "incentive": -p_offer * saved,
        "contact": -Decimal(contact),
    }
    return p_offer, terms, int(final)


@pytest.mark.parametrize("contact_cost", [0.0, 0.01, 0.5])
def test_expected_profit_is_the_sum_of_its_terms_and_the_incentive_the_best_that_may_be_given(
    contact_cost: float, shop_bundle: Bundle, shop_settings: Settings
) -> None:
    changed = shop_settings.model_copy(
        update={"offers": shop_settings.offers.model_copy(update={"win_back_levels": LEVELS})}
    )
    policy = replace(Policy.of(changed), contact_cost=contact_cost)
    rows = np.arange(0, len(shop_bundle.knowledge.customers), 9)
    candidates = shop_bundle.candidates.batch(rows)

    choice = decide(shop_bundle, rows, candidates, policy, Context(contact=True))

    levels = {0: Decimal(0)} | {at: Decimal(str(level)) for at, level in enumerate(LEVELS, 1)}
    seen = set()
    for at in range(len(candidates)):
        kind, product = KINDS[candidates.kind[at]], int(candidates.product[at])
        row, p_buy = int(rows[candidates.customer[at]]), float(candidates.p_buy[at])
        if DROPS[choice.drop[at]] in ("hidden", "restricted") or shop_bundle.catalogue.price[product] <= 0:
            continue
        allowed = levels if kind == "win_back" else {0: Decimal(0)}
        options = {
            menu: worth(shop_bundle, policy, row, kind, product, p_buy, level, contact_cost)
            for menu, level in allowed.items()
        }
        unit_cost = int(shop_bundle.catalogue.unit_cost[product])
        kept = [
            menu for menu, (_, _, final) in options.items() if final - unit_cost >= Decimal("0.05") * final
        ]
        if not kept:
            assert DROPS[choice.drop[at]] in RULE_DROPS or DROPS[choice.drop[at]] == "margin-floor"
            continue
        best = max(kept, key=lambda menu: (sum(options[menu][1].values()), -menu))
        p_offer, terms, final = options[best]
        option = choice.best[at]
        assert choice.option.incentive[option] == best
        assert choice.option.deal.final[option] == final
        assert choice.valued.p_offer[option] == pytest.approx(float(p_offer), rel=1e-6)
        for column, name in enumerate(TERMS):
            found = choice.valued.terms[option, column]
            assert found == pytest.approx(float(terms[name]), rel=1e-5, abs=1e-9), name
        total = float(sum(terms.values()))
        assert choice.valued.profit[option] == pytest.approx(total, rel=1e-5, abs=1e-9)
        seen.add((kind, best))
    assert {kind for kind, _ in seen} >= set(KIND_NAMES)
    assert len({menu for kind, menu in seen if kind == "win_back"}) >= 2  # the best level is not always one


def test_a_reminder_of_what_they_buy_anyway_is_worth_little(shop_bundle: Bundle, shop_policy: Policy) -> None:
    """The same product, the same margin: the surer the purchase, the less there is to cause."""
    row = int(np.argmax(shop_bundle.knowledge.customers.p_order))
    product = int(np.argmax(shop_bundle.catalogue.price - shop_bundle.catalogue.unit_cost))
    chances = np.array([0.3, 0.6, 0.9, 0.99], np.float32)
    n = len(chances)
    sure = Candidates.learned(
        np.arange(n, dtype=np.int32),
        np.full(n, KIND["replenishment"], np.int8),
        np.full(n, product, np.int32),
        np.full(n, product, np.int32),
        np.full(n, REASON["due-for-refill"], np.int8),
        chances,
    )

    choice = decide(shop_bundle, np.full(n, row), sure, shop_policy, NOTHING)

    profit = choice.valued.profit[choice.best]
    assert (np.diff(profit) < 0).all() and profit[-1] < 0.1 * profit[0]


def test_what_was_measured_of_segments_says_nothing_of_who_has_none(
    shop_bundle: Bundle, shop_policy: Policy
) -> None:
    product = int(np.argmax(shop_bundle.catalogue.price - shop_bundle.catalogue.unit_cost))
    one, rows = np.ones(2, np.int32), np.array([-1, 0])
    made = Candidates.learned(
        np.arange(2, dtype=np.int32), one * KIND["for_you"], one * product, one * -1, one * 0, one * 0.1
    )
    measured = np.full((len(KINDS), len(SEGMENTS), len(shop_policy.menu)), 3.0)
    learned = replace(shop_policy, beliefs=replace(shop_policy.beliefs, measured=measured))

    before, after = (decide(shop_bundle, rows, made, policy, NOTHING) for policy in (shop_policy, learned))

    gain = after.valued.p_offer[after.best] - before.valued.p_offer[before.best]
    assert gain[0] == 0 < gain[1]


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
    choice = decide(shop_bundle, rows, candidates, policy, NOTHING)
    profit = choice.valued.profit[choice.best]
    merit = candidates.p_buy if order_by == "p_buy" else profit

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
        if DROPS[reason] in RULE_DROPS + OPTION_DROPS
    }
    for row in rows.tolist():
        at = np.flatnonzero(candidates.customer == row).tolist()
        keys = {i: (row, int(candidates.kind[i]), int(candidates.product[i])) for i in at}
        free = [i for i in at if keys[i] not in failed and profit[i] > 0.01]
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
    assert set(dear.dropped_reason.tolist()) <= {*range(DROP["low-value"] + 1)}


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
    assert (slates.incentive[~discounted] == 0).all() and (slates.incentive[discounted] > 0).any()
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


def _plain(column: np.ndarray) -> list[object]:
    return [tuple(item) if isinstance(item, list) else item for item in column.tolist()]


def slates_of(slates: Slates, customers: np.ndarray) -> list[list[tuple[object, ...]]]:
    """One list per customer of the batch: all columns of its offers, and what was dropped."""
    names = [field.name for field in fields(Slates)]
    offers = [name for name in names if not name.startswith("dropped") and name != "customer"]
    drops = [name for name in names if name.startswith("dropped") and name != "dropped_customer"]
    out = []
    for position in range(len(customers)):
        mine, gone = slates.customer == position, slates.dropped_customer == position
        out.append(
            list(zip(*(_plain(getattr(slates, name)[mine]) for name in offers), strict=True))
            + list(zip(*(_plain(getattr(slates, name)[gone]) for name in drops), strict=True))
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
