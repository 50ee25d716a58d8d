"""Reasons a shopper understands, in English and Russian; each is true for this customer or not given."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from nextoffer.bundle.bundle import LANGUAGES, Bundle
from nextoffer.domain.offers import REASONS, Reason
from nextoffer.offers.replenishment import usual_gap_days

FRESH_DAYS = 7  # for so long after as_of the present moment may be used to say "n days ago"

_TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "due-for-refill": "You buy this about every {gap}; the last one was {since} ago.",
        "runs-out": "What you usually buy of this lasts about {gap}; the last time was {since} ago.",
        "bought-together": "Often bought together with {because}, which you bought {since} ago.",
        "goes-with-cart": "Goes with {because} in your cart.",
        "bought-lately": "Often bought together with {because}, which you bought lately.",
        "step-up": "A step up from {because}, which you bought {since} ago.",
        "similar-customers": "Customers with tastes like yours choose this.",
        "like-viewed": "Similar to {because}, which you looked at.",
        "popular-now": "Popular in the shop now.",
        "popular": "Popular in the shop.",
        "we-miss-you": "It has been {silent} since your last order: here is {percent} % off for your return.",
        "we-miss-you, no discount": "It has been {silent} since your last order: you might like this.",
    },
    "ru": {
        "due-for-refill": "Вы покупаете это примерно раз в {gap}; последний раз — {since} назад.",
        "runs-out": "Обычной вашей покупки хватает примерно на {gap}; последняя была {since} назад.",
        "bought-together": "Часто берут вместе с товаром «{because}», который вы купили {since} назад.",
        "goes-with-cart": "Подходит к товару «{because}» в вашей корзине.",
        "bought-lately": "Часто берут вместе с товаром «{because}», который вы недавно купили.",
        "step-up": "Классом выше, чем «{because}», который вы купили {since} назад.",
        "similar-customers": "Это выбирают покупатели с похожими вкусами.",
        "like-viewed": "Похоже на «{because}», который вы смотрели.",
        "popular-now": "Сейчас популярно в магазине.",
        "popular": "Популярно в магазине.",
        "we-miss-you": "С вашего последнего заказа прошло {silent}: дарим скидку {percent} % к возвращению.",
        "we-miss-you, no discount": "С вашего последнего заказа прошло {silent}: это может вам понравиться.",
    },
}


def reason_of(
    bundle: Bundle,
    customer_row: int,
    product: int,
    because: int,
    reason: int,
    level: float,
    now: datetime,
    language: str,
) -> Reason:
    """The reason for one offer, with the products it rests on."""
    code = REASONS[reason]
    language = language[:2].lower()
    language = language if language in LANGUAGES else "en"
    later = (now - bundle.as_of).days if 0 <= (now - bundle.as_of).days <= FRESH_DAYS else 0
    words: dict[str, str] = {}
    if because >= 0:
        words["because"] = bundle.catalogue.title[because] or bundle.catalogue.ids.text(because)
    pair = _pair(bundle, customer_row, because if because >= 0 else product)
    if pair >= 0:
        pairs = bundle.knowledge.pairs
        words["since"] = days_text(int(pairs.last_age_days[pair]) + later, language)
        gap = float(usual_gap_days(bundle, np.array([pair]))[0])
        words["gap"] = days_text(round(gap), language)
    if customer_row >= 0:
        silent = int(bundle.knowledge.customers.recency_days[customer_row]) + later
        words["silent"] = days_text(silent, language)
    words["percent"] = f"{level * 100:g}"
    ids = (bundle.catalogue.ids.text(because),) if because >= 0 else ()
    return Reason(code, _text(bundle, code, product, level, language).format(**words), ids)


def _text(bundle: Bundle, code: str, product: int, level: float, language: str) -> str:
    """The sentence for a reason: as much of it as is true of this product and this discount."""
    if code == "we-miss-you" and level == 0:
        code = "we-miss-you, no discount"
    if code == "popular-now" and bundle.knowledge.products.share_28[product] == 0:
        code = "popular"
    return _TEXTS[language][code]


def days_text(days: int, language: str) -> str:
    """A span of days as people say it: 27 days, 4 weeks, 5 months."""
    days = max(days, 1)
    if language == "ru":
        unit, count = ("дн.", days) if days < 28 else ("нед.", round(days / 7))
        if days >= 91:
            unit, count = "мес.", round(days / 30.4)
        return f"{count} {unit}"
    unit, count = ("day", days) if days < 28 else ("week", round(days / 7))
    if days >= 91:
        unit, count = "month", round(days / 30.4)
    return f"{count} {unit}{'' if count == 1 else 's'}"


def _pair(bundle: Bundle, customer_row: int, product: int) -> int:
    """Row of (customer, product) in the pairs; −1 if the customer never bought it."""
    if customer_row < 0:
        return -1
    pairs = bundle.knowledge.pairs
    start, end = int(pairs.indptr[customer_row]), int(pairs.indptr[customer_row + 1])
    at = start + int(pairs.product[start:end].searchsorted(product))
    return at if at < end and int(pairs.product[at]) == product else -1
