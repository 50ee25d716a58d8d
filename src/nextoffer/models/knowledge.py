"""Everything learned from one history at one `as_of`: what the ranker, the offers and the backtest use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.features.catalogue import Catalogue
from nextoffer.features.interactions import Features, Pairs
from nextoffer.models.collaborative import (
    Factors,
    Neighbours,
    fit_companions,
    fit_factors,
    fit_similar,
)
from nextoffer.models.families import Families, fit_families
from nextoffer.models.lifetime import Lifetime, fit_lifetime, score_customers
from nextoffer.models.people import People, fit_people
from nextoffer.models.regression import Weights, fit_ease, fit_next_basket
from nextoffer.models.reorder import Reorder, fit_reorder
from nextoffer.models.segments import Codes, Segments, Vector, fit_segments, predict_segments, published_codes


@dataclass(frozen=True, slots=True, eq=False)
class Customers:
    """One row per customer with a purchase, in the order of the sorted ids; counts net of returns.

    Days are ages before as_of; money is currency units; `segment` indexes domain.tables.SEGMENTS: the name
    published, and `segment_candidate` the one nearest tonight. Chances of any order: `p_buy` within the horizon by
    the purchase law alone, which the ranker looks at; `p_order` the same, and p_buy_28, p_buy_90 and p_lapsed
    (none within 180 days), as `recipe.learn_all` calibrates them (else the law's too). `log_again_28` is the log
    share of the products they bought earlier that they bought again in the last 28 days.
    """

    recency_days: Ints
    first_age_days: Ints
    frequency: Ints
    n_lines: Ints
    monetary: Floats
    log_unit_price: Floats
    log_again_28: Floats
    cluster: Ints
    segment: Codes
    segment_candidate: Codes
    p_buy: Floats
    p_order: Floats
    p_buy_28: Floats
    p_buy_90: Floats
    p_lapsed: Floats
    expected_value: Floats

    def __len__(self) -> int:
        return len(self.recency_days)


@dataclass(frozen=True, slots=True, eq=False)
class Products:
    """One row per product of the catalogue: how it sells. Shares are of all customers who bought lately.

    `trend` is the log of the last 10 days' pace against the last 28 days', `log_again_28` the log share of its
    earlier buyers who bought it again in the last 28 days, `log_new_28` the log number of its new buyers.
    """

    n_orders: Ints
    n_customers: Ints
    share_28: Floats
    log_share_28: Floats
    log_share_all: Floats
    trend: Floats
    log_age: Floats
    log_last_age: Floats
    rebuy_share: Floats
    log_unit_price: Floats
    log_again_28: Floats
    log_new_28: Floats
    last_age_days: Ints

    def __len__(self) -> int:
        return len(self.n_orders)

    def popular(self, n: int, allowed: Bools | None = None) -> Ints:
        """Rows of the `n` products most customers bought in the last four weeks; ties by all time, row."""
        sold = self.n_orders > 0
        rows = np.flatnonzero(sold if allowed is None else sold & allowed)
        if 0 < n < len(rows):  # a storefront asks for few of many: only those can be among them
            share = self.share_28[rows]
            rows = rows[share >= np.partition(share, -n)[-n]]
        order = np.lexsort((rows, -self.n_customers[rows], -self.share_28[rows]))
        return rows[order][:n]


@dataclass(frozen=True, slots=True, eq=False)
class Knowledge:
    """The parts, each a flat dataclass of arrays, written to the bundle one by one."""

    horizon_days: int
    customers: Customers
    products: Products
    pairs: Pairs
    factors: Factors
    next_basket: Weights
    ease: Weights
    people: People
    similar: Neighbours
    companions: Neighbours
    ladder: Families
    reorder: Reorder
    lifetime: Lifetime
    segments: Segments


def learn(
    features: Features,
    catalogue: Catalogue,
    horizon_days: int,
    seed: int,
    previous_segments: Segments | None = None,
    progress: Callable[[str], None] = lambda stage: None,
) -> Knowledge:
    """Fit every model on features of one moment. Nothing after that moment is looked at."""
    pairs, orders, n_products = features.pairs, features.shop_orders, len(catalogue.ids)
    products = describe_products(features)
    progress("segments")
    segments = fit_segments(
        *rfm_columns(features, catalogue.digits),
        seed=seed,
        previous=previous_segments,
        day=features.as_of.toordinal(),
    )
    progress("lifetime")
    lifetime, customers = _describe_customers(features, catalogue.digits, segments, products, horizon_days)
    progress("reorder")
    reorder = fit_reorder(pairs.product, pairs.n_days, pairs.first_age_days, pairs.last_age_days, n_products)
    progress("factors")
    weights = pairs.matrix(pairs.weight, n_products)
    factors = fit_factors(weights, seed)
    progress("next basket")
    recent = pairs.matrix(pairs.step_weight, n_products)
    next_basket = fit_next_basket(features.baskets, n_products)
    ease = fit_ease(recent)
    people = fit_people(recent, features.rfm.recency_days)
    progress("neighbours")
    similar = fit_similar(weights)
    together = features.cooccurrence
    companions = fit_companions(
        together.indptr, together.other, together.n_orders, products.n_orders, len(orders.age_days)
    )
    progress("families")
    return Knowledge(
        horizon_days=horizon_days,
        customers=customers,
        products=products,
        pairs=pairs,
        factors=factors,
        next_basket=next_basket,
        ease=ease,
        people=people,
        similar=similar,
        companions=companions,
        ladder=_ladder(catalogue, products),
        reorder=reorder,
        lifetime=lifetime,
        segments=segments,
    )


def rfm_columns(features: Features, digits: int) -> tuple[Ints, Ints, Vector]:
    """Recency in days, number of orders and spend in currency; (n_customers,) each."""
    rfm = features.rfm
    return rfm.recency_days, rfm.frequency, np.asarray(rfm.monetary, dtype=np.float64) / 10**digits


def _describe_customers(
    features: Features, digits: int, segments: Segments, products: Products, horizon_days: int
) -> tuple[Lifetime, Customers]:
    """How each customer orders and may order, by the purchase law as it is."""
    rfm, pairs = features.rfm, features.pairs
    columns = rfm_columns(features, digits)
    monetary = columns[-1]
    ages = (rfm.n_order_days, rfm.recency_days, rfm.first_age_days)
    lifetime = fit_lifetime(*ages, monetary / np.maximum(rfm.frequency, 1))
    month, horizon = (
        score_customers(lifetime, *ages, monetary, rfm.frequency, days) for days in (28, horizon_days)
    )
    cluster = predict_segments(segments, *columns)
    nearest = published_codes(segments, cluster, rfm.recency_days, rfm.frequency)
    return lifetime, Customers(
        recency_days=rfm.recency_days,
        first_age_days=rfm.first_age_days,
        frequency=rfm.frequency,
        n_lines=rfm.n_lines,
        monetary=monetary,
        log_unit_price=_usual_price(pairs, products),
        log_again_28=_log_again(pairs, pairs.customer(), len(rfm.recency_days)),
        cluster=cluster,
        segment=nearest,
        segment_candidate=nearest,
        p_buy=horizon.p_buy,
        p_order=horizon.p_buy,
        p_buy_28=month.p_buy,
        p_buy_90=month.p_buy_90,
        p_lapsed=month.p_lapsed,
        expected_value=month.expected_value,
    )


def _ladder(catalogue: Catalogue, products: Products) -> Families:
    """What nobody has bought yet is on no ladder: in a backtest, today's catalogue tells what will come."""
    prices = np.where(products.n_orders > 0, catalogue.prices(), np.nan)
    return fit_families(catalogue.title, catalogue.category, prices, products.n_orders)


def describe_products(features: Features) -> Products:
    """How each product sells, from the popularity table; a product never sold has zero counts."""
    sold, pairs = features.popularity, features.pairs
    new = np.bincount(pairs.product[pairs.first_age_days < 28], minlength=len(sold.n_orders))
    lately = max(int((features.rfm.recency_days < 28).sum()), 1)
    everyone = max(len(features.rfm.recency_days), 1)
    share_28 = sold.n_customers_28 / lately
    pace = (sold.n_customers_10 / 10 + 0.05) / (sold.n_customers_28 / 28 + 0.05)
    unit_price = sold.revenue / np.maximum(sold.quantity, 1e-9)
    return Products(
        n_orders=sold.n_orders.astype(np.int32),
        n_customers=sold.n_customers.astype(np.int32),
        share_28=share_28.astype(np.float32),
        log_share_28=np.log(share_28 + 0.5 / lately).astype(np.float32),
        log_share_all=np.log((sold.n_customers + 0.5) / everyone).astype(np.float32),
        trend=np.log(pace).astype(np.float32),
        log_age=np.log1p(sold.first_age_days).astype(np.float32),
        log_last_age=np.log1p(sold.last_age_days).astype(np.float32),
        rebuy_share=((sold.n_repeat_customers + 1.0) / (sold.n_customers + 5.0)).astype(np.float32),
        log_unit_price=np.log(np.maximum(unit_price, 1.0)).astype(np.float32),
        log_again_28=_log_again(pairs, pairs.product, len(sold.n_orders)),
        log_new_28=np.log(new + 0.5).astype(np.float32),
        last_age_days=sold.last_age_days.astype(np.int32),
    )


def _usual_price(pairs: Pairs, products: Products) -> Floats:
    """Mean log unit price of the products each customer bought."""
    owner = np.repeat(np.arange(len(pairs.indptr) - 1), np.diff(pairs.indptr))
    total = np.bincount(owner, products.log_unit_price[pairs.product], minlength=len(pairs.indptr) - 1)
    return (total / np.maximum(np.diff(pairs.indptr), 1)).astype(np.float32)


def _log_again(pairs: Pairs, group: Ints, n: int) -> Floats:
    """(n,) log share of each group's pairs older than 28 days that were bought in the last 28, shrunk."""
    old = pairs.first_age_days >= 28
    again = old & (pairs.last_age_days < 28)
    usual = (again.sum() + 0.5) / (old.sum() + 1.0)
    share = (np.bincount(group[again], minlength=n) + 5 * usual) / (np.bincount(group[old], minlength=n) + 5)
    return np.asarray(np.log(share), dtype=np.float32)
