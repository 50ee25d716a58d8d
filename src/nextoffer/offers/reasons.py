"""Reasons a shopper understands, in their language; each is true for this customer or not given.

One function for each reason code takes the facts from the bundle; `sentences` puts them into words.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, tzinfo

import numpy as np

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.arrays import Ints
from nextoffer.domain.offers import REASONS, Reason
from nextoffer.offers.sentences import Facts, sentence
from nextoffer.texts import LANGUAGES, language_of

FRESH_DAYS = 7  # for so long after as_of the present moment may be used to say "n days ago"
_EPOCH = date(1970, 1, 1)
_NOTHING = Facts()


@dataclass(frozen=True, slots=True)
class Told:
    """One offer to give a reason for; rows are −1 where there is no customer, product or because.

    `now` is the moment to speak of, `seen` what was viewed or carted in earlier visits, as in SlateRequest.
    """

    bundle: Bundle
    customer: int
    product: int
    because: int
    now: datetime
    zone: tzinfo
    seen: Sequence[tuple[str, bool, float]] = ()

    @property
    def today(self) -> date:
        """The day in the shop's time zone."""
        return self.now.astimezone(self.zone).date()

    @property
    def later(self) -> timedelta:
        """How long ago the bundle's figures were true, in whole days."""
        return timedelta(days=(self.now - self.bundle.as_of).days)


def reason_of(
    bundle: Bundle,
    customer_row: int,
    product: int,
    because: int,
    reason: int,
    incentive: str,
    now: datetime,
    language: str,
    zone: tzinfo = UTC,
    own: str | Mapping[str, str] = "",
    seen: Sequence[tuple[str, bool, float]] = (),
) -> Reason:
    """The reason for one offer, with the products it rests on.

    Parameters
    ----------
    incentive : what is given with it in words (`incentive_text`), empty for none
    language : a tag such as ru-RU; a language without a catalogue is answered in English
    zone : the shop's; in it days begin
    own : a marketer's own words, in one language or by language
    seen : product id, whether it is in the cart, hours ago: live events of this customer
    """
    code, language = REASONS[reason], language_of(language)
    fresh = 0 <= (now - bundle.as_of).days <= FRESH_DAYS
    told = Told(bundle, customer_row, product, because, now if fresh else bundle.as_of, zone, seen)
    facts = _FACTS[code](told) if code in _FACTS else _NOTHING
    if incentive or own:
        facts = replace(facts, incentive=incentive, own=own_text(own, language))
    ids = (bundle.catalogue.ids.text(because),) if because >= 0 else ()
    return Reason(code, sentence(code, facts, language), ids)


def own_text(own: str | Mapping[str, str], language: str) -> str:
    """A marketer's words in a language, else in English, else in whichever there is.

    >>> own_text({"en": "New!", "ru": "Новинка!"}, "ru"), own_text("Sale", "ru"), own_text({"ru": "Да"}, "en")
    ('Новинка!', 'Sale', 'Да')
    """
    if isinstance(own, str):
        return own
    return own.get(language) or own.get(LANGUAGES[0]) or next(iter(own.values()), "")


def _habit(told: Told) -> Facts:
    pair = _pair(told, told.product)
    if pair < 0:
        return _NOTHING
    return Facts(since=_since(told, pair), gap=timedelta(days=round(_usual_gap_days(told.bundle, pair))))


def _usual_gap_days(bundle: Bundle, pair: int) -> float:
    """`replenishment.usual_gap_days` of one pair, without numpy's price for a column of one."""
    pairs = bundle.knowledge.pairs
    shelf = float(bundle.catalogue.shelf_life_days[int(pairs.product[pair])])
    if shelf > 0:
        return shelf * max(float(pairs.quantity[pair]) / int(pairs.n_orders[pair]), 1.0)
    span = int(pairs.first_age_days[pair]) - int(pairs.last_age_days[pair])
    return span / max(int(pairs.n_days[pair]) - 1, 1)


def _because(told: Told) -> Facts:
    """The product the reason names, and when this customer last bought it."""
    if told.because < 0:
        return _NOTHING
    pair = _pair(told, told.because)
    return Facts(product=_title(told, told.because), since=_since(told, pair) if pair >= 0 else None)


def _popularity(told: Told) -> Facts:
    lately = told.bundle.knowledge.products.share_28
    return Facts(now=told.product >= 0 and bool(lately[told.product] > 0))


def _silence(told: Told) -> Facts:
    if told.customer < 0:
        return _NOTHING
    days = int(told.bundle.knowledge.customers.recency_days[told.customer])
    return Facts(silent=timedelta(days=days) + told.later)


def _interest(told: Told) -> Facts:
    """The newest of what this visit's events and the bundle know of the product."""
    known = list(_stored_interest(told))
    if told.seen and told.product >= 0:
        product_id = told.bundle.catalogue.ids.text(told.product)
        known += [(timedelta(hours=hours), carted) for seen, carted, hours in told.seen if seen == product_id]
    if not known:
        return _NOTHING
    since, carted = min(known, key=lambda one: (one[0], not one[1]))
    return Facts(since=max(since, timedelta()), carted=carted)


