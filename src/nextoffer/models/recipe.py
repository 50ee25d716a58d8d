"""The recipe: features of one moment -> knowledge, and a ranker taught by what was bought after a moment.

Training and backtest cook by the same recipe; they differ only in the dates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from nextoffer.domain.arrays import Ints, Strings
from nextoffer.engines.engine import Engine
from nextoffer.features.build import build_features, build_labels
from nextoffer.features.catalogue import Catalogue
from nextoffer.models.knowledge import Knowledge, learn
from nextoffer.models.ranker import Ranker, fit_ranker
from nextoffer.models.segments import Segments

MAX_TAUGHT = 100_000  # customers a cut is learned and judged on; a larger shop is sampled evenly


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """Knowledge of one moment, and what its customers bought in the horizon after it.

    Parameters
    ----------
    bought_customer, bought_product : (n,) rows of distinct pairs, sorted by customer
    """

    as_of: datetime
    customer_ids: Strings
    knowledge: Knowledge
    bought_customer: Ints
    bought_product: Ints


@dataclass(frozen=True, slots=True)
class Kitchen:
    """Where the recipe is cooked: the engine, the canonical tables, scratch space, the shop's constants."""

    engine: Engine
    history: Path
    scratch: Path
    catalogue: Catalogue
    horizon_days: int
    seed: int
    progress: Callable[[str], None] = lambda stage: None


def cut_at(kitchen: Kitchen, as_of: datetime, stride: int) -> Cut:
    """Learn before `as_of`, on every stride-th customer, and note what they bought in the horizon after."""
    folder = kitchen.scratch / f"cut-{as_of:%Y-%m-%dT%H%M}"
    features = build_features(kitchen.engine, kitchen.history, folder, as_of, stride)
    labels = build_labels(kitchen.engine, folder, as_of, as_of + timedelta(days=kitchen.horizon_days))
    knowledge = learn(features, kitchen.catalogue, kitchen.horizon_days, kitchen.seed)
    return Cut(as_of, features.customers, knowledge, *labels)


def teach(kitchen: Kitchen, cut: Cut | None) -> Ranker:
    """A ranker that learned from one cut; without one (too short a history) the combined scores serve."""
    if cut is None:
        return Ranker(kitchen.horizon_days, "combined", None, None)
    return fit_ranker(
        cut.knowledge, cut.bought_customer, cut.bought_product, kitchen.horizon_days, kitchen.seed
    )


def learn_all(kitchen: Kitchen, as_of: datetime, previous: Segments | None) -> tuple[Strings, Knowledge]:
    """Ids and knowledge of every customer, for the bundle."""
    features = build_features(kitchen.engine, kitchen.history, kitchen.scratch / "all", as_of)
    knowledge = learn(
        features, kitchen.catalogue, kitchen.horizon_days, kitchen.seed, previous, kitchen.progress
    )
    return features.customers, knowledge


def stride_for(n_customers: int) -> int:
    """Keep every so-many-th customer, so that at most MAX_TAUGHT remain."""
    return max(1, -(-n_customers // MAX_TAUGHT))
