"""What a customer is told is true: every sentence against the order lines, in both languages."""

from __future__ import annotations

import calendar
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.offers import REASON, REASONS, Offer, SlateRequest
from nextoffer.features.diary import Calendar, Diary, Interest
from nextoffer.offers.choosing import Policy
from nextoffer.offers.reasons import _usual_gap_days, reason_of
from nextoffer.offers.recommend import recommend
from nextoffer.offers.replenishment import usual_gap_days
from nextoffer.offers.sentences import span_text

LONDON = ZoneInfo("Europe/London")


def days_text(days: int, language: str = "en") -> str:
    return span_text(timedelta(days=days), language)


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

    def sentence(self, row: int, product: int, because: int, days: int = 0, incentive: str = "") -> str:
        now = self.bundle.as_of + timedelta(days=days)
        english, russian = (
            reason_of(
                self.bundle, row, product, because, REASON[self.reason], incentive, now, language, LONDON
            )
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


def test_the_gap_of_one_pair_is_that_of_all(shop_bundle: Bundle) -> None:
    pairs = np.arange(len(shop_bundle.knowledge.pairs.product))

    one_by_one = [_usual_gap_days(shop_bundle, int(pair)) for pair in pairs]

    assert np.array_equal(one_by_one, usual_gap_days(shop_bundle, pairs))


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
        assert stored.sentence(row, product, because, incentive="15 % off") == (
            f"It has been {silent} since your last order. For your return: 15 % off."
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
    assert reason_of(bundle, -1, popular, -1, code, "", now, "en").text == "Popular in the shop now."
    assert reason_of(bundle, -1, 3, -1, code, "", now, "en").text == "Popular in the shop."


def offers_for(bundle: Bundle, policy: Policy, request: SlateRequest) -> tuple[Offer, ...]:
    policy = replace(policy, n=100, max_per_kind=100, min_expected_profit=-1e9)
    return recommend(bundle, policy, request, bundle.as_of).offers


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


@dataclass(frozen=True)
class Tables:
    """What the shop's other tables say, by customer id, as plain Python."""

    born: dict[str, date]
    points: dict[str, tuple[int, date]]
    passes: dict[tuple[str, str], list[tuple[date, date]]]
    seen: dict[tuple[str, str], list[tuple[datetime, str]]]


@pytest.fixture(scope="module")
def tables(small_shop_learned: Any) -> Tables:
    folder = small_shop_learned.kitchen.history

    def rows(name: str) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = pq.read_table(folder / f"{name}.parquet").to_pylist()
        return listed

    def day(moment: datetime) -> date:
        return moment.replace(tzinfo=UTC).astimezone(LONDON).date()

    customers = rows("customers")
    passes, seen = defaultdict(list), defaultdict(list)
    for row in rows("subscriptions"):
        span = day(row["started_at"]), day(row["ends_at"])
        passes[row["customer_id"], row["product_id"]].append(span)
    for row in rows("interactions"):
        if row["occurred_at"].replace(tzinfo=UTC) < small_shop_learned.as_of:
            seen[row["customer_id"], row["product_id"]].append((row["occurred_at"], row["event"]))
    return Tables(
        {row["customer_id"]: row["birth_date"] for row in customers if row["birth_date"]},
        {
            row["customer_id"]: (row["points_balance"], day(row["points_expire_at"]))
            for row in customers
            if row["points_expire_at"]
        },
        passes,
        seen,
    )


def plain_date(day: date) -> str:
    months = "January February March April May June July August September October November December"
    return f"{day.day} {months.split()[day.month - 1]}"


def london_day(bundle: Bundle, days: int = 0) -> date:
    return (bundle.as_of + timedelta(days=days)).astimezone(LONDON).date()


@pytest.mark.parametrize("days", [0, 3, 7])
def test_a_birthday_is_congratulated_before_on_and_after_the_day_with_its_date(
    days: int, shop_bundle: Bundle, tables: Tables
) -> None:
    stored, seen = Stored(shop_bundle, "birthday"), set()
    today = london_day(shop_bundle, days)
    for row, product, because, customer, _ in stored:
        born = tables.born[customer]
        if (born.month, born.day) == (2, 29):
            continue
        years = (today.year - 1, today.year, today.year + 1)
        day = min((date(year, born.month, born.day) for year in years), key=lambda on: abs(on - today))
        expected = {
            -1: f"Happy birthday on {plain_date(day)}!",
            0: "Happy birthday!",
            1: f"Happy birthday: it was on {plain_date(day)}.",
        }[(today > day) - (today < day)]
        assert stored.sentence(row, product, because, days) == expected
        gift = stored.sentence(row, product, because, days, incentive="free delivery")
        assert gift == f"{expected} For your day: free delivery."
        seen.add(expected.split()[-2])
    assert seen


def test_points_are_told_with_the_day_the_next_of_them_expire(shop_bundle: Bundle, tables: Tables) -> None:
    stored = Stored(shop_bundle, "points-expire")
    today, checked = london_day(shop_bundle), 0
    for row, product, because, customer, _ in stored:
        points, ends = tables.points[customer]
        when = "today" if ends == today else f"on {plain_date(ends)}"
        assert (
            stored.sentence(row, product, because) == f"You hold {points:,} points; the next expire {when}."
        )
        checked += 1
    assert checked > 5


def test_a_renewal_names_the_pass_and_its_last_day(shop_bundle: Bundle, tables: Tables) -> None:
    stored = Stored(shop_bundle, "renewal")
    today, checked = london_day(shop_bundle), 0
    for row, product, because, customer, product_id in stored:
        assert because == product
        ends = max(end for _, end in tables.passes[customer, product_id])
        told = {
            -1: f"ended on {plain_date(ends)}",
            0: "ends today",
            1: f"ends on {plain_date(ends)}",
        }[(ends > today) - (ends < today)]
        title = shop_bundle.catalogue.title[product]
        assert stored.sentence(row, product, because) == f"Your pass “{title}” {told}."
        checked += 1
    assert checked > 5


@pytest.mark.parametrize("reason", ["left-in-cart", "viewed-not-bought"])
def test_what_was_left_behind_was_seen_so_long_ago_and_is_or_is_not_in_the_cart(
    reason: str, shop_bundle: Bundle, tables: Tables
) -> None:
    stored, checked = Stored(shop_bundle, reason), 0
    now = shop_bundle.as_of.replace(tzinfo=None)
    for row, product, because, customer, product_id in stored:
        events = [one for one in tables.seen[customer, product_id] if now - one[0] <= timedelta(days=14)]
        carts = [(at, event) for at, event in events if event != "detail-page-view"]
        carted = bool(carts) and max(carts)[1] == "add-to-cart"
        last = max(at for at, event in events if event != "remove-from-cart")
        verb = "left this in your cart" if carted else "looked at this"
        assert carted == (reason == "left-in-cart")
        assert stored.sentence(row, product, because) == f"You {verb} {days_text((now - last).days)} ago."
        checked += 1
    assert checked > 5


def with_calendar(bundle: Bundle, **days: int) -> Bundle:
    columns = {name: np.full(len(bundle.customer_ids.ids), value) for name, value in days.items()}
    return replace(bundle, diary=Diary(calendar=Calendar(**columns)))


def on(bundle: Bundle, reason: str, language: str = "en", **asked: Any) -> str:
    """The sentence of a reason for customer 0 and product 0, at the bundle's own moment."""
    code = REASON[reason]
    return reason_of(bundle, 0, 0, -1, code, "", bundle.as_of, language, LONDON, **asked).text


@given(first=st.dates(date(1990, 1, 1), date(2040, 1, 1)), after=st.integers(0, 9000))
@settings(max_examples=300)
def test_an_anniversary_counts_the_years_of_the_day_it_names(
    shop_bundle: Bundle, first: date, after: int
) -> None:
    today = first + timedelta(days=after)
    moment = datetime.combine(today, time(12), tzinfo=LONDON)
    bundle = with_calendar(shop_bundle, first_order_day=(first - date(1970, 1, 1)).days)
    bundle = replace(bundle, as_of=moment)

    text = on(bundle, "anniversary")

    if text == "You might like this.":  # the nearest such day is that of the first order itself
        assert after <= 184
        return
    counted = re.search(r"(\d+) years", text)
    years = int(counted[1]) if counted else 1
    if "today" in text:
        assert (first.month, first.day, first.year + years) == (today.month, today.day, today.year) or (
            (first.month, first.day) == (2, 29) and (today.month, today.day) in ((2, 28), (3, 1))
        )
    elif (first.month, first.day) != (2, 29):
        day = date(first.year + years, first.month, first.day)
        assert plain_date(day) in text
        assert ("it will be" in text) == (day > today) and ("it was" in text) == (day < today)
        assert abs((day - today).days) <= 183


@given(
    day=st.dates(date(2000, 1, 1), date(2000, 12, 31)),  # a leap year: every day there is
    today=st.dates(date(2023, 1, 1), date(2030, 12, 31)),
)
@settings(max_examples=300)
def test_a_birthday_wish_is_true_on_every_day_of_every_year(
    shop_bundle: Bundle, day: date, today: date
) -> None:
    bundle = with_calendar(shop_bundle, birth_month=day.month, birth_day=day.day)
    bundle = replace(bundle, as_of=datetime.combine(today, time(0, 30), tzinfo=LONDON))

    text, russian = on(bundle, "birthday"), on(bundle, "birthday", "ru")

    leap = (day.month, day.day) == (2, 29) and not calendar.isleap(today.year)
    if leap and text == "Happy birthday!":
        assert (today.month, today.day) in ((2, 28), (3, 1))
    elif text == "Happy birthday!":
        assert (day.month, day.day) == (today.month, today.day)
    else:
        assert (day.month, day.day) != (today.month, today.day)
        assert plain_date(day) in text or (day.month, day.day) == (2, 29)
    assert any("а" <= letter <= "я" for letter in russian)


def test_nothing_is_said_of_what_is_not_known(shop_bundle: Bundle) -> None:
    bare = replace(shop_bundle, diary=Diary())

    for reason in (
        "birthday",
        "anniversary",
        "points-expire",
        "renewal",
        "left-in-cart",
        "viewed-not-bought",
    ):
        assert on(bare, reason) == "You might like this."
        assert on(bare, reason, "ru") == "Это может вам понравиться."
    for code in range(len(REASONS)):  # nobody, nothing, no cause: still a sentence
        assert reason_of(bare, -1, -1, -1, code, "", bare.as_of, "en").text


def test_points_that_are_gone_and_a_day_that_is_past_are_not_told(shop_bundle: Bundle) -> None:
    today = (london_day(shop_bundle) - date(1970, 1, 1)).days

    for points, day in ((0, today + 1), (250, today - 1)):
        bundle = with_calendar(shop_bundle, points_balance=points, points_expire_day=day)
        assert on(bundle, "points-expire") == "You might like this."
    bundle = with_calendar(shop_bundle, points_balance=1250, points_expire_day=today)
    assert on(bundle, "points-expire") == "You hold 1,250 points; the next expire today."
    assert on(bundle, "points-expire", "ru") == "У вас 1\u00a0250 баллов; ближайшие баллы сгорают сегодня."


def test_live_interest_is_told_before_the_bundles(shop_bundle: Bundle) -> None:
    seen_at = int(shop_bundle.as_of.timestamp()) - 5 * 86400
    interest = Interest(np.array([0]), np.array([0]), np.array([seen_at]), np.array([False]))
    bundle = replace(shop_bundle, diary=Diary(interest=interest))
    product = bundle.catalogue.ids.text(0)

    assert on(bundle, "left-in-cart") == "You looked at this 5 days ago."  # not known to be in the cart
    assert (
        on(bundle, "left-in-cart", seen=((product, True, 30.0),)) == "You left this in your cart 1 day ago."
    )
    assert (
        on(bundle, "left-in-cart", seen=((product, True, 2.5),)) == "You left this in your cart 2 hours ago."
    )
    assert (
        on(bundle, "viewed-not-bought", seen=(("another", False, 1.0),)) == "You looked at this 5 days ago."
    )


def test_a_marketer_speaks_in_their_own_words_in_the_customers_language(shop_bundle: Bundle) -> None:
    both = {"en": "Fresh from the harvest.", "ru": "Новый урожай."}

    assert on(shop_bundle, "hand-picked", own=both) == "Fresh from the harvest."
    assert on(shop_bundle, "hand-picked", "ru-RU", own=both) == "Новый урожай."
    assert on(shop_bundle, "hand-picked", "ru", own="Sale {today}!") == "Sale {today}!"
    assert on(shop_bundle, "hand-picked", "ru") == "Выбор магазина."