def _stored_interest(told: Told) -> list[tuple[timedelta, bool]]:
    interest = told.bundle.diary.interest
    start, end = _entries(interest.customer, told.customer)
    at = np.flatnonzero(interest.product[start:end] == told.product)
    now = told.now.timestamp()
    return [
        (timedelta(seconds=now - int(interest.seen_at[start + i])), bool(interest.carted[start + i]))
        for i in at[:1]
    ]


def _birthday(told: Told) -> Facts:
    days = told.bundle.diary.calendar
    month, day = _of(days.birth_month, told.customer), _of(days.birth_day, told.customer)
    if not month:
        return _NOTHING
    today = told.today
    on, late = _occasion(month, day, today)
    return Facts(today=today, day=on, late=late)


def _anniversary(told: Told) -> Facts:
    days = _of(told.bundle.diary.calendar.first_order_day, told.customer)
    if not days:
        return _NOTHING
    first, today = _EPOCH + timedelta(days=days), told.today
    on, late = _occasion(first.month, first.day, today)
    return Facts(today=today, day=on, late=late, years=(today - timedelta(days=late)).year - first.year)


def _points(told: Told) -> Facts:
    days = told.bundle.diary.calendar
    points, ends = _of(days.points_balance, told.customer), _of(days.points_expire_day, told.customer)
    if not ends:
        return _NOTHING
    return Facts(today=told.today, day=_EPOCH + timedelta(days=ends), points=points)


def _renewal(told: Told) -> Facts:
    """The pass of this product that ends last."""
    passes = told.bundle.diary.passes
    start, end = _entries(passes.customer, told.customer)
    at = np.flatnonzero(passes.product[start:end] == told.product)
    if told.product < 0 or not len(at):
        return _NOTHING
    ends = _EPOCH + timedelta(days=int(passes.ends_day[start + at].max()))
    return Facts(today=told.today, day=ends, product=_title(told, told.product))


def _occasion(month: int, day: int, today: date) -> tuple[date | None, int]:
    """The occurrence of a yearly day nearest to `today` (None for 29 February of a common year), and by how many
    days it is past. In common years who was born on 29 February is spoken to on the 28th and the 1st alike.

    >>> _occasion(12, 31, date(2026, 1, 2)), _occasion(2, 29, date(2026, 3, 3))
    ((datetime.date(2025, 12, 31), 2), (None, 2))
    """
    found: list[tuple[date | None, int]] = []
    for year in (today.year - 1, today.year, today.year + 1):
        if (month, day) == (2, 29) and not calendar.isleap(year):
            before, after = (today - date(year, 2, 28)).days, (today - date(year, 3, 1)).days
            found.append((None, min(before, 0) or max(after, 0)))
        else:
            on = date(year, month, day)
            found.append((on, (today - on).days))
    return min(found, key=lambda one: (abs(one[1]), -one[1]))


def _pair(told: Told, product: int) -> int:
    """Row of (customer, product) in the pairs; −1 if the customer never bought it."""
    if told.customer < 0:
        return -1
    pairs = told.bundle.knowledge.pairs
    start, end = int(pairs.indptr[told.customer]), int(pairs.indptr[told.customer + 1])
    at = start + int(pairs.product[start:end].searchsorted(product))
    return at if at < end and int(pairs.product[at]) == product else -1


def _since(told: Told, pair: int) -> timedelta:
    return timedelta(days=int(told.bundle.knowledge.pairs.last_age_days[pair])) + told.later


def _title(told: Told, product: int) -> str:
    catalogue = told.bundle.catalogue
    return catalogue.title[product] or catalogue.ids.text(product)


def _of(column: Ints, customer: int) -> int:
    """A figure of one customer; 0 where nobody has one."""
    return int(column[customer]) if 0 <= customer < len(column) else 0


def _entries(customers: Ints, customer: int) -> tuple[int, int]:
    """Where one customer's rows begin and end in a sorted column."""
    row = customers.dtype.type(customer)  # of another type, numpy would convert the whole column first
    return int(customers.searchsorted(row, "left")), int(customers.searchsorted(row, "right"))


_FACTS: dict[str, Callable[[Told], Facts]] = {
    "due-for-refill": _habit,
    "runs-out": _habit,
    "bought-together": _because,
    "goes-with-cart": _because,
    "bought-lately": _because,
    "step-up": _because,
    "like-viewed": _because,
    "popular-now": _popularity,
    "we-miss-you": _silence,
    "left-in-cart": _interest,
    "viewed-not-bought": _interest,
    "birthday": _birthday,
    "anniversary": _anniversary,
    "points-expire": _points,
    "renewal": _renewal,
}
