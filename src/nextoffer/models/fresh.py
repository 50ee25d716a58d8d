"""What a moment says of a product: the cart, what is looked at, what was bought since the night, without retraining.

The share of orders that hold product j, given the sources i of the moment, is taken as

    share_j = POPULARITY × share of j lately + Σ_i voice_i × (COMPANIONS × P(j in the order | i is)
              + EASE × ease_ij + NEXT_BASKET × next_ij),   Σ voice_i = 1

a mixture of estimates that are each on the scale of a probability, popularity being what the rest is shrunk to.
Chosen on Online Retail's cuts of 2011-08-19 and 2011-09-16 and judged on that of 2011-10-14, see
`benchmarks/quality/fresh.py`. Left out there: factors folded in by least squares gained no more than other weights
did, and the cosine of `similar` lost; it only names what may be called similar.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nextoffer.domain.arrays import Bools, Ints, ranges
from nextoffer.models.collaborative import Neighbours
from nextoffer.models.knowledge import Knowledge
from nextoffer.models.regression import Weights

Matrix = npt.NDArray[np.float64]
COMPANIONS, EASE, NEXT_BASKET, POPULARITY = 0.8, 0.5, 0.7, 0.3
OLDER = 0.8  # what a view says, relative to the next newer one
N_NEWEST = 20  # sources of each origin that are listened to
CART, BOUGHT, VIEWED = range(3)


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """The products that speak, and how loud.

    Parameters
    ----------
    product, origin, voice : (m,) rows, CART, BOUGHT or VIEWED, and weights that sum to 1; sorted by origin and
        product, so that equal moments add up in the same order
    taken : products nobody need be offered any more: in the cart, or bought just now
    viewed : products being looked at
    """

    product: Ints
    origin: Ints
    voice: Matrix
    taken: Ints
    viewed: Ints

    @classmethod
    def of(cls, cart: Ints, viewed: Ints, bought: Ints) -> Moment:
        """From rows of products, each once, newest first; only of views does the order say anything.

        A product in the cart or bought does not speak again for being viewed, nor one in the cart for being bought.
        """
        taken = np.concatenate([cart, bought])
        heard = cart, bought[_not_in(bought, cart)], viewed[_not_in(viewed, taken)]
        parts = [rows[:N_NEWEST] for rows in heard]
        product = np.concatenate(parts).astype(np.int64)
        origin = np.repeat([CART, BOUGHT, VIEWED], [len(part) for part in parts])
        voice = np.ones(len(product))
        voice[origin == VIEWED] = OLDER ** np.arange(len(parts[VIEWED]))
        order = np.lexsort((product, origin))
        return cls(product[order], origin[order], voice[order] / max(float(voice.sum()), 1.0), taken, viewed)

    def __len__(self) -> int:
        return len(self.product)


@dataclass(frozen=True, slots=True, eq=False)
class Fresh:
    """Products a moment suggests, ascending: (n,) rows, the share of orders that hold each, its main source.

    `because` is the product that adds most to the share and that it is a true reason of: a companion in orders
    (CART, BOUGHT), or alike by its buyers (VIEWED); `origin` says which.
    """

    product: Ints
    share: Matrix
    because: Ints
    origin: Ints


def shares(knowledge: Knowledge, moment: Moment, product: Ints) -> tuple[Matrix, Matrix]:
    """Share of orders with each of (n,) ascending products, and (m, n) what each source adds to it.

    Without a source it is the product's share lately.
    """
    usual = np.exp(knowledge.products.log_share_28[product].astype(np.float64))
    if not len(moment.product):
        return usual, np.zeros((0, len(product)))
    added = COMPANIONS * _together(knowledge.companions, moment.product, product)
    added += EASE * _rows(knowledge.ease, moment.product, product)
    added += NEXT_BASKET * _rows(knowledge.next_basket, moment.product, product)
    added[moment.product[:, None] == product] = 0.0  # nothing says anything of itself
    added *= moment.voice[:, None]
    return POPULARITY * usual + np.maximum(added.sum(axis=0), 0.0), added


def suggest(knowledge: Knowledge, moment: Moment) -> Fresh:
    """What goes with the cart and with what was just bought, and what is like the views; nothing of these itself."""
    by_buyers = moment.origin == VIEWED
    at, product = _reached(knowledge.companions, moment, np.flatnonzero(~by_buyers))
    alike, other = _reached(knowledge.similar, moment, np.flatnonzero(by_buyers))
    unseen = _not_in(other, moment.viewed)
    at, product = np.append(at, alike[unseen]), np.append(product, other[unseen])
    free = _not_in(product, moment.taken)
    at, product = at[free], product[free]
    found, place = np.unique(product, return_inverse=True)
    share, added = shares(knowledge, moment, found)
    reason = np.zeros(added.shape)  # what a source adds, where it is a true reason
    reason[at, place] = added[at, place]
    if not reason.size:
        return Fresh(found[:0], share[:0], found[:0], found[:0])
    best = reason.argmax(axis=0)
    kept = np.flatnonzero(reason[best, np.arange(len(found))] > 0)
    best = best[kept]
    return Fresh(found[kept], share[kept], moment.product[best], moment.origin[best])


def excess(knowledge: Knowledge, moment: Moment, product: Ints) -> Matrix:
    """(n,) by how much the moment raises each product's share above its share lately; 0 where it does not."""
    found, place = np.unique(product, return_inverse=True)
    share, _ = shares(knowledge, moment, found)
    usual = np.exp(knowledge.products.log_share_28[found].astype(np.float64))
    raised: Matrix = np.maximum(share - usual, 0.0)[place]
    return raised


def _reached(neighbours: Neighbours, moment: Moment, which: Ints) -> tuple[Ints, Ints]:
    """Number of the source and row of each neighbour of the sources chosen."""
    start, counts = _span(neighbours, moment.product[which])
    return np.repeat(which, counts), neighbours.product[ranges(start, counts)].astype(np.int64)


def _together(companions: Neighbours, source: Ints, product: Ints) -> Matrix:
    """(m, n) P(product in the order | source is), 0 where it is no companion."""
    found = np.zeros((len(source), len(product)))
    if not len(product):
        return found
    start, counts = _span(companions, source)
    at, row = ranges(start, counts), np.repeat(np.arange(len(source)), counts)
    other = companions.product[at]
    place = np.minimum(np.searchsorted(product, other), len(product) - 1)
    same = product[place] == other
    found[row[same], place[same]] = companions.score[at[same]]
    return found


def _rows(weights: Weights, source: Ints, product: Ints) -> Matrix:
    """(m, n) weights of the sources on the products, 0 where either takes no part."""
    found = np.zeros((len(source), len(product)))
    row, column = weights.place[source], weights.place[product]
    has_row, has_column = np.flatnonzero(row >= 0), np.flatnonzero(column >= 0)
    found[has_row[:, None], has_column] = weights.weight[row[has_row][:, None], column[has_column]]
    return found


def _not_in(product: Ints, left_out: Ints) -> Bools:
    """np.isin, the other way round, at no cost where there is nothing to leave out."""
    return ~np.isin(product, left_out) if len(left_out) else np.ones(len(product), dtype=bool)


def _span(neighbours: Neighbours, row: Ints) -> tuple[Ints, Ints]:
    start = neighbours.indptr[row]
    return start, neighbours.indptr[row + 1] - start
