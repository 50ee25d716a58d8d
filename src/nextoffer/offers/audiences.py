"""Audiences of the marketer's rules as whole columns: who meets each condition, as of the bundle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextoffer.bundle.bundle import Bundle
from nextoffer.config import Audience
from nextoffer.domain.arrays import Bools, Bytes, Floats, Ints, Strings
from nextoffer.domain.tables import SEGMENTS
from nextoffer.models.knowledge import Customers

NEVER = np.iinfo(np.int32).max
_PATH = " > "
Condition = tuple[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What audiences ask about the customers of a bundle, made once for all rules.

    Parameters
    ----------
    customers : of the bundle
    below : category -> codes of the leaf categories it stands for: itself and everything below it
    start, buyer, age : leaf category k was bought by buyer[start[k] : start[k + 1]], each once, the last time `age`
        days before as_of
    row : customer id -> row, of those that rules name; −1 for one the bundle does not know
    """

    customers: Customers
    below: dict[str, Ints]
    start: Ints
    buyer: Ints
    age: Ints
    row: dict[str, int]


def known_of(bundle: Bundle, audiences: Iterable[Audience]) -> Known:
    """Prepare what these audiences ask about."""
    below, leaf = leaves(bundle.catalogue.category)
    pairs = bundle.knowledge.pairs
    code = leaf[pairs.product]
    at = np.flatnonzero(code >= 0)
    at = at[np.argsort(code[at], kind="stable")]  # within a category the customers still rise
    code, buyer = code[at], pairs.customer()[at]
    first = np.ones(len(at), dtype=bool)
    first[1:] = (code[1:] != code[:-1]) | (buyer[1:] != buyer[:-1])
    begin = np.flatnonzero(first)
    age = np.minimum.reduceat(pairs.last_age_days[at], begin) if len(begin) else pairs.last_age_days[:0]
    n_leaves = int(leaf.max(initial=-1)) + 1
    return Known(
        customers=bundle.knowledge.customers,
        below=below,
        start=np.searchsorted(code[begin], np.arange(n_leaves + 1)),
        buyer=buyer[begin],
        age=age,
        row=_rows(bundle.customer_ids.ids, audiences),
    )


def leaves(category: Strings) -> tuple[dict[str, Ints], Ints]:
    """Every category with the codes of the paths at or below it, and (n_products,) the code of each; −1 for none."""
    encoded = category.to_arrow().dictionary_encode()
    below: dict[str, list[int]] = {}
    for code, path in enumerate(encoded.dictionary.to_pylist()):
        parts = path.split(_PATH)
        for depth in range(1, len(parts) + 1):
            below.setdefault(_PATH.join(parts[:depth]), []).append(code)
    codes = np.asarray(pc.fill_null(encoded.indices, -1), dtype=np.int32)
    return {name: np.array(found) for name, found in below.items()}, codes


def conditions(audience: Audience) -> list[Condition]:
    """What an audience asks, in the order of the page: (key of offers.toml, value)."""
    rfm = audience.rfm
    category, days = audience.bought_category, audience.last_purchase_days
    found: list[Condition] = [
        ("segments", audience.segments or None),
        ("rfm.recency_days", rfm.recency_days),
        ("rfm.frequency", rfm.frequency),
        ("rfm.monetary", rfm.monetary),
        ("bought_category", category),
        ("last_purchase_days", None if days is None else (*days, category)),
        ("not_bought_category", audience.not_bought_category),
        ("customers", audience.customers or None),
    ]
    return [condition for condition in found if condition[1] is not None]


def meets(known: Known, condition: Condition) -> Bools:
    """(n_customers,) who meets one condition."""
    (key, value), customers = condition, known.customers
    if key == "segments":
        wanted: Bools = np.isin(SEGMENTS, value)
        return np.asarray(wanted[customers.segment], dtype=bool)
    if key.startswith("rfm."):
        return _within(getattr(customers, key.removeprefix("rfm.")), *value)
    if key == "bought_category":
        return _last(known, value) < NEVER
    if key == "not_bought_category":
        return ~(_last(known, value) < NEVER)
    if key == "last_purchase_days":
        low, high, category = value
        last = customers.recency_days if category is None else _last(known, category)
        return _within(last, low, min(high, NEVER - 1))
    named = np.zeros(len(customers), dtype=bool)
    named[[row for one in value if (row := known.row[one]) >= 0]] = True
    return named


def members(known: Known, audiences: Sequence[Audience]) -> Iterator[Bools]:
    """(n_customers,) who meets every condition, for one audience after the other."""
    n = len(known.customers)

    # audiences of one shop ask the same things again and again
    @lru_cache(maxsize=2048)
    def packed(condition: Condition) -> Bytes:
        return np.packbits(meets(known, condition))

    for audience in audiences:
        met = [packed(condition) for condition in conditions(audience)]
        bits = np.bitwise_and.reduce(met) if met else np.full(-(-n // 8), 255, np.uint8)
        yield np.unpackbits(bits, count=n).view(bool)


def why_nobody(known: Known, audience: Audience) -> str:
    """Which condition leaves nobody, for an audience that is empty."""
    met = np.ones(len(known.customers), dtype=bool)
    before: list[str] = []
    for condition in conditions(audience):
        mask, text = meets(known, condition), _text(condition)
        if not mask.any():
            return f"no customer meets {text}"
        met &= mask
        if not met.any():
            return f"no customer meets {text} together with {' and '.join(before)}"
        before.append(text)
    return "the bundle knows no customer"


def _last(known: Known, category: str) -> Ints:
    """(n_customers,) days since the last purchase of a category; NEVER where there was none."""
    last = np.full(len(known.customers), NEVER, dtype=np.int32)
    for leaf in known.below.get(category, np.zeros(0, np.int64)).tolist():
        part = slice(int(known.start[leaf]), int(known.start[leaf + 1]))
        buyer = known.buyer[part]
        last[buyer] = np.minimum(last[buyer], known.age[part])
    return last


def _within(column: Ints | Floats, low: float, high: float) -> Bools:
    if column.dtype.kind == "i":  # whole numbers compare with whole numbers, several times as fast
        low, high = ceil(max(low, 0.0)), floor(min(high, NEVER))
    return np.asarray((column >= low) & (column <= high))


def _text(condition: Condition) -> str:
    """A condition as it stands in offers.toml."""
    key, value = condition
    if key == "customers":
        return f"customers = [{len(value)} of them]"
    if isinstance(value, str):
        return f'{key} = "{value}"'
    if key == "last_purchase_days":
        value = value[:2]
    words = [f'"{one}"' if isinstance(one, str) else f"{one:.12g}" for one in value]
    return f"{key} = [{', '.join(words)}]"


def _rows(ids: Strings, audiences: Iterable[Audience]) -> dict[str, int]:
    """Row of every customer that some audience names."""
    named = sorted({one for audience in audiences for one in audience.customers})
    if not named:
        return {}
    at = pc.fill_null(pc.index_in(pa.array(named, pa.large_string()), ids.to_arrow()), -1)
    return dict(zip(named, at.to_pylist(), strict=True))
