"""Each rule against a plain loop; the first that fails is the one named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextoffer.bundle.bundle import Bundle
from nextoffer.config import Exclude
from nextoffer.domain.kinds import DROP, DROPS, KIND, KINDS, OPTION_DROPS, REASON, RULE_DROPS
from nextoffer.domain.offers import Candidates
from nextoffer.features.diary import Returned
from nextoffer.offers.choosing import NOTHING, Context, Policy
from nextoffer.offers.eligibility import OPTION_RULES, RULES, Question, first_failure, last_age_days
from nextoffer.offers.ranking import options_of
from nextoffer.offers.shelf import shelf_of

SEEDS = st.integers(0, 2**32 - 1)
RULE = dict(RULES)


def asked(bundle: Bundle, policy: Policy, seed: int, context: Context = NOTHING) -> Question:
    """Random candidates, one in three a product really bought, of random customers, some unknown."""
    rng = np.random.default_rng(seed)
    pairs = bundle.knowledge.pairs
    rows = rng.integers(-1, len(bundle.knowledge.customers), 20)
    n = 120
    customer = np.sort(rng.integers(0, len(rows), n)).astype(np.int32)
    product = rng.integers(0, len(bundle.catalogue), n).astype(np.int32)
    for at in np.flatnonzero((rng.random(n) < 0.33) & (rows[customer] >= 0)):
        row = rows[customer[at]]
        product[at] = rng.choice(pairs.product[pairs.indptr[row] : pairs.indptr[row + 1]])
    kind = rng.choice([KIND[k] for k in ("cross_sell", "up_sell", "for_you", "replenishment", "win_back")], n)
    reason = np.full(n, REASON["popular-now"], np.int8)
    p_buy = rng.random(n).astype(np.float32)
    candidates = Candidates.learned(
        customer, kind.astype(np.int8), product, np.full(n, -1, np.int32), reason, p_buy
    )
    return Question(bundle, shelf_of(bundle, policy), rows, candidates, policy, context)


def by_loop(q: Question, fails: Callable[[int, str, int], bool]) -> list[bool]:
    """`fails(customer row, kind, product)` of every candidate."""
    c = q.candidates
    return [
        bool(fails(int(q.rows[at]), KINDS[kind], int(product)))
        for at, kind, product in zip(c.customer, c.kind, c.product, strict=True)
    ]


def age_of(bundle: Bundle, row: int, product: int) -> int | None:
    pairs = bundle.knowledge.pairs
    for at in range(pairs.indptr[row], pairs.indptr[row + 1]) if row >= 0 else ():
        if pairs.product[at] == product:
            return int(pairs.last_age_days[at])
    return None


@given(seed=SEEDS)
def test_a_hidden_product_or_one_without_price_is_dropped(
    seed: int, shop_bundle: Bundle, shop_policy: Policy
) -> None:
    rng = np.random.default_rng(seed)
    n = len(shop_bundle.catalogue)
    catalogue = replace(shop_bundle.catalogue, hidden=rng.random(n) < 0.2, price=rng.integers(0, 4, n))
    q = asked(replace(shop_bundle, catalogue=catalogue), shop_policy, seed)

    expected = by_loop(q, lambda row, kind, p: catalogue.hidden[p] or catalogue.price[p] == 0)
    assert RULE["hidden"](q).tolist() == expected


@given(seed=SEEDS)
def test_a_restricted_product_is_dropped(seed: int, shop_bundle: Bundle, shop_policy: Policy) -> None:
    restricted = np.random.default_rng(seed).random(len(shop_bundle.catalogue)) < 0.3
    bundle = replace(shop_bundle, catalogue=replace(shop_bundle.catalogue, restricted=restricted))
    q = asked(bundle, shop_policy, seed)

    assert RULE["restricted"](q).tolist() == by_loop(q, lambda row, kind, p: restricted[p])


@given(seed=SEEDS, now=st.booleans())
def test_what_is_out_of_stock_is_dropped_and_what_is_not_tracked_is_not(
    seed: int, now: bool, shop_bundle: Bundle, shop_policy: Policy
) -> None:
    rng = np.random.default_rng(seed)
    stock = rng.choice([np.nan, 0.0, -1.0, 0.5, 7.0], len(shop_bundle.catalogue))
    if now:  # the stock of this moment wins over tonight's
        q = asked(shop_bundle, shop_policy, seed, Context(stock=stock))
    else:
        bundle = replace(shop_bundle, catalogue=replace(shop_bundle.catalogue, stock=stock))
        q = asked(bundle, shop_policy, seed)

    assert RULE["out-of-stock"](q).tolist() == by_loop(q, lambda row, kind, p: stock[p] <= 0)


@given(seed=SEEDS, repurchase_days=st.integers(0, 400), live=st.booleans())
def test_what_was_bought_lately_is_dropped_unless_it_is_repeatable(
    seed: int, repurchase_days: int, live: bool, shop_bundle: Bundle, shop_policy: Policy
) -> None:
    rng = np.random.default_rng(seed)
    n = len(shop_bundle.catalogue)
    repeatable = rng.random(n) < 0.5
    bundle = replace(shop_bundle, catalogue=replace(shop_bundle.catalogue, repeatable=repeatable))
    bought = rng.choice(n, 30, replace=False) if live else None
    q = asked(bundle, replace(shop_policy, repurchase_days=repurchase_days), seed, Context(bought=bought))
    now = set() if bought is None else set(bought.tolist())

    def fails(row: int, kind: str, product: int) -> bool:
        age = age_of(bundle, row, product)
        lately = (age is not None and age < repurchase_days) or product in now
        refilled = kind == "replenishment" and product in now
        return (lately and not repeatable[product]) or refilled or (live and kind == "win_back")

    assert RULE["bought-recently"](q).tolist() == by_loop(q, fails)


@given(seed=SEEDS)
def test_the_age_of_a_purchase_is_that_of_the_customers_own(
    seed: int, shop_bundle: Bundle, shop_policy: Policy
) -> None:
    q = asked(shop_bundle, shop_policy, seed)
    c = q.candidates
    ages = [age_of(shop_bundle, int(q.rows[at]), int(p)) for at, p in zip(c.customer, c.product, strict=True)]

    assert last_age_days(q).tolist() == [1_000_000 if age is None else age for age in ages]


@given(seed=SEEDS, floor_share=st.sampled_from([0.0, 0.05, 0.2, 0.333]))
def test_nothing_is_sold_below_the_margin_floor_even_at_the_smallest_discount(
    seed: int, floor_share: float, shop_bundle: Bundle, shop_policy: Policy
) -> None:
    rng = np.random.default_rng(seed)
    n = len(shop_bundle.catalogue)
    price = rng.integers(1, 400, n)
    catalogue = replace(shop_bundle.catalogue, price=price, unit_cost=rng.integers(0, 400, n))
    bundle = replace(shop_bundle, catalogue=catalogue)
    q = asked(bundle, replace(shop_policy, floor_share=floor_share), seed)

    option, _, _, fails = options_of(q)

    for at, candidate in enumerate(option.candidate.tolist()):
        product = int(q.candidates.product[candidate])
        level = Decimal(int(shop_policy.menu.millionths[option.incentive[at]])) / 1_000_000
        final = round(int(price[product]) * (1 - level))  # half to even
        share = Fraction(str(floor_share))
        below = final <= 0 or final - int(catalogue.unit_cost[product]) < share * final
        assert (fails[at] == DROP["margin-floor"]) == below


@given(seed=SEEDS)
def test_what_is_in_the_cart_is_dropped(seed: int, shop_bundle: Bundle, shop_policy: Policy) -> None:
    cart = np.random.default_rng(seed).choice(len(shop_bundle.catalogue), 40, replace=False)
    q = asked(shop_bundle, shop_policy, seed, Context(cart=cart))

    assert RULE["in-cart"](q).tolist() == by_loop(q, lambda row, kind, p: p in set(cart.tolist()))


@given(seed=SEEDS, contact=st.booleans(), per_day=st.integers(0, 3), per_week=st.integers(0, 6))
def test_one_message_too_many_drops_all_of_a_customers_offers(
    seed: int, contact: bool, per_day: int, per_week: int, shop_bundle: Bundle, shop_policy: Policy
) -> None:
    rng = np.random.default_rng(seed)
    today, week = rng.integers(0, 4, 20), rng.integers(0, 7, 20)
    policy = replace(shop_policy, max_per_day=per_day, max_per_week=per_week)
    q = asked(shop_bundle, policy, seed, Context(contact=contact, messages_today=today, messages_week=week))

    expected = [contact and (today[c] + 1 > per_day or week[c] + 1 > per_week) for c in q.candidates.customer]
    assert RULE["contact-cap"](q).tolist() == expected


@given(seed=SEEDS)
def test_what_a_filter_leaves_out_is_dropped(seed: int, shop_bundle: Bundle, shop_policy: Policy) -> None:
    allowed = np.random.default_rng(seed).random(len(shop_bundle.catalogue)) < 0.5
    q = asked(shop_bundle, shop_policy, seed, Context(allowed=allowed))

    assert RULE["filtered"](q).tolist() == by_loop(q, lambda row, kind, p: not allowed[p])


def test_rules_are_asked_in_the_order_of_their_codes() -> None:
    asked_for = [name for name, _ in RULES]
    assert asked_for == [name for name in RULE_DROPS if name in asked_for]
    assert [name for name, _ in OPTION_RULES] == list(OPTION_DROPS)


@given(seed=SEEDS)
def test_rules_about_customers_hold_for_all_their_offers(
    seed: int, shop_bundle: Bundle, shop_policy: Policy
) -> None:
    flagged = np.random.default_rng(seed).random((4, 20)) < 0.4
    names = ("no_consent", "held_out", "capped", "event_made")
    context = Context(contact=True, **dict(zip(names, flagged, strict=True)))
    q = asked(shop_bundle, shop_policy, seed, context)
    customer, event = q.candidates.customer, q.candidates.kind == KIND["event"]

    assert RULE["no-consent"](q).tolist() == flagged[0][customer].tolist()
    assert RULE["holdout"](q).tolist() == flagged[1][customer].tolist()
    assert RULE["contact-cap"](q).tolist() == flagged[2][customer].tolist()
    assert RULE["once-a-year"](q).tolist() == (flagged[3][customer] & event).tolist()
    mail = replace(q, context=replace(context, transactional=True, quiet=True))
    assert not RULE["contact-cap"](mail).any() and not RULE["quiet-hours"](mail).any()
    assert RULE["quiet-hours"](replace(q, context=replace(context, quiet=True))).all()


@given(seed=SEEDS)
def test_what_a_customer_sent_back_is_not_offered_again(
    seed: int, shop_bundle: Bundle, shop_policy: Policy
) -> None:
    rng = np.random.default_rng(seed)
    sent = {
        (int(row), int(product))
        for row in range(len(shop_bundle.knowledge.customers))
        for product in rng.choice(len(shop_bundle.catalogue), 20, replace=False)
    }
    customer, product = np.array(sorted(sent), dtype=np.int32).T
    diary = replace(shop_bundle.diary, returned=Returned(customer, product))
    q = asked(replace(shop_bundle, diary=diary), shop_policy, seed)

    assert RULE["returned"](q).tolist() == by_loop(q, lambda row, kind, p: (row, p) in sent)


@given(seed=SEEDS)
def test_an_excluded_product_brand_or_category_is_dropped_with_all_below_it(
    seed: int, shop_bundle: Bundle, shop_policy: Policy
) -> None:
    rng = np.random.default_rng(seed)
    catalogue = shop_bundle.catalogue
    ids, brands, paths = (list(column) for column in (catalogue.ids, catalogue.brand, catalogue.category))
    product, brand, path = (
        str(rng.choice([one for one in column if one])) for column in (ids, brands, paths)
    )
    department = str(rng.choice([one for one in paths if one])).split(" > ")[0]
    exclude = Exclude(products=(product, f"{ids[0]}*"), brands=(brand,), categories=(path, department))
    q = asked(shop_bundle, replace(shop_policy, exclude=exclude), seed)

    def out(row: int, kind: str, p: int) -> bool:
        named = ids[p] == product or str(ids[p]).startswith(str(ids[0]))
        below = any(paths[p] == one or str(paths[p]).startswith(f"{one} >") for one in (path, department))
        return named or brands[p] == brand or below

    assert RULE["excluded"](q).tolist() == by_loop(q, out)


@settings(max_examples=30)
@given(seed=SEEDS)
def test_the_first_rule_that_fails_is_named(seed: int, shop_bundle: Bundle, shop_policy: Policy) -> None:
    rng = np.random.default_rng(seed)
    n = len(shop_bundle.catalogue)
    flags: dict[str, Any] = {name: rng.random(n) < 0.3 for name in ("hidden", "restricted", "repeatable")}
    stock = rng.choice([np.nan, 0.0, 3.0], n)
    catalogue = replace(shop_bundle.catalogue, unit_cost=rng.integers(0, 900, n), stock=stock, **flags)
    context = Context(
        allowed=rng.random(n) < 0.7,
        cart=rng.choice(n, 30, replace=False),
        bought=rng.choice(n, 30, replace=False),
        contact=True,
        messages_today=rng.integers(0, 2, 20),
    )
    policy = replace(shop_policy, repurchase_days=90)
    q = asked(replace(shop_bundle, catalogue=catalogue), policy, seed, context)
    failed = {name: rule(q) for name, rule in RULES}

    expected = [
        next((DROPS.index(name) for name in failed if failed[name][at]), -1)
        for at in range(len(q.candidates))
    ]
    assert first_failure(q).tolist() == expected


@pytest.mark.parametrize("rule", RULE)
def test_no_candidates_are_no_trouble(rule: str, shop_bundle: Bundle, shop_policy: Policy) -> None:
    q = asked(shop_bundle, shop_policy, 0)
    nothing = replace(q, candidates=q.candidates.take(np.zeros(0, np.int64)))

    assert RULE[rule](nothing).tolist() == []
