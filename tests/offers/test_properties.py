"""Random shops, rules and requests: every promise a slate makes, told again in plain Python, offer by offer."""

from __future__ import annotations

import csv
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fnmatch import fnmatchcase
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from benchmarks.bench_choose import make_candidates, make_shop
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from nextoffer.bundle.bundle import Bundle
from nextoffer.config import Campaign, Contact, Experiment, IncentiveTerms, Settings, parse_settings
from nextoffer.domain.kinds import DROPS, INCENTIVES, KIND, KINDS, REASON, RULE_DROPS, TERMS
from nextoffer.domain.menu import Menu
from nextoffer.domain.offers import Candidates, Slates
from nextoffer.offers.choosing import ByHand, Context, Policy
from nextoffer.offers.ranking import choose, decide, slates_of
from nextoffer.offers.spending import decide_within, spent
from nextoffer.pipeline import export
from nextoffer.pipeline.analysis import OpenShop
from nextoffer.tracking.holdout import groups
from nextoffer.tracking.ledger import open_ledger

SEEDS = st.integers(0, 2**32 - 1)
N_PRODUCTS, N_CUSTOMERS, EACH = 40, 8, 40


@dataclass(frozen=True)
class Case:
    """One random shop with a request for everybody in it."""

    settings: Settings
    bundle: Bundle
    policy: Policy
    rows: np.ndarray
    candidates: Candidates
    context: Context

    def slates(self) -> Slates:
        return choose(self.bundle, self.rows, self.candidates, self.policy, self.context)


def some(rng: np.random.Generator, items: Any, share: float = 0.5) -> list[Any]:
    return [item for item in items if rng.random() < share]


def random_settings(rng: np.random.Generator) -> Settings:
    def terms(kind: str) -> dict[str, Any]:
        value = {"percent": [5, 12.5, 100], "points": [50, 1000]}.get(kind, ["0.55", 3, 40])
        said: dict[str, Any] = {"type": kind, "kinds": some(rng, KINDS)}
        said |= {"product": "P00004"} if kind == "gift" else {"value": str(rng.choice(value))}
        optional = {
            "min_order": float(rng.choice([1, 80, 300])),
            "max_per_customer": int(rng.integers(1, 3)),
            "quota": int(rng.integers(1, 9)),
            "partner_share": float(rng.choice([0.3, 1.0])),
            "cost": str(rng.choice(["0", "0.50", "9.99"])),
        }
        if kind in ("percent", "amount") and rng.random() < 0.4:
            said["scope"] = "basket"
        return said | dict(some(rng, optional.items(), 0.3))

    document = {
        "currency": "EUR",
        "history": {"orders": {"path": "-"}},
        "margin": {"floor_share": float(rng.choice([0.0, 0.05, 0.2, 1.0]))},
        "contact": {"max_per_day": int(rng.integers(0, 3)), "max_per_week": int(rng.integers(0, 5))},
        "offers": {
            "n": int(rng.integers(1, 9)),
            "max_per_kind": int(rng.integers(1, 4)),
            "max_per_category": int(rng.integers(0, 3)),
            "max_per_brand": int(rng.integers(0, 3)),
            "repurchase_days": int(rng.choice([0, 7, 90])),
            "min_expected_profit": float(rng.choice([0.0, 0.0, 0.01])),
            "stacking": str(rng.choice(["exclusive", "best-of", "additive"])),
            "max_total_share": float(rng.choice([0.0, 0.1, 0.3])),
            "pinned": some(rng, ["P00005", "P0001?"]),
            "buried": some(rng, ["P00006", "P0002[0-4]"]),
            "exclude": {
                "products": some(rng, ["P00007", "P0003*"]),
                "brands": some(rng, ["B1", "B2"]),
                "categories": some(rng, ["C1", "C2 > S3"]),
                "discounted": bool(rng.integers(2)),
            },
        },
        "incentives": {
            f"{kind}-{n}": terms(kind) for n in range(2) for kind in some(rng, INCENTIVES[1:], 0.4)
        },
    }
    return parse_settings(document, "nextoffer.toml", Path("."))


