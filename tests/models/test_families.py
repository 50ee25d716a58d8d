"""Families gather one kind of thing; a ladder step is dearer by 10 to 60 percent and nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nextoffer.domain.arrays import Strings
from nextoffer.models.families import MOST_STEPS, Families, fit_families
from nextoffer.models.titles import distinct_texts, title_vectors

KINDS = {
    "lunch bag": 1.65,
    "hot water bottle": 4.25,
    "wall clock": 8.95,
    "cake stand": 12.75,
    "tea towel": 2.95,
    "gift wrap": 0.42,
}
LOOKS = ["red retrospot", "pink polkadot", "woodland", "spaceboy", "vintage leaf", "skulls", "dolly girl"]


def fit(
    titles: list[str | None],
    prices: list[float],
    categories: list[str | None] | None = None,
    popularity: list[int] | None = None,
) -> Families:
    n = len(titles)
    return fit_families(
        Strings.of(titles),
        Strings.of([None] * n if categories is None else categories),
        np.array(prices, dtype=np.float64),
        np.array([1] * n if popularity is None else popularity),
    )


def steps_of(families: Families, row: int) -> list[int]:
    return families.product[families.indptr[row] : families.indptr[row + 1]].tolist()


def planted() -> tuple[list[str | None], list[float], np.ndarray]:
    """Six kinds in seven looks, the look before or after the kind, one mistyped; each kind at its price."""
    titles: list[str | None] = []
    prices: list[float] = []
    for at, (kind, price) in enumerate(KINDS.items()):
        for turn, look in enumerate(LOOKS):
            title = f"{look} {kind}" if turn % 2 else f"{kind}, {look}"
            titles.append(title.replace("bottle", "bottel").upper() if turn == 3 else title.upper())
            prices.append(round(price * (1 + 0.04 * ((at + turn) % 7)), 2))
    return titles, prices, np.repeat(np.arange(len(KINDS)), len(LOOKS))


def catalogue(n: int, seed: int = 0) -> tuple[list[str | None], list[float], list[int]]:
    """Titles of five words with a few common and many rare ones, as catalogues have them."""
    rng = np.random.default_rng(seed)
    letters = rng.integers(97, 123, (3000, 7), dtype=np.uint8)
    words = np.array([bytes(word[: 3 + at % 5]).decode() for at, word in enumerate(letters)])
    titles: list[str | None] = [" ".join(words[row]) for row in rng.zipf(1.3, (n, 5)) % len(words)]
    return titles, rng.lognormal(2, 0.6, n).round(2).tolist(), rng.poisson(5, n).tolist()


def test_planted_kinds_are_found_whatever_their_look_word_order_and_typing_errors() -> None:
    titles, prices, kinds = planted()

    families = fit(titles, prices)

    pairs = {(int(kind), int(family)) for kind, family in zip(kinds, families.family, strict=True)}
    assert pairs == {(kind, kind) for kind in range(len(KINDS))}


def test_a_chain_of_alike_titles_does_not_become_one_family() -> None:
    words = [f"{letter * 2}{letter}x" for letter in "abcdefghijklmnopqrst"]
    chain: list[str | None] = [" ".join(words[at : at + 4]) for at in range(17)]

    families = fit(chain, [1.0] * 17)

    assert families.family.max() >= 2
    assert np.bincount(families.family[families.family >= 0]).max() <= 5


@pytest.mark.parametrize(
    ("price", "is_step"),
    [(1.99, False), (2.19, False), (2.20, True), (2.75, True), (3.20, True), (3.21, False), (2.00, False)],
)
def test_the_bounds_of_a_step_are_exact(price: float, is_step: bool) -> None:
    families = fit(["lunch bag red", "lunch bag blue"], [2.00, price])

    assert steps_of(families, 0) == ([1] if is_step else [])


def test_every_step_is_of_the_same_family_and_1_10_to_1_60_times_the_price() -> None:
    titles, prices, popularity = catalogue(1500)
    families = fit(titles, prices, ["A > B", "A > C", None] * 500, popularity)

    row = np.repeat(np.arange(1500), np.diff(families.indptr))
    cents = np.rint(np.array(prices) * 100).astype(int)

    assert len(row) > 500
    assert (families.family[row] == families.family[families.product]).all() and (
        families.family[row] >= 0
    ).all()
    assert (10 * cents[families.product] >= 11 * cents[row]).all()
    assert (10 * cents[families.product] <= 16 * cents[row]).all()
    assert np.diff(families.indptr).max() <= MOST_STEPS
    assert ((families.score >= 0) & (families.score <= 1)).all()


def test_the_steps_are_those_a_plain_loop_finds() -> None:
    titles, prices, popularity = catalogue(250)
    families = fit(titles, prices, ["one", "two"] * 125, popularity)
    texts, text = distinct_texts(Strings.of(titles))
    vectors = title_vectors(texts, text, np.array(prices))[0][text].toarray()
    likeness = np.clip(vectors @ vectors.T, 0, 1)

    for low in range(250):
        rest = [
            high
            for high in range(low % 2, 250, 2)
            if 11 * round(prices[low] * 100)
            <= 10 * round(prices[high] * 100)
            <= 16 * round(prices[low] * 100)
        ]
        found = steps_of(families, low)
        assert len(found) == min(len(rest), MOST_STEPS) and set(found) <= set(rest)
        kept = likeness[low, found]
        assert (np.diff(kept) <= 2e-4).all()
        left_out = [likeness[low, high] for high in set(rest) - set(found)]
        assert not left_out or max(left_out) <= kept.min() + 2e-4


def test_the_likest_step_comes_first_then_the_most_bought() -> None:
    titles: list[str | None] = ["lunch bag red", "lunch bag blue", "lunch bag blue", "lunch bag red"]

    families = fit(titles, [2.0, 2.5, 2.5, 3.0], ["bags"] * 4, [1, 5, 9, 0])

    assert steps_of(families, 0) == [3, 2, 1]
    assert families.score[0] == pytest.approx(1.0, abs=1e-4)


def test_a_category_is_a_family_whatever_the_titles() -> None:
    categories: list[str | None] = ["Home > Bags", "home > bags ", "Kids > Bags", "Kids > Bags", None, " "]

    families = fit(["sack", None, "pouch", "tote", "zzz", "qqq"], [2.0, 2.5, 2.0, 2.6, 1.0, 1.0], categories)

    assert families.family.tolist() == [0, 0, 1, 1, -1, -1]
    assert [steps_of(families, row) for row in range(6)] == [[1], [], [3], [], [], []]
    assert families.score.tolist() == [0.0, 0.0]


def test_a_category_of_too_many_products_is_split_by_title() -> None:
    titles, prices, kinds = planted()
    bulk = [f"{title} no {turn}" for turn in range(8) for title in titles]

    families = fit(bulk, prices * 8, ["Everything"] * len(bulk))

    pairs = set(zip(np.tile(kinds, 8).tolist(), families.family.tolist(), strict=True))
    assert len(np.unique(families.family)) >= len(KINDS)
    assert len({family for _, family in pairs}) == len(pairs), "a family holds two kinds"


def test_products_without_title_and_category_stand_alone() -> None:
    families = fit([None, None, "", "!!!", "lunch bag", "lunch bag"], [1.0, 1.2, 1.2, 1.2, 1.0, 1.2])

    assert families.family.tolist() == [-1, -1, -1, -1, 0, 0]
    assert families.product.tolist() == [5]


@pytest.mark.parametrize("unknown", [float("nan"), 0.0, -3.0, float("inf")])
def test_a_product_without_a_price_is_in_the_family_but_on_no_ladder(unknown: float) -> None:
    families = fit(["lunch bag red", "lunch bag blue", "lunch bag green"], [1.0, unknown, 1.3], ["bags"] * 3)

    assert families.family.tolist() == [0, 0, 0]
    assert [steps_of(families, row) for row in range(3)] == [[2], [], []]


@pytest.mark.parametrize("n", [0, 1])
def test_a_shop_of_no_or_one_product_has_no_family(n: int) -> None:
    families = fit(["lunch bag"] * n, [1.0] * n)

    assert families.family.tolist() == [-1] * n
    assert families.indptr.tolist() == [0] * (n + 1) and len(families.product) == 0


def test_identical_titles_are_one_family_and_its_300_most_bought_are_the_steps() -> None:
    n = 1000
    families = fit(["same"] * n, [1.0] * (n // 2) + [1.3] * (n // 2), popularity=list(range(n)))

    assert set(families.family.tolist()) == {0}
    assert steps_of(families, 0) == list(range(n - 1, n - 1 - MOST_STEPS, -1))
    assert families.product.min() >= n - 300


def test_the_same_products_give_the_same_bytes() -> None:
    titles, prices, popularity = catalogue(800)

    first, again = (fit(titles, prices, None, popularity) for _ in range(2))

    for name in ("family", "indptr", "product", "score", "price"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()


def test_families_do_not_depend_on_the_order_of_products() -> None:
    titles, prices, _ = planted()
    order = np.random.default_rng(1).permutation(len(titles))

    here = fit(titles, prices).family[order]
    there = fit([titles[row] for row in order], [prices[row] for row in order]).family

    assert len(np.unique(np.column_stack([here, there]), axis=0)) == len(np.unique(here))


def test_title_vectors_are_those_of_scikit_learn() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts, text = distinct_texts(Strings.of([*planted()[0], "a bag bag", "x"]))

    plain, _ = title_vectors(texts, text, np.full(len(text), np.nan))

    peer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True).fit_transform(texts)
    assert np.allclose((plain @ plain.T).toarray(), (peer @ peer.T).toarray(), atol=1e-5)


def test_words_of_one_price_tell_the_kind_more_than_words_of_any_price() -> None:
    titles, prices, _ = planted()
    texts, text = distinct_texts(Strings.of(titles))

    plain, by_kind = title_vectors(texts, text, np.array(prices))

    bag, bag_too, clock = (
        texts.index(t) for t in ("lunch bag woodland", "skulls lunch bag", "wall clock woodland")
    )
    assert (by_kind[bag] @ by_kind[bag_too].T)[0, 0] > (plain[bag] @ plain[bag_too].T)[0, 0]
    assert (by_kind[bag] @ by_kind[clock].T)[0, 0] < (plain[bag] @ plain[clock].T)[0, 0]


@pytest.mark.parametrize(("n", "categories", "seconds"), [(50_000, 400, 20.0), (4_000, 0, 10.0)])
def test_a_large_catalogue_is_done_in_time(n: int, categories: int, seconds: float) -> None:
    titles, prices, popularity = catalogue(n)
    leaves = [f"Shop > {row % categories}" if categories else None for row in range(n)]
    start = time.perf_counter()

    families = fit(titles, prices, leaves, popularity)

    assert time.perf_counter() - start < seconds
    assert len(families.product) > n / 10


def online_retail(cut: str) -> Any:
    """Products sold before `cut`: title, median price, orders."""
    import duckdb

    file = Path(os.environ["NEXTOFFER_REALDATA"]) / "online_retail" / "online_retail.parquet"
    with duckdb.connect() as connection:
        return connection.sql(f"""
            SELECT StockCode AS product, mode(Description) AS title, median(UnitPrice) AS price,
                   count(DISTINCT InvoiceNo) AS orders
            FROM '{file}'
            WHERE regexp_matches(StockCode, '^[0-9]{{5}}') AND Quantity > 0 AND UnitPrice > 0
              AND Description IS NOT NULL AND CAST(InvoiceDate AS TIMESTAMP) < TIMESTAMP '{cut}'
            GROUP BY product ORDER BY product""").df()


def fit_online_retail(products: Any) -> Families:
    titles = products["title"].tolist()
    return fit(titles, products["price"].tolist(), None, products["orders"].tolist())


@pytest.mark.realdata
@pytest.mark.skipif("NEXTOFFER_REALDATA" not in os.environ, reason="NEXTOFFER_REALDATA is not set")
def test_variants_that_the_shop_itself_numbers_alike_are_in_one_family_on_online_retail() -> None:
    products = online_retail("2011-10-14")
    family = fit_online_retail(products).family
    base = np.unique(products["product"].str[:5], return_inverse=True)[1]

    low, high = np.triu_indices(len(base), 1)
    variants = base[low] == base[high]
    together = (family[low] == family[high]) & (family[low] >= 0)

    assert together[variants].mean() > 0.85
    assert together.mean() < 0.01
