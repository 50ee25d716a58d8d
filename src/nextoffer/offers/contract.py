"""What an offer kind must return: asked of every kind, ours and strangers', each time it is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nextoffer.domain.arrays import Bools
from nextoffer.domain.offers import KINDS, REASONS, Candidates

DTYPES: Mapping[str, npt.DTypeLike] = {
    "customer": np.int32,
    "kind": np.int8,
    "product": np.int32,
    "because": np.int32,
    "reason": np.int8,
    "p_buy": np.float32,
    "rule": np.int16,
}


def fault_of(found: object, n_customers: int, n_products: int) -> str | None:
    """The first thing that is wrong with what a kind returned for a batch, in words; None if nothing is.

    Parameters
    ----------
    n_customers, n_products : size of the batch and of the bundle's catalogue
    """
    if not isinstance(found, Candidates):
        return f"it returned {type(found).__name__}, not Candidates"
    for name in Candidates.__slots__:
        if fault := _misshapen(name, getattr(found, name), found.p_buy):
            return fault
    limits = {
        "customer": (0, n_customers, "positions in the batch"),
        "kind": (0, len(KINDS), "codes of KINDS"),
        "product": (-1, n_products, "rows of the catalogue (−1: the whole basket)"),
        "because": (-1, n_products, "rows of the catalogue (−1: none)"),
        "reason": (0, len(REASONS), "codes of REASONS"),
    }
    for name, (low, end, meaning) in limits.items():
        values = getattr(found, name)
        if fault := _first(name, values, (values < low) | (values >= end), f"{meaning}: {low} to {end - 1}"):
            return fault
    outside = ~((found.p_buy >= 0) & (found.p_buy <= 1))  # NaN is outside too
    if fault := _first("p_buy", found.p_buy, outside, "probabilities, 0 to 1"):
        return fault
    return _first("rule", found.rule, found.rule != -1, "−1: rules are the marketer's, from offers.toml")


def _misshapen(name: str, values: Any, like: Any) -> str | None:
    if not isinstance(values, np.ndarray):
        return f"its column {name} is a {type(values).__name__}, not a numpy array"
    if values.dtype != DTYPES[name]:
        return f"its column {name} is {values.dtype}, not {np.dtype(DTYPES[name])}"
    if values.ndim != 1 or values.shape != np.shape(like):
        return (
            f"its column {name} has shape {values.shape}, p_buy {np.shape(like)}: one row for each candidate"
        )
    return None


def _first(name: str, values: npt.NDArray[Any], wrong: Bools, meaning: str) -> str | None:
    at = np.flatnonzero(wrong)
    return f"{name} is {values[at[0]]} in row {at[0]}, but holds {meaning}" if len(at) else None