def random_case(seed: int, explore: bool = False) -> Case:
    rng = np.random.default_rng(seed)
    settings = random_settings(rng)
    bundle = make_shop(rng, N_PRODUCTS, N_CUSTOMERS, EACH)
    own = [(f"rule-{n}", IncentiveTerms(type="percent", value=Decimal(10 * n))) for n in (1, 2)]
    menu = Menu.of(settings, own)
    by_hand = ByHand(
        ("one", "two", "three"),
        np.array([len(menu) - 2, len(menu) - 1, 0]),
        rng.random(3) < 0.3,
        rng.integers(0, 3, 3),
    )
    policy = Policy.of(settings, menu, by_hand)
    rows = rng.permutation(np.append(np.arange(N_CUSTOMERS), [-1, -1]))
    n, n_menu = len(rows), len(menu)

    def maybe(made: Any, share: float = 0.5) -> Any:
        return made if rng.random() < share else None

    context = Context(
        n=maybe(int(rng.integers(0, 12)), 0.3),
        max_per_kind=maybe(int(rng.integers(1, 4)), 0.3),
        kinds=maybe(tuple(some(rng, range(len(KINDS)), 0.7)), 0.3),
        allowed=maybe(rng.random(N_PRODUCTS) < 0.8),
        cart=maybe(rng.choice(N_PRODUCTS, 4)),
        cart_value=maybe(int(rng.integers(0, 9000)), 0.3),
        bought=maybe(rng.choice(N_PRODUCTS, 3), 0.3),
        stock=maybe(rng.choice([np.nan, 0.0, -1.0, 2.0], N_PRODUCTS)),
        contact=bool(rng.integers(2)),
        transactional=bool(rng.random() < 0.3),
        quiet=bool(rng.random() < 0.2),
        messages_today=maybe(rng.integers(0, 3, n)),
        messages_week=maybe(rng.integers(0, 5, n)),
        no_consent=maybe(rng.random(n) < 0.3),
        held_out=maybe(rng.random(n) < 0.3),
        capped=maybe(rng.random(n) < 0.3),
        event_made=maybe(rng.random(n) < 0.5),
        used=maybe(rng.integers(0, 9, n_menu)),
        used_by=maybe(rng.integers(0, 3, (n, n_menu))),
        draws=rng.random(n) if explore else None,
    )
    return Case(settings, bundle, policy, rows, random_candidates(rng, n), context)


def random_candidates(rng: np.random.Generator, n: int) -> Candidates:
    """What was learned, offers on the whole basket among it, and a marketer's own."""
    learned = make_candidates(rng, N_PRODUCTS, n, EACH)
    basket = learned.kind == KIND["event"]
    learned = replace(learned, product=np.where(basket, -1, learned.product).astype(np.int32))
    first = ~basket
    first[np.unique(learned.customer * len(KINDS) + learned.kind, return_index=True)[1]] = True
    learned = learned.take(first)
    who = np.flatnonzero(rng.random(n) < 0.6).astype(np.int32)
    m = len(who)
    hand = Candidates(
        who,
        rng.choice([KIND["for_you"], KIND["event"]], m).astype(np.int8),
        rng.integers(-1, N_PRODUCTS, m).astype(np.int32),
        np.full(m, -1, np.int32),
        np.full(m, REASON["hand-picked"], np.int8),
        rng.beta(1.0, 9.0, m).astype(np.float32),
        rng.integers(0, 3, m).astype(np.int16),
    )
    both = Candidates.concat([learned, hand])
    return both.take(np.lexsort((both.rule, both.product, both.kind, both.customer)))


@dataclass(frozen=True)
class Product:
    """What the shop says of one product, in the words of its catalogue."""

    id: str
    price: int
    cost: int
    category: str | None
    brand: str | None
    usual: float
    sold: bool


