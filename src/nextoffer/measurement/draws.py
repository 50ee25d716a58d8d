"""Random assignments of the same customers to groups of the same sizes, as sums of columns.

Only customers with something to sum are ever drawn; the many zeros count through the sizes of the groups. One draw
serves all columns, so that every metric of a look is judged by the same assignments.
"""

from __future__ import annotations

import numpy as np

from nextoffer.domain.arrays import Bools, Floats, Ints

FLAT = 1e-12  # share of what was added up below which a remainder is rounding error
_SMALL = 2_000  # rows up to which many draws are dealt together
_CARDS = 4_000_000  # rows × draws dealt together: bounds memory to 8 MB


def group_sums(columns: Floats, treated: Bools) -> Floats:
    """(2, P) sums of the treated and of the holdout, of (K, P) columns."""
    return np.stack([np.einsum("kp->p", columns[group]) for group in (treated, ~treated)])


def draw(columns: Floats, strata: Ints, sizes: Ints, n_draws: int, rng: np.random.Generator) -> Floats:
    """(n_draws, 2, P) sums by group, treated and holdout, of random assignments.

    Parameters
    ----------
    columns : (K, P) what is summed, of the customers for whom any of it is not 0
    strata : (K,) row of `sizes`, ascending
    sizes : (S, 2) everybody treated and held out in a stratum; each draw keeps these numbers exactly
    """
    few = int(np.argmin(sizes.sum(axis=0)))  # draw the smaller group; the other is the rest
    drawn = np.zeros((n_draws, columns.shape[1]))
    ends = np.searchsorted(strata, np.arange(len(sizes) + 1))
    for stratum, size in enumerate(sizes.tolist()):
        rows = columns[ends[stratum] : ends[stratum + 1]]
        if len(rows) > 0 and size[few] > 0:
            counts = rng.hypergeometric(len(rows), sum(size) - len(rows), size[few], size=n_draws)
            drawn += _sums_of_chosen(rows, counts, rng)
    rest = np.einsum("kp->p", columns) - drawn
    rest[np.abs(rest) <= FLAT * np.einsum("kp->p", np.abs(columns))] = 0.0
    return np.stack([drawn, rest] if few == 0 else [rest, drawn], axis=1)


def _sums_of_chosen(rows: Floats, counts: Ints, rng: np.random.Generator) -> Floats:
    """(B, P): for each of (B,) counts, the sums of so many rows chosen without replacement."""
    if len(rows) <= _SMALL:
        at_once = max(1, _CARDS // len(rows))
        return np.concatenate(
            [_dealt(rows, counts[at : at + at_once], rng) for at in range(0, len(counts), at_once)]
        )
    chosen = np.empty((len(counts), rows.shape[1]))
    for draw_, count in enumerate(counts.tolist()):
        picked = rng.choice(len(rows), count, replace=False, shuffle=False)
        np.einsum("kp->p", rows.take(picked, axis=0), out=chosen[draw_])
    return chosen


def _dealt(rows: Floats, counts: Ints, rng: np.random.Generator) -> Floats:
    """The same by a Fisher-Yates shuffle of one deck per draw, dealing the i-th card of all decks at once."""
    order = np.argsort(-counts, kind="stable")  # the decks still dealt from are then always the first ones
    n_dealt = np.searchsorted(-counts[order], -np.arange(1, counts.max(initial=0) + 1), "right")
    n_decks = len(counts)
    decks = np.repeat(np.arange(len(rows), dtype=np.int16)[:, None], n_decks, axis=1)
    cards, deck = decks.reshape(-1), np.arange(n_decks)
    sums = np.zeros((n_decks, rows.shape[1]))
    for place, n in enumerate(n_dealt.tolist()):
        at = rng.integers(place, len(rows), n) * n_decks + deck[:n]
        card = cards[at]
        cards[at] = decks[place, :n]
        sums[:n] += rows[card]
    unsorted = np.empty_like(sums)
    unsorted[order] = sums
    return unsorted
