"""The marketer's own offers: whom each rule of offers.toml reaches, and what it proposes to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np

from nextoffer.domain.arrays import Ints, ranges
from nextoffer.domain.kinds import REASON
from nextoffer.domain.offers import Candidates


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """What the rules active on one day propose: rows `indptr[c] : indptr[c + 1]` of the columns are customer c's.

    `texts` are the words of each rule (one text, or one for each language), `until` its last day.
    """

    indptr: Ints
    rule: Ints
    kind: Ints
    product: Ints
    p_buy: np.ndarray
    texts: tuple[str | Mapping[str, str], ...]
    until: tuple[date | None, ...]


def candidates(reach: Reach, rows: Ints) -> Candidates:
    """What the rules propose to the customers at `rows`, whose positions in the batch are 0, 1, 2, …"""
    counts = reach.indptr[rows + 1] - reach.indptr[rows]
    at = ranges(reach.indptr[rows], counts)
    return Candidates(
        np.repeat(np.arange(len(rows), dtype=np.int32), counts),
        reach.kind[at],
        reach.product[at],
        np.full(len(at), -1, np.int32),
        np.full(len(at), REASON["hand-picked"], np.int8),
        reach.p_buy[at],
        reach.rule[at],
    )
