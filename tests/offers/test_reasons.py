"""What a customer is told is true: every sentence against the order lines, in both languages."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.parquet as pq
import pytest

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.offers import REASON, REASONS, Offer, SlateRequest
from nextoffer.offers.choosing import Policy
from nextoffer.offers.reasons import _TEXTS, days_text, reason_of
from nextoffer.offers.recommend import recommend

LONDON = ZoneInfo("Europe/London")


@pytest.mark.parametrize(
    ("days", "english", "russian"),
    [
        (0, "1 day", "1 дн."),
        (1, "1 day", "1 дн."),
        (27, "27 days", "27 дн."),
        (28, "4 weeks", "4 нед."),
        (90, "13 weeks", "13 нед."),
        (91, "3 months", "3 мес."),
        (365, "12 months", "12 мес."),
    ],
)
def test_spans_read_as_people_say_them(days: int, english: str, russian: str) -> None:
    assert days_text(days, "en") == english
    assert days_text(days, "ru") == russian


def test_every_reason_has_a_sentence_in_both_languages() -> None:
    assert set(REASONS) <= set(_TEXTS["en"])
    assert _TEXTS["en"].keys() == _TEXTS["ru"].keys()


class Stored:
    """All stored candidates of one reason, with ids instead of rows."""

    def __init__(self, bundle: Bundle, reason: str) -> None:
        self.bundle, stored = bundle, bundle.candidates
        self.at = np.flatnonzero(stored.reason == REASON[reason])
        self.row = np.searchsorted(stored.indptr, self.at, side="right") - 1
        self.reason = reason

    def __iter__(self) -> Any:
        ids, products = self.bundle.customer_ids.ids, self.bundle.catalogue.ids
        stored = self.bundle.candidates
        for at, row in zip(self.at.tolist(), self.row.tolist(), strict=True):
            because = int(stored.because[at])
            yield row, int(stored.product[at]), because, ids.text(row), products.text(int(stored.product[at]))

    def sentence(self, row: int, product: int, because: int, days: int = 0, level: float = 0.0) -> str:
        now = self.bundle.as_of + timedelta(days=days)
        english, russian = (
            reason_of(self.bundle, row, product, because, REASON[self.reason], level, now, language)
            for language in ("en", "ru-RU")
        )
        assert english.code == russian.code == self.reason
        assert (
            english.because
            == russian.because
            == ((self.bundle.catalogue.ids.text(because),) if because >= 0 else ())
        )
        assert english.text != russian.text
        return english.text


def test_due_for_refill_tells_the_customers_own_gap_and_last_purchase(
    shop_bundle: Bundle, truth: Any
) -> None:
    stored = Stored(shop_bundle, "due-for-refill")
    checked = 0
    for row, product, because, customer, product_id in stored:
        if (customer, product_id) in truth.returned:
            continue
        days = sorted(set(truth.ages[customer, product_id]))
        assert len(days) >= 2
        assert np.isnan(shop_bundle.catalogue.shelf_life_days[product])
        gap = days_text(round((days[-1] - days[0]) / (len(days) - 1)), "en")
        since = days_text(days[0] + 2, "en")
        assert stored.sentence(row, product, because, days=2) == (
            f"You buy this about every {gap}; the last one was {since} ago."
        )
        checked += 1
    assert checked > 50


def test_runs_out_tells_shelf_life_times_what_is_usually_bought(shop_bundle: Bundle, truth: Any) -> None:
    stored = Stored(shop_bundle, "runs-out")
    n_orders: Counter[int] = Counter()
    for row, product, because, customer, product_id in stored:
        if (customer, product_id) in truth.returned:
            continue
        ages = truth.ages[customer, product_id]
        lasts = shop_bundle.catalogue.shelf_life_days[product] * truth.units[customer, product_id] / len(ages)
        assert stored.sentence(row, product, because) == (
            f"What you usually buy of this lasts about {days_text(round(lasts), 'en')}; "
            f"the last time was {days_text(min(ages), 'en')} ago."
        )
        assert min(ages) <= 3 * lasts
        n_orders[len(ages)] += 1
    assert n_orders[1] > 5 and sum(n_orders.values()) > 50  # also of what was bought once


def test_bought_together_names_something_really_bought_that_really_goes_with_it(
    shop_bundle: Bundle, truth: Any
) -> None:
    stored = Stored(shop_bundle, "bought-together")
    title = shop_bundle.catalogue.title
    for row, product, because, customer, product_id in list(stored)[::5]:
        because_id = shop_bundle.catalogue.ids.text(because)
        assert because_id in truth.bought[customer] and product_id not in truth.bought[customer] - {
            p for c, p in truth.returned if c == customer
        }
        assert truth.together(because_id, product_id) >= 2
        assert truth.share(because_id, product_id) > 0.9 * truth.share(because_id) * truth.share(product_id)
        if (customer, because_id) not in truth.returned:
            since = days_text(min(truth.ages[customer, because_id]), "en")
            text = f"Often bought together with {title[because]}, which you bought {since} ago."
            assert stored.sentence(row, product, because) == text


def test_a_step_up_is_dearer_of_the_same_kind_than_something_bought_lately(
    shop_bundle: Bundle, truth: Any
) -> None:
    stored = Stored(shop_bundle, "step-up")
    catalogue = shop_bundle.catalogue
    for row, product, because, customer, product_id in stored:
        because_id = catalogue.ids.text(because)
        assert 1.1 * catalogue.price[because] <= catalogue.price[product] <= 1.6 * catalogue.price[because]
        assert catalogue.category[product] == catalogue.category[because]
        assert because_id in truth.bought[customer]
        if (customer, product_id) not in truth.returned:
            assert product_id not in truth.bought[customer]
        if (customer, because_id) not in truth.returned:
            age = min(truth.ages[customer, because_id])
            assert age <= 180
            text = f"A step up from {catalogue.title[because]}, which you bought {days_text(age, 'en')} ago."
            assert stored.sentence(row, product, because) == text


def test_what_similar_customers_choose_was_bought_by_one_with_a_purchase_in_common(
    shop_bundle: Bundle, truth: Any
) -> None:
    stored = Stored(shop_bundle, "similar-customers")
    for _, _, because, customer, product_id in stored:
        assert because == -1
        assert any(
            truth.bought[other] & truth.bought[customer] for other in truth.buyers[product_id] - {customer}
        )


def test_we_miss_you_tells_the_silence_and_the_discount(shop_bundle: Bundle, truth: Any) -> None:
    stored = Stored(shop_bundle, "we-miss-you")
    checked = 0
    for row, product, because, customer, _ in stored:
        if customer in truth.returners:
            continue
        ages = sorted(truth.orders[customer].values())
        assert len(ages) >= 2 and 45 <= ages[0] <= 365
        assert ages[0] >= 2 * (ages[-1] - ages[0]) / (len(ages) - 1)
        silent = days_text(ages[0], "en")
        assert stored.sentence(row, product, because, level=0.15) == (
            f"It has been {silent} since your last order: here is 15 % off for your return."
        )
        assert "%" not in stored.sentence(
            row, product, because
        )  # no discount is promised where none is given
        checked += 1
    assert checked > 50


def test_popular_now_is_said_only_of_what_was_bought_in_the_last_four_weeks(shop_bundle: Bundle) -> None:
    products = shop_bundle.knowledge.products
    quiet = replace(products, share_28=np.where(np.arange(len(products)) == 3, 0, products.share_28))
    bundle = replace(shop_bundle, knowledge=replace(shop_bundle.knowledge, products=quiet))
    code, now = REASON["popular-now"], bundle.as_of
    popular = int(products.popular(1)[0])

    assert products.share_28[popular] > 0
    assert reason_of(bundle, -1, popular, -1, code, 0.0, now, "en").text == "Popular in the shop now."
    assert reason_of(bundle, -1, 3, -1, code, 0.0, now, "en").text == "Popular in the shop."


def offers_for(bundle: Bundle, policy: Policy, request: SlateRequest) -> tuple[Offer, ...]:
    policy = replace(policy, n=100, max_per_kind=100, min_expected_profit=-1e9)
    return recommend(bundle, policy, request, bundle.as_of, LONDON, 14).offers


@pytest.mark.parametrize("known", [True, False])
def test_reasons_from_the_moment_name_what_is_in_the_cart_viewed_or_bought(
    known: bool, shop_bundle: Bundle, shop_policy: Policy, truth: Any
) -> None:
    sources = ("companions", "companions", "similar")
    ids = shop_bundle.catalogue.ids
    best = [
        [
            ids.text(int(p))
            for p in np.argsort(-np.diff(getattr(shop_bundle.knowledge, s).indptr), kind="stable")
        ]
        for s in sources
    ]
    cart, bought, viewed = tuple(best[0][:2]), tuple(best[1][2:4]), tuple(best[2][4:6])
    customer = shop_bundle.customer_ids.ids.text(0) if known else None
    request = SlateRequest(customer_id=customer, cart=cart, viewed=viewed, bought=bought)
    places = {"goes-with-cart": cart, "bought-lately": bought, "like-viewed": viewed}
    seen = set()

    for offer in offers_for(shop_bundle, shop_policy, request):
        if offer.reason.code not in places:
            continue
        seen.add(offer.reason.code)
        (because,) = offer.reason.because
        assert because in places[offer.reason.code]
        assert (shop_bundle.catalogue.title[ids.find(because)] or because) in offer.reason.text
        name = "similar" if offer.reason.code == "like-viewed" else "companions"
        row, product = ids.find(because), ids.find(offer.product_id)
        assert product in getattr(shop_bundle.knowledge, name).of(row)[0]
        if name == "companions":
            assert truth.together(because, offer.product_id) >= 2
        else:
            assert truth.buyers[because] & truth.buyers[offer.product_id]
    assert seen == set(places)


def test_the_present_moment_counts_for_a_week_and_an_old_bundle_speaks_of_its_own(
    shop_bundle: Bundle,
) -> None:
    stored = Stored(shop_bundle, "we-miss-you")
    row, product, because, *_ = next(iter(stored))
    silent = int(shop_bundle.knowledge.customers.recency_days[row])

    for days, told in ((0, silent), (7, silent + 7), (8, silent), (-3, silent)):
        assert f"It has been {days_text(told, 'en')} since" in stored.sentence(row, product, because, days)


def test_a_customer_is_told_in_their_own_language_unless_another_is_asked_for(
    shop_bundle: Bundle, shop_policy: Policy
) -> None:
    russians = np.flatnonzero(shop_bundle.customer_ids.language == 1)
    others = np.flatnonzero(shop_bundle.customer_ids.language == 0)

    def cyrillic(row: int, language: str) -> set[bool]:
        customer = shop_bundle.customer_ids.ids.text(int(row))
        request = SlateRequest(customer_id=customer, language=language, kinds=("for_you", "win_back"))
        texts = [offer.reason.text for offer in offers_for(shop_bundle, shop_policy, request)]
        return {any("а" <= letter <= "я" for letter in text) for text in texts}

    assert cyrillic(russians[0], "") == {True} and cyrillic(russians[0], "en-GB") == {False}
    assert cyrillic(others[0], "") == {False} and cyrillic(others[0], "ru") == {True}
    assert cyrillic(others[0], "de") == {False}
    assert shop_bundle.language(-1) == "en"


def test_languages_come_from_the_customers_own_locale(shop_bundle: Bundle, small_shop_learned: Any) -> None:
    table = pq.read_table(small_shop_learned.kitchen.history / "customers.parquet")
    locale = dict(zip(table["customer_id"].to_pylist(), table["locale"].to_pylist(), strict=True))

    for row, customer in enumerate(shop_bundle.customer_ids.ids):
        expected = "ru" if (locale.get(customer) or "").startswith("ru") else "en"
        assert shop_bundle.language(row) == expected
