"""One slate, for customers known and unknown: the same offers whoever asks, and all that was dropped."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextoffer.bundle.bundle import Bundle
from nextoffer.config import IncentiveTerms, Settings
from nextoffer.config.priors import Prior
from nextoffer.domain.money import to_wire
from nextoffer.domain.offers import DROPS, KINDS, REASONS, Offer, Slate, SlateRequest
from nextoffer.domain.tables import SEGMENTS
from nextoffer.offers.choosing import Context, Policy
from nextoffer.offers.recommend import choose_stored, recommend

LONDON = ZoneInfo("Europe/London")


def ask(bundle: Bundle, policy: Policy, **request: object) -> Slate:
    return recommend(bundle, policy, SlateRequest(**request), bundle.as_of)  # type: ignore[arg-type]


def customer_ids(bundle: Bundle) -> list[str]:
    return [bundle.customer_ids.ids.text(row) for row in range(len(bundle.customer_ids.ids))]


@pytest.mark.parametrize("kinds", [None, ("for_you", "win_back")])
@pytest.mark.parametrize("n", [None, 9])
def test_one_customer_alone_gets_the_offers_of_the_whole_batch_in_the_same_order(
    kinds: tuple[str, ...] | None, n: int | None, shop_bundle: Bundle, shop_policy: Policy
) -> None:
    rows = np.arange(len(shop_bundle.customer_ids.ids))
    codes = None if kinds is None else tuple(KINDS.index(kind) for kind in kinds)
    slates = choose_stored(shop_bundle, rows, shop_policy, Context(n=n, kinds=codes))

    for row, customer in enumerate(customer_ids(shop_bundle)):
        mine = np.flatnonzero(slates.customer == row)
        slate = ask(shop_bundle, shop_policy, customer_id=customer, n=n, kinds=kinds, explain=True)
        assert [
            (o.kind, o.product_id, o.p_buy, o.expected_profit, o.final_price, o.reason.code)
            for o in slate.offers
        ] == [
            (
                KINDS[slates.kind[at]],
                shop_bundle.catalogue.ids.text(int(slates.product[at])),
                float(slates.p_buy[at]),
                float(slates.expected_profit[at]),
                to_wire(int(slates.final_price[at]), "GBP"),
                REASONS[slates.reason[at]],
            )
            for at in mine
        ]
        gone = slates.dropped_customer == row
        assert Counter((d.kind, d.reason) for d in slate.dropped) == Counter(
            (KINDS[kind], DROPS[reason])
            for kind, reason in zip(slates.dropped_kind[gone], slates.dropped_reason[gone], strict=True)
        )


def test_an_offer_can_be_displayed(shop_bundle: Bundle, shop_policy: Policy) -> None:
    catalogue = shop_bundle.catalogue
    ids: Counter[str] = Counter()
    for row, customer in enumerate(customer_ids(shop_bundle)):
        slate = ask(shop_bundle, shop_policy, customer_id=customer)
        assert (slate.customer_id, slate.bundle_id, slate.currency) == (customer, "small-shop", "GBP")
        assert slate.fallback is None and slate.dropped == ()
        assert slate.segment == SEGMENTS[shop_bundle.knowledge.customers.segment[row]]
        for offer in slate.offers:
            product = catalogue.ids.find(offer.product_id)
            assert offer.title == catalogue.title[product] and offer.url == catalogue.url[product]
            assert offer.image_url == catalogue.image_url[product]
            assert offer.list_price == to_wire(int(catalogue.price[product]), "GBP")
            discounted = float(offer.final_price) < float(offer.list_price)
            assert offer.incentive["type"] in ("percent", "none") if offer.kind == "win_back" else ("none",)
            assert not discounted or offer.kind == "win_back"
            assert offer.valid_until.astimezone(LONDON).strftime("%H:%M:%S") == "23:59:59"
            assert offer.valid_until.astimezone(LONDON).date() == shop_bundle.as_of.date() + timedelta(
                days=14
            )
            ids[offer.offer_id] += 1
    assert ids.most_common(1)[0][1] == 1  # no two offers share an id


def test_an_incentive_whose_terms_change_makes_another_offer_with_a_code_of_its_own(
    shop_bundle: Bundle, shop_settings: Settings
) -> None:
    prior = Prior(none=1.0, per_tenth=4.0, order=0.0, order_per_tenth=0.3)
    value = shop_settings.value.model_copy(update={"prior": dict.fromkeys(KINDS, prior)})

    def offers_of(percent: str) -> list[Offer]:
        terms = IncentiveTerms(type="percent", value=Decimal(percent), kinds=KINDS)  # type: ignore[arg-type]
        changed = shop_settings.model_copy(update={"incentives": {"cut": terms}, "value": value})
        policy = Policy.of(changed)
        slates = [ask(shop_bundle, policy, customer_id=one, n=9) for one in customer_ids(shop_bundle)[:9]]
        return [offer for slate in slates for offer in slate.offers if offer.incentive_name == "cut"]

    ten, again, eleven = ({one.offer_id for one in offers_of(cut)} for cut in ("10", "10", "11"))
    assert ten == again and ten and eleven
    assert not ten & eleven


def test_the_same_question_gives_the_same_answer_and_the_moment_only_its_dates(
    shop_bundle: Bundle, shop_policy: Policy
) -> None:
    for customer in customer_ids(shop_bundle)[:20]:
        one, two = (ask(shop_bundle, shop_policy, customer_id=customer) for _ in range(2))
        later = shop_bundle.as_of + timedelta(days=400)
        old = recommend(shop_bundle, shop_policy, SlateRequest(customer_id=customer), later)
        assert one == two
        same = one.offers[0].valid_until
        assert [
            replace(offer, valid_until=same, offer_id=new.offer_id)
            for offer, new in zip(old.offers, one.offers, strict=True)
        ] == list(one.offers)
        assert not {offer.offer_id for offer in old.offers} & {offer.offer_id for offer in one.offers}


@pytest.mark.parametrize("customer_id", [None, "nobody-we-know"])
def test_a_stranger_gets_what_is_popular(
    customer_id: str | None, shop_bundle: Bundle, shop_policy: Policy
) -> None:
    slate = ask(shop_bundle, shop_policy, customer_id=customer_id, n=10)
    shares = [
        shop_bundle.knowledge.products.share_28[shop_bundle.product_row(o.product_id)] for o in slate.offers
    ]

    assert slate.fallback == "popular" and slate.segment is None
    assert {offer.reason.code for offer in slate.offers} == {"popular-now"}
    assert len(slate.offers) == shop_policy.max_per_kind and min(shares) > 0
    assert slate.customer_id == customer_id


def test_a_strangers_cart_and_views_speak_for_them(shop_bundle: Bundle, shop_policy: Policy) -> None:
    best = np.argsort(-np.diff(shop_bundle.knowledge.companions.indptr), kind="stable")
    cart, viewed = (shop_bundle.catalogue.ids.text(int(p)) for p in best[:2])

    slate = ask(shop_bundle, shop_policy, cart=(cart, "unknown"), viewed=(viewed,), n=12, explain=True)

    assert slate.fallback == "context"
    assert {"goes-with-cart", "like-viewed"} <= {offer.reason.code for offer in slate.offers}
    assert cart not in {offer.product_id for offer in slate.offers}
    assert viewed not in {o.product_id for o in slate.offers if o.reason.code == "like-viewed"}
    unknown = ask(shop_bundle, shop_policy, cart=("unknown",), viewed=("\x00",))
    assert unknown.fallback == "popular"


def test_a_known_customer_with_a_cart_keeps_their_own_offers_too(
    shop_bundle: Bundle, shop_policy: Policy
) -> None:
    best = int(np.argmax(np.diff(shop_bundle.knowledge.companions.indptr)))
    cart = shop_bundle.catalogue.ids.text(best)
    customer = customer_ids(shop_bundle)[3]

    slate = ask(shop_bundle, shop_policy, customer_id=customer, cart=(cart,), n=100, explain=True)

    assert slate.fallback is None
    codes = {offer.reason.code for offer in slate.offers}
    assert "goes-with-cart" in codes and codes - {"goes-with-cart"}
    assert cart not in {offer.product_id for offer in slate.offers}


def test_whoever_has_just_bought_is_neither_won_back_nor_reminded(
    shop_bundle: Bundle, shop_policy: Policy
) -> None:
    policy = replace(shop_policy, n=100, max_per_kind=100)
    won_back = reminded = 0
    for customer in customer_ids(shop_bundle):
        before = ask(shop_bundle, policy, customer_id=customer)
        won_back += any(offer.kind == "win_back" for offer in before.offers)
        refills = [offer.product_id for offer in before.offers if offer.kind == "replenishment"]
        after = ask(shop_bundle, policy, customer_id=customer, bought=tuple(refills[:1]) or ("unknown",))
        assert not any(offer.kind == "win_back" for offer in after.offers)
        assert not {o.product_id for o in after.offers if o.kind == "replenishment"} & set(refills[:1])
        reminded += bool(refills)
    assert won_back > 10 and reminded > 10


@pytest.mark.parametrize("known", [True, False])
def test_a_filter_lets_through_only_what_it_names_and_still_finds_something(
    known: bool, shop_bundle: Bundle, shop_policy: Policy
) -> None:
    catalogue = shop_bundle.catalogue
    customer = customer_ids(shop_bundle)[3] if known else None
    policy = replace(shop_policy, min_expected_profit=-1.0)
    sold = {
        row
        for row in np.flatnonzero(shop_bundle.knowledge.products.n_orders > 0).tolist()
        if not (catalogue.hidden[row] or catalogue.restricted[row] or catalogue.stock[row] <= 0)
        and catalogue.unit_cost[row] < 0.9 * catalogue.price[row]
    }
    owned = set(shop_bundle.knowledge.pairs.product[:0].tolist())
    if known:
        pairs = shop_bundle.knowledge.pairs
        owned = set(pairs.product[pairs.indptr[3] : pairs.indptr[4]].tolist())
    for category in sorted({str(path).split(" > ")[0] for path in catalogue.category}):
        slate = ask(shop_bundle, policy, customer_id=customer, category=category, max_price=1500)
        inside = {
            row
            for row in sold - owned
            if str(catalogue.category[row]).startswith(f"{category} > ") and catalogue.price[row] <= 1500
        }
        got = {catalogue.ids.find(offer.product_id) for offer in slate.offers}
        assert all(str(catalogue.category[row]).startswith(f"{category} > ") for row in got)
        assert all(catalogue.price[row] <= 1500 for row in got)
        assert bool(got) or not inside
    brand = next(str(catalogue.brand[row]) for row in sorted(sold - owned) if catalogue.brand[row])
    slate = ask(shop_bundle, policy, customer_id=customer, brand=brand)
    assert slate.offers and all(
        catalogue.brand[catalogue.ids.find(o.product_id)] == brand for o in slate.offers
    )
    assert (
        ask(shop_bundle, policy, customer_id=customer, category="Sw").offers == ()
    )  # a path, not a prefix of letters


def test_one_message_too_many_leaves_an_empty_slate_that_says_why(
    shop_bundle: Bundle, shop_policy: Policy
) -> None:
    customer = customer_ids(shop_bundle)[3]
    asked = {"customer_id": customer, "contact": True, "explain": True}

    fine = ask(shop_bundle, shop_policy, **asked, messages_week=2)
    capped = ask(shop_bundle, shop_policy, **asked, messages_week=3)

    assert fine.offers and not capped.offers
    assert "contact-cap" in {dropped.reason for dropped in capped.dropped}


def test_what_was_sold_out_since_last_night_is_not_offered(shop_bundle: Bundle, shop_policy: Policy) -> None:
    customer = customer_ids(shop_bundle)[3]
    first = ask(shop_bundle, shop_policy, customer_id=customer).offers[0].product_id

    slate = ask(
        shop_bundle, shop_policy, customer_id=customer, stock={first: 0.0, "unknown": 5.0}, explain=True
    )

    assert first not in {offer.product_id for offer in slate.offers}
    assert "out-of-stock" in {dropped.reason for dropped in slate.dropped if dropped.product_id == first}


def test_what_sold_out_since_the_bundle_was_made_is_not_offered(
    shop_bundle: Bundle, shop_policy: Policy
) -> None:
    customer, offer = next(
        (customer, offer)
        for customer in customer_ids(shop_bundle)
        for offer in ask(shop_bundle, shop_policy, customer_id=customer).offers
        if not np.isnan(shop_bundle.catalogue.stock[shop_bundle.product_row(offer.product_id or "")])
    )
    on_hand = float(shop_bundle.catalogue.stock[shop_bundle.product_row(offer.product_id or "")])

    for sold, there in ((on_hand - 1, True), (on_hand, False)):
        slate = ask(shop_bundle, shop_policy, customer_id=customer, sold={offer.product_id: sold})
        assert (offer.product_id in {one.product_id for one in slate.offers}) == there


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_whatever_is_asked_the_slate_keeps_its_promises(
    data: st.DataObject, shop_bundle: Bundle, shop_policy: Policy
) -> None:
    ids = shop_bundle.catalogue.ids
    products = st.lists(st.integers(0, len(ids) - 1).map(ids.text) | st.text(max_size=5), max_size=8).map(
        tuple
    )
    customers = st.sampled_from([None, "", "stranger", *customer_ids(shop_bundle)])
    kinds = st.none() | st.lists(st.sampled_from(KINDS), max_size=3, unique=True).map(tuple)
    n = data.draw(st.none() | st.integers(0, 100))
    asked = {
        "customer_id": data.draw(customers),
        "n": n,
        "kinds": data.draw(kinds),
        "cart": data.draw(products),
        "viewed": data.draw(products),
        "bought": data.draw(products),
        "max_price": data.draw(st.none() | st.integers(0, 2000)),
        "language": data.draw(st.sampled_from(["", "en", "ru", "xx"])),
        "explain": True,
    }

    slate = ask(shop_bundle, shop_policy, **asked)

    offered = [(offer.kind, offer.product_id) for offer in slate.offers]
    dropped = [(drop.kind, drop.product_id) for drop in slate.dropped]
    assert len(offered) <= (shop_policy.n if n is None else n)
    assert len({product for _, product in offered}) == len(offered)
    assert not {product for _, product in offered} & set(asked["cart"])
    assert len(set(offered + dropped)) == len(offered) + len(dropped)  # each candidate once
    assert asked["kinds"] is None or {kind for kind, _ in offered + dropped} <= set(asked["kinds"])
    assert all(offer.reason.text and "{" not in offer.reason.text for offer in slate.offers)
    profits = [offer.expected_profit for offer in slate.offers]
    assert profits == sorted(profits, reverse=True) and all(profit > 0 for profit in profits)


def test_a_cart_of_ten_thousand_items_is_answered(shop_bundle: Bundle, shop_policy: Policy) -> None:
    known = [shop_bundle.catalogue.ids.text(row) for row in range(len(shop_bundle.catalogue))]
    cart = tuple(f"unknown-{number}" for number in range(10_000 - len(known))) + tuple(known)

    slate = ask(shop_bundle, shop_policy, customer_id=customer_ids(shop_bundle)[3], cart=cart, explain=True)

    assert slate.offers == () and {drop.reason for drop in slate.dropped}  # everything is in the cart


def test_a_day_ends_by_the_clock_of_the_shop(shop_bundle: Bundle, shop_policy: Policy) -> None:
    zone = ZoneInfo("Pacific/Auckland")
    now = datetime(2026, 3, 1, 23, 30, tzinfo=ZoneInfo("UTC"))  # the 2nd of March in Auckland
    customer = customer_ids(shop_bundle)[3]

    policy = replace(shop_policy, zone=zone, valid_days=1)

    slate = recommend(shop_bundle, policy, SlateRequest(customer_id=customer), now)

    assert slate.offers[0].valid_until == datetime(2026, 3, 3, 23, 59, 59, tzinfo=zone)
