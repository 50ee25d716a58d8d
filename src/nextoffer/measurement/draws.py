"""Random assignments of the same customers to groups of the same sizes, as sums of columns.

Only customers with something to sum are ever drawn; the many zeros count through the sizes of the groups. One draw
serves all columns, so that every metric of a look is judged by the same assignments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nextoffer.domain.arrays import Bools, Floats, Ints

FLAT = 1e-12  # share of what was added up below which a remainder is rounding error
_SMALL = 2_000  # rows up to which many draws are dealt together
_CARDS = 4_000_000  # rows × draws dealt together: bounds memory to 8 MB


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """What is summed: P columns of K customers, their squares, and products of Q pairs of them, in this order.

    Parameters
    ----------
    values : (K, P), of the customers for whom any of it is not 0
    pairs : Q pairs of columns
    """

    values: Floats
    pairs: tuple[tuple[int, int], ...] = ()

    def of(self, chosen: Floats) -> Floats:
        """(2 P + Q,) sums of chosen rows. One thread, one order: the same sums whatever the machine is doing."""
        products = [np.einsum("k,k->", chosen[:, one], chosen[:, other]) for one, other in self.pairs]
        return np.concatenate(
            [np.einsum("kp->p", chosen), np.einsum("kp,kp->p", chosen, chosen), np.array(products)]
        )

    def by_group(self, treated: Bools) -> Floats:
        """(2, 2 P + Q) sums of the treated and of the holdout."""
        return np.stack([self.of(self.values[group]) for group in (treated, ~treated)])


def draw(columns: Columns, strata: Ints, sizes: Ints, n_draws: int, rng: np.random.Generator) -> Floats:
    """(n_draws, 2, 2 P + Q) sums by group, treated and holdout, of random assignments.

    Parameters
    ----------
    strata : (K,) row of `sizes`, ascending
    sizes : (S, 2) everybody treated and held out in a stratum; each draw keeps these numbers exactly
    """
    few = int(np.argmin(sizes.sum(axis=0)))  # draw the smaller group; the other is the rest
    total = columns.of(columns.values)
    drawn = np.zeros((n_draws, len(total)))
    ends = np.searchsorted(strata, np.arange(len(sizes) + 1))
    for stratum, size in enumerate(sizes.tolist()):
        rows = columns.values[ends[stratum] : ends[stratum + 1]]
        if len(rows) > 0 and size[few] > 0:
            counts = rng.hypergeometric(len(rows), sum(size) - len(rows), size[few], size=n_draws)
            drawn += _sums_of_chosen(columns, rows, counts, rng)
    rest = total - drawn
    rest[np.abs(rest) <= FLAT * columns.of(np.abs(columns.values))] = 0.0
    return np.stack([drawn, rest] if few == 0 else [rest, drawn], axis=1)


def _sums_of_chosen(columns: Columns, rows: Floats, counts: Ints, rng: np.random.Generator) -> Floats:
    """For each of (B,) counts, the sums of so many rows chosen without replacement."""
    if len(rows) <= _SMALL:
        products = [rows[:, one] * rows[:, other] for one, other in columns.pairs]
        summands = np.column_stack([rows, rows**2, *products])
        at_once = max(1, _CARDS // len(rows))
        return np.concatenate(
            [_dealt(summands, counts[at : at + at_once], rng) for at in range(0, len(counts), at_once)]
        )
    picked = (rng.choice(len(rows), count, replace=False, shuffle=False) for count in counts.tolist())
    return np.stack([columns.of(rows.take(at, axis=0)) for at in picked])


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