def product_of(case: Case, row: int) -> Product:
    c, sold = case.bundle.catalogue, case.bundle.knowledge.products
    return Product(
        c.ids.text(row),
        int(c.price[row]),
        int(c.unit_cost[row]),
        c.category[row],
        c.brand[row],
        float(np.exp(sold.log_unit_price[row])),
        bool(sold.n_orders[row] > 0),
    )


def named(product: Product, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(product.id, pattern) for pattern in patterns)


def refused(case: Case, at: int, kind: str, product: int) -> str | None:
    """The first rule that forbids this offer to the customer at this position of the batch, whatever it carries."""
    x, settings, row = case.context, case.settings, int(case.rows[at])
    c, some_product = case.bundle.catalogue, product >= 0
    p = product_of(case, product) if some_product else None
    out = settings.offers.exclude
    stock = c.stock if x.stock is None else x.stock
    pairs, back = case.bundle.knowledge.pairs, case.bundle.diary.returned
    mine = range(pairs.indptr[row], pairs.indptr[row + 1]) if row >= 0 else range(0)
    ages = [int(pairs.last_age_days[i]) for i in mine if some_product and pairs.product[i] == product]
    once = some_product and not c.repeatable[product]
    recent = once and any(age < settings.offers.repurchase_days for age in ages)
    if x.bought is not None:
        since = some_product and product in x.bought.tolist()
        recent |= since and (once or kind in ("replenishment", "abandoned", "renewal"))
        recent |= kind == "win_back"
    limited = x.contact and not x.transactional
    today, week = (0 if sent is None else int(sent[at]) for sent in (x.messages_today, x.messages_week))
    contact = settings.contact
    over = today >= contact.max_per_day or week >= contact.max_per_week
    rules = {
        "no-consent": x.no_consent is not None and x.no_consent[at],
        "holdout": x.held_out is not None and x.held_out[at],
        "filtered": x.allowed is not None and some_product and not x.allowed[product],
        "excluded": p is not None
        and (
            named(p, out.products)
            or p.brand in out.brands
            or any(p.category is not None and f"{p.category} >".startswith(f"{c} >") for c in out.categories)
        ),
        "hidden": p is not None and (c.hidden[product] or p.price <= 0),
        "restricted": some_product and c.restricted[product],
        "out-of-stock": some_product and stock[product] <= 0,
        "bought-recently": recent,
        "returned": (row, product) in zip(back.customer.tolist(), back.product.tolist(), strict=True),
        "once-a-year": kind == "event" and x.event_made is not None and x.event_made[at],
        "in-cart": x.cart is not None and product in x.cart.tolist(),
        "contact-cap": limited and (over or (x.capped is not None and bool(x.capped[at]))),
        "quiet-hours": limited and x.quiet,
    }
    return next((name for name, holds in rules.items() if holds), None)


