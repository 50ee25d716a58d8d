"""The recipe: features of one moment -> knowledge, and a ranker taught by what was bought after a moment.

Training and backtest cook by the same recipe; they differ only in the dates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nextoffer.domain.arrays import Strings
from nextoffer.engines.engine import Engine
from nextoffer.features.build import build_features, build_labels
from nextoffer.features.catalogue import Catalogue
from nextoffer.models.knowledge import Knowledge, learn
from nextoffer.models.ranker import Lesson, Ranker, fit_ranker
from nextoffer.models.segments import Segments

MAX_TAUGHT = 40_000  # customers a ranker learns from and is judged on; a larger shop is sampled evenly
MAX_CUTS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """One moment of the past: what could be known then, and what was bought in the horizon after it."""

    as_of: datetime
    customer_ids: Strings
    lesson: Lesson


@dataclass(frozen=True, slots=True)
class Kitchen:
    """Where the recipe is cooked: the engine, the canonical tables, scratch space, the shop's constants.

    `catalogue_at` gives the catalogue as it could be known at an earlier moment, for a shop whose prices are
    read from its order lines.
    """

    engine: Engine
    history: Path
    scratch: Path
    catalogue: Catalogue
    horizon_days: int
    seed: int
    progress: Callable[[str], None] = lambda stage: None
    catalogue_at: Callable[[datetime], Catalogue] | None = None

    def known(self, as_of: datetime) -> Catalogue:
        """The catalogue as it could be known at `as_of`."""
        return self.catalogue if self.catalogue_at is None else self.catalogue_at(as_of)


@dataclass(slots=True)
class Past:
    """Cuts of the past, each learned once: on every stride-th customer, so that a cut stays small."""

    kitchen: Kitchen
    first_order_at: datetime
    stride: int
    n_cuts: int
    cuts: dict[datetime, Cut] = field(default_factory=dict)

    @classmethod
    def of(cls, kitchen: Kitchen, first_order_at: datetime, as_of: datetime | None = None) -> Past:
        """As many customers known at `as_of` as MAX_TAUGHT over up to MAX_CUTS cuts: small shops have more cuts."""
        moment = (as_of or datetime.max.replace(tzinfo=UTC)).astimezone(UTC).replace(tzinfo=None)
        table = kitchen.engine.arrow(
            f"SELECT COUNT(DISTINCT customer_id) AS n FROM orders WHERE ordered_at < TIMESTAMP '{moment}'"
        )
        n_customers = max(int(table["n"][0].as_py()), 1)
        n_cuts = min(max(MAX_TAUGHT // n_customers, 1), MAX_CUTS)
        return cls(kitchen, first_order_at, -(-n_customers // MAX_TAUGHT), n_cuts)

    def cut(self, as_of: datetime) -> Cut:
        """Learn before `as_of`, and note what was bought in the horizon after it."""
        if as_of not in self.cuts:
            kitchen = self.kitchen
            kitchen.progress(f"learning as of {as_of:%Y-%m-%d}")
            folder = kitchen.scratch / f"cut-{as_of:%Y-%m-%dT%H%M}"
            until = as_of + timedelta(days=kitchen.horizon_days)
            features = build_features(kitchen.engine, kitchen.history, folder, as_of, self.stride)
            bought = build_labels(kitchen.engine, folder, as_of, until)
            knowledge = learn(features, kitchen.known(as_of), kitchen.horizon_days, kitchen.seed)
            self.cuts[as_of] = Cut(as_of, features.customers, Lesson(knowledge, *bought))
        return self.cuts[as_of]

    def ranker(self, as_of: datetime) -> Ranker:
        """A ranker taught by the horizons that ended by `as_of`; the combined scores where there is none.

        The first horizon of the history only feeds the others: nothing is known before it.
        """
        kitchen = self.kitchen
        horizon = timedelta(days=kitchen.horizon_days)
        moments = [as_of - horizon * back for back in range(1, self.n_cuts + 1)]
        lessons = [self.cut(moment).lesson for moment in moments if moment - self.first_order_at >= horizon]
        return fit_ranker(lessons, kitchen.horizon_days, kitchen.seed)


def learn_all(kitchen: Kitchen, as_of: datetime, previous: Segments | None) -> tuple[Strings, Knowledge]:
    """Ids and knowledge of every customer, for the bundle."""
    features = build_features(kitchen.engine, kitchen.history, kitchen.scratch / "all", as_of)
    knowledge = learn(
        features, kitchen.catalogue, kitchen.horizon_days, kitchen.seed, previous, kitchen.progress
    )
    return features.customers, knowledge