def cents(amount: Decimal | None) -> int:
    return int(((amount or Decimal(0)) * 100).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def terms_of(case: Case, incentive: int) -> IncentiveTerms | None:
    """What the configuration says of a row of the menu; None for no incentive."""
    name = case.policy.menu.name[incentive]
    if name == "none":
        return None
    if name in case.settings.incentives:
        return case.settings.incentives[name]
    level = Decimal(10 * int(name[-1])) if name.startswith("rule-") else Decimal(name.split()[1])
    return IncentiveTerms(type="percent", value=level, kinds=("win_back",))


def after(price: int, percent: Decimal) -> int:
    return int((price * (1 - percent / 100)).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def final_and_partner(price: int, terms: IncentiveTerms | None) -> tuple[int, int]:
    """What is paid for the product, and what of the discount a supplier bears (at least), in cents."""
    if terms is None or terms.scope == "basket" or terms.type in ("free_shipping", "gift", "points"):
        return price, 0
    value = terms.value or Decimal(0)
    final = {
        "percent": after(price, value),
        "amount": max(price - cents(value), 0),
        "fixed_price": min(price, cents(value)),
    }[terms.type]
    cost = price - final if terms.cost is None else cents(terms.cost)
    return final, price - final - cost + int(Fraction(str(terms.partner_share)) * cost)


@limits(max_examples=40)
@given(seed=SEEDS, explore=st.booleans())
def test_no_offer_breaks_a_rule(seed: int, explore: bool) -> None:
    case = random_case(seed, explore)
    slates = case.slates()
    floor = Fraction(str(case.settings.margin.floor_share))
    x = case.context

    for i in range(len(slates)):
        at, kind, product = int(slates.customer[i]), KINDS[slates.kind[i]], int(slates.product[i])
        incentive, rule = int(slates.incentive[i]), int(slates.rule[i])
        terms = terms_of(case, incentive)
        assert x.kinds is None or KIND[kind] in x.kinds
        assert refused(case, at, kind, product) is None
        if terms is not None:
            allowed = incentive == case.policy.rules.incentive[rule] if rule >= 0 else kind in terms.kinds
            assert allowed
            if x.used is not None and terms.quota:
                assert x.used[incentive] < terms.quota
            if x.used_by is not None and terms.max_per_customer:
                assert x.used_by[at, incentive] < terms.max_per_customer
        if product < 0:
            assert slates.list_price[i] == slates.final_price[i] == -1
            continue
        p = product_of(case, product)
        final, borne = final_and_partner(p.price, terms)
        assert (slates.list_price[i], slates.final_price[i]) == (p.price, final)
        assert final > 0 and final - p.cost + borne >= floor * final
        if terms is not None and terms.type == "percent":  # taken off the basket, it is taken off this too
            paid = after(p.price, terms.value or Decimal(0))
            assert terms.scope == "product" or paid - p.cost >= floor * paid
        if case.settings.offers.exclude.discounted and terms is not None:
            assert not (p.sold and p.price < 0.95 * p.usual)


def usual_order(case: Case, at: int) -> int:
    """The customer's usual order in cents: their mean, with two orders of the shop's mean added."""
    customers, row = case.bundle.knowledge.customers, int(case.rows[at])
    spent, orders = (float(column.sum()) for column in (customers.monetary, customers.frequency))
    own, times = (float(customers.monetary[row]), int(customers.frequency[row])) if row >= 0 else (0.0, 0)
    return round((own + 2 * spent / orders) / (times + 2) * 100)


@limits(max_examples=40)
@given(seed=SEEDS, explore=st.booleans())
def test_what_is_given_on_the_basket_is_borne_by_the_smallest_order_it_can_be_used_on(
    seed: int, explore: bool
) -> None:
    case = random_case(seed, explore)
    slates, menu, sold = case.slates(), case.policy.menu, case.bundle.knowledge.products
    prices, costs = (getattr(case.bundle.catalogue, name) for name in ("price", "unit_cost"))
    margin = float((sold.n_orders * (prices - costs)).sum() / (sold.n_orders * prices).sum())
    floor = case.settings.margin.floor_share

    for i in np.flatnonzero(slates.incentive > 0).tolist():
        terms = terms_of(case, int(slates.incentive[i]))
        assert terms is not None
        price = max(int(slates.list_price[i]), 0)
        usual = usual_order(case, int(slates.customer[i]))
        least = cents(terms.min_order)
        cart = usual if case.context.cart_value is None else case.context.cart_value
        assert cart + price >= least / 2
        if not menu.basket[slates.incentive[i]]:
            continue
        order = max(least or usual, price)
        value = terms.value or Decimal(0)
        saved = {
            "percent": order - after(order, value),
            "gift": int(prices[4]),
            "points": cents(value * case.settings.programme.point_value),
        }.get(terms.type, cents(value))
        cost = int(costs[4]) if terms.type == "gift" else saved
        cost = cost if terms.cost is None else cents(terms.cost)
        borne = cost * (1 - terms.partner_share)
        assert order * margin - borne >= floor * (order - min(saved, order)) - 1.0


@limits(max_examples=40)
@given(seed=SEEDS, explore=st.booleans())
def test_a_slate_keeps_its_shape(seed: int, explore: bool) -> None:
    case = random_case(seed, explore)
    offers, x, slates = case.settings.offers, case.context, case.slates()
    places = offers.n if x.n is None else x.n
    n_kinds = len(KINDS) if x.kinds is None else max(len(x.kinds), 1)
    per_kind = max(offers.max_per_kind if x.max_per_kind is None else x.max_per_kind, -(-places // n_kinds))

    for at in range(len(case.rows)):
        mine = np.flatnonzero(slates.customer == at).tolist()
        known = [product_of(case, int(slates.product[i])) for i in mine if slates.product[i] >= 0]
        assert slates.rank[mine].tolist() == list(range(1, len(mine) + 1))
        assert len(mine) <= places
        assert max(Counter(slates.product[mine].tolist()).values(), default=0) <= 1
        assert max(Counter(slates.kind[mine].tolist()).values(), default=0) <= per_kind
        for limit, alike in (
            (offers.max_per_category, [p.category for p in known if p.category is not None]),
            (offers.max_per_brand, [p.brand for p in known if p.brand is not None]),
        ):
            assert not limit or max(Counter(alike).values(), default=0) <= limit
        given_away = [i for i in mine if slates.incentive[i] > 0]
        if offers.stacking == "exclusive":
            assert len(given_away) <= 1
        if offers.stacking == "additive":
            off = [1 - slates.final_price[i] / slates.list_price[i] for i in mine if slates.product[i] >= 0]
            assert sum(off) <= offers.max_total_share + 1e-9
        pinned = [i for i in mine if slates.rule[i] >= 0 and case.policy.rules.pinned[slates.rule[i]]]
        for i in set(mine) - set(pinned):
            drawn = slates.propensity[i] < 1  # by chance, not for what it is worth
            assert drawn or slates.expected_profit[i] > offers.min_expected_profit
        order = [
            (
                (i in pinned) + placed(case, int(slates.product[i]), offers.pinned, offers.buried),
                float(slates.expected_profit[i]),
            )
            for i in mine
        ]
        assert [place for place, _ in order] == sorted((place for place, _ in order), reverse=True)
        for place in {place for place, _ in order}:
            worth = [profit for other, profit in order if other == place]
            assert worth == pytest.approx(sorted(worth, reverse=True), abs=1e-6)


def placed(case: Case, product: int, pinned: tuple[str, ...], buried: tuple[str, ...]) -> int:
    """1 for what comes first, −1 for what comes last."""
    if product < 0:
        return 0
    p = product_of(case, product)
    return named(p, pinned) - named(p, buried)


@limits(max_examples=40)
@given(seed=SEEDS, explore=st.booleans())
def test_every_candidate_is_offered_or_dropped_for_a_true_reason(seed: int, explore: bool) -> None:
    case = random_case(seed, explore)
    slates, c = case.slates(), case.candidates
    offered = Counter(
        zip(slates.customer.tolist(), slates.kind.tolist(), slates.product.tolist(), strict=True)
    )
    why = list(
        zip(
            slates.dropped_customer.tolist(),
            slates.dropped_kind.tolist(),
            slates.dropped_product.tolist(),
            slates.dropped_reason.tolist(),
            strict=True,
        )
    )
    asked = [
        one
        for one in zip(c.customer.tolist(), c.kind.tolist(), c.product.tolist(), strict=True)
        if case.context.kinds is None or one[1] in case.context.kinds
    ]

    assert offered + Counter(one[:3] for one in why) == Counter(asked)
    for at, kind, product, code in why:
        reason = refused(case, at, KINDS[kind], product)
        assert reason == DROPS[code] if DROPS[code] in RULE_DROPS else reason is None
        if DROPS[code] == "explored-nothing":
            assert explore


@limits(max_examples=40)
@given(seed=SEEDS, explore=st.booleans())
def test_the_terms_add_up_to_the_value(seed: int, explore: bool) -> None:
    case = random_case(seed, explore)
    slates = case.slates()
    terms = {name: slates.terms[:, at] for at, name in enumerate(TERMS)}

    np.testing.assert_allclose(slates.terms.sum(axis=1), slates.expected_profit, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        slates.dropped_terms.sum(axis=1), slates.dropped_profit, rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(terms["incentive"], -slates.cost, atol=1e-12)
    assert (slates.cost >= 0).all() and (slates.cost[slates.incentive == 0] == 0).all()
    contact = case.settings.contact.cost if case.context.contact else 0.0
    np.testing.assert_allclose(terms["contact"], -contact)
    assert ((slates.p_offer >= slates.p_buy - 1e-6) & (slates.p_offer <= 1)).all()


def parts(slates: Slates, position: int, moved_to: int) -> dict[str, list[Any]]:
    """Everything a batch says of one customer."""
    told = {}
    for field in fields(Slates):
        whose = slates.dropped_customer if field.name.startswith("dropped") else slates.customer
        column = getattr(slates, field.name)[whose == position]
        if field.name in ("customer", "dropped_customer"):
            column = np.full(len(column), moved_to)
        told[field.name] = column.tolist()
    return told


@limits(max_examples=30)
@given(seed=SEEDS, explore=st.booleans())
def test_the_same_question_gets_the_same_slate_alone_or_in_a_batch(seed: int, explore: bool) -> None:
    case = random_case(seed, explore)
    slates, again = case.slates(), random_case(seed, explore).slates()
    for field in fields(Slates):
        assert getattr(slates, field.name).tolist() == getattr(again, field.name).tolist()

    per_customer = [f.name for f in fields(Context) if f.name in WITH_THE_BATCH]
    for at in range(len(case.rows)):
        own = {
            name: column[at : at + 1]
            for name in per_customer
            if (column := getattr(case.context, name)) is not None
        }
        mine = case.candidates.take(case.candidates.customer == at)
        alone = replace(
            case,
            rows=case.rows[at : at + 1],
            candidates=replace(mine, customer=np.zeros(len(mine), np.int32)),
            context=replace(case.context, **own),
        )
        assert parts(alone.slates(), 0, at) == parts(slates, at, at)


WITH_THE_BATCH = {
    "messages_today",
    "messages_week",
    "no_consent",
    "held_out",
    "capped",
    "event_made",
    "used_by",
    "draws",
}


@limits(max_examples=40)
@given(seed=SEEDS, explore=st.booleans(), share=st.floats(0.0, 1.2))
def test_a_budget_is_never_exceeded_and_bends_no_other_rule(seed: int, explore: bool, share: float) -> None:
    case = random_case(seed, explore)
    free = decide(case.bundle, case.rows, case.candidates, case.policy, replace(case.context, draws=None))
    wanted = spent(free)
    budget = share * wanted

    choice, allocation = decide_within(
        case.bundle, case.rows, case.candidates, case.policy, case.context, budget
    )
    slates, without = slates_of(choice), slates_of(free)

    assert exact(slates.cost) <= Fraction(budget) * (1 + Fraction(1, 10**12))
    assert 0.0 <= allocation.gap <= 1.0
    assert (choice.fails[choice.best[choice.drop < 0]] < 0).all()
    offered = set(zip(slates.customer.tolist(), slates.kind.tolist(), slates.product.tolist(), strict=True))
    assert offered <= set(
        zip(without.customer.tolist(), without.kind.tolist(), without.product.tolist(), strict=True)
    )
    if case.settings.offers.stacking == "exclusive":
        given_away = Counter(slates.customer[slates.incentive > 0].tolist())
        assert max(given_away.values(), default=0) <= 1
    if share > 1.01 and not explore and not case.settings.offers.pinned:
        assert slates.incentive.tolist() == without.incentive.tolist()
    np.testing.assert_allclose(slates.terms.sum(axis=1), slates.expected_profit, rtol=1e-12, atol=1e-12)


def exact(amounts: np.ndarray) -> Fraction:
    return sum((Fraction(float(amount)) for amount in amounts), Fraction(0))


def customers_who_object(path: Path, out: Path, rng: np.random.Generator) -> dict[str, bool]:
    """The customer table with random consents (some unknown) and addresses; id -> may be written to."""
    table = pq.read_table(path)
    ids = table["customer_id"].to_pylist()
    consent = [rng.choice([True, True, False, None]) for _ in ids]
    email = [None if rng.random() < 0.1 else f"c{n}@example.com" for n in range(len(ids))]
    for name, column in {"consent_email": pa.array(consent, pa.bool_()), "email": pa.array(email)}.items():
        table = table.set_column(table.column_names.index(name), name, column)
    pq.write_table(table, out)
    return {
        one: bool(yes) and address is not None for one, yes, address in zip(ids, consent, email, strict=True)
    }


@pytest.mark.parametrize("seed", range(3))
def test_no_file_holds_a_customer_who_did_not_agree_is_held_out_or_was_written_to_enough(
    seed: int, tmp_path: Path, shop_bundle: Bundle, shop_settings: Settings
) -> None:
    rng = np.random.default_rng(seed)
    source = shop_settings.history.customers
    assert source is not None
    willing = customers_who_object(Path(str(source.path)), tmp_path / "customers.parquet", rng)
    history = shop_settings.history.model_copy(
        update={"customers": source.model_copy(update={"path": str(tmp_path / "customers.parquet")})}
    )
    per_day, per_week = int(rng.integers(1, 3)), int(rng.integers(1, 4))
    settings = shop_settings.model_copy(
        update={
            "history": history,
            "models_dir": tmp_path,
            "experiment": Experiment(name=f"e{seed}", holdout_share=0.3),
            "contact": Contact(max_per_day=per_day, max_per_week=per_week, cost=0.0),
            "campaigns": {
                "one": Campaign(n=2, max_per_customer=2, budget=Decimal(int(rng.integers(0, 3)))),
                "two": Campaign(n=1, kinds=("cross_sell", "for_you", "win_back")),
            },
        }
    )
    shop = OpenShop(settings, shop_bundle, Policy.of(settings))
    sent: dict[tuple[str, int], list[str]] = {}
    with closing(open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")) as ledger:
        for day in range(4):
            now = shop_bundle.as_of + timedelta(days=day, hours=12)
            for name in settings.campaigns:
                out = tmp_path / f"{name}-{day}.csv"
                export(shop, ledger, name, out, now)
                with out.open(encoding="utf-8-sig", newline="") as file:
                    sent[name, day] = [row["customer_id"] for row in csv.DictReader(file)]

    everyone = [unit for units in sent.values() for unit in units]
    held_out = groups(settings.experiment, sorted(willing))
    assert len(everyone) > 20
    assert not {unit for unit, held in zip(sorted(willing), held_out, strict=True) if held} & {*everyone}
    assert all(willing[unit] for unit in everyone)
    for day in range(4):
        today = Counter(unit for name in settings.campaigns for unit in sent[name, day])
        assert max(today.values(), default=0) <= per_day
    assert max(Counter(everyone).values()) <= per_week
    assert max(Counter(unit for day in range(4) for unit in sent["one", day]).values()) <= 2


@limits(max_examples=40)
@given(seed=SEEDS)
def test_what_was_drawn_is_not_taken_back_for_what_it_is_worth(seed: int) -> None:
    """Or the chance in the log would not be that of what the customer saw."""
    case = random_case(seed, explore=True)
    choice = decide(case.bundle, case.rows, case.candidates, case.policy, case.context)

    assert choice.drawn is not None
    assert not (choice.drop[choice.drawn.explored] == DROPS.index("low-value")).any()
    assert ((choice.drawn.propensity > 0) & (choice.drawn.propensity <= 1)).all()
