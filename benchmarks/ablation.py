"""What each part of the ranker is worth: it is taught again without the part and judged beside the full model.

    python -m benchmarks.ablation DATA [--out docs/ablation.md]

On Online Retail at an earlier cut than the final one, so that nothing may be tuned to the final one by this table.
The lessons are learned and their rows looked at once; every variant is taught from these rows by the product's
own functions. Without a source its columns go, and the explore rows that no other source proposes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import process_time
from typing import Any
from unittest.mock import patch

import numpy as np
from benchmarks.quality.lines import say
from benchmarks.quality.splits import kitchen_of_orders

from nextoffer.backtest.baselines import lists_of
from nextoffer.backtest.metrics import list_metrics
from nextoffer.backtest.resample import Difference, Sample, differences
from nextoffer.backtest.tasks import was_bought
from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.models import curves, mixture, ranker
from nextoffer.models.candidates import SOURCES
from nextoffer.models.mixture import Mixture, probability
from nextoffer.models.ranker import Lesson, Ranker
from nextoffer.models.recipe import Past
from nextoffer.models.views import (
    EXPLORE_FEATURES,
    REPEAT_FEATURES,
    UNRANKED,
    explore_features,
    repeat_features,
    rows_of,
)

CUT, HORIZON_DAYS, N_CUTS, K = datetime(2011, 10, 14, tzinfo=UTC), 28, 2, 10
MAX_ROWS = 40_000  # about, that each view is taught from: a fifth of the product's, to be quicker
SHARES = {"repeat": 1.0, "explore": 0.2}  # of the rows not bought, looked at to teach
FEATURES = {"repeat": REPEAT_FEATURES, "explore": EXPLORE_FEATURES}
METRICS = ("next purchase, recall@10", "next purchase, NDCG@10", "never bought, NDCG@10")
GROUPS = {
    "the pair's own history": "logit_p_reorder log_n_orders log_last_age log_gap_ratio log_order_share in_last_orders "
    "log_weight log_step_weight log_revenue log_own_gap_ratio log_first_age",
    "the product's popularity and trend": "log_share_28 log_share_all trend log_product_age log_product_last_age "
    "rebuy_share log_product_again_28 log_product_new_28",
    "the customer": "logit_customer log_frequency log_recency log_basket_size log_customer_again_28 "
    "log_lines_per_product",
    "price beside the customer's usual": "log_price_ratio log_price_ratio_repeat",
    "scores of the sources": " ".join(
        [f"relative_{name}" for name in SOURCES] + ["score_next_basket", "score_people"]
    ),
    "ranks in the sources, and how many agree": " ".join(
        [f"log_rank_{name}" for name in SOURCES] + ["n_sources"]
    ),
}


@dataclass(frozen=True, slots=True)
class Variant:
    """The ranker less one part.

    Parameters
    ----------
    gone : features left out; source : whose lone proposals are left out
    n_cuts : lessons, the newest; untaught : views left to the fallback
    constants : (module, name, value) of the product, while this variant is taught
    weighted : sampled negatives carry the inverse of their share
    """

    kind: str
    name: str
    gone: frozenset[str] = frozenset()
    source: str = ""
    n_cuts: int = N_CUTS
    untaught: tuple[str, ...] = ()
    constants: tuple[tuple[Any, str, Any], ...] = ()
    weighted: bool = True
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Rows of one view.

    Parameters
    ----------
    share : of the rows not bought that are there to teach
    taught : (features, bought) of each lesson, newest first
    x, position, product : (n,) rows of the judged customers; fallback : (n,) p_buy with nothing taught
    """

    names: tuple[str, ...]
    share: float
    taught: Sequence[tuple[Floats, Bools]]
    x: Floats
    position: Ints
    product: Ints
    fallback: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """(n,) what the m judged customers bought, by position; whether they never had it."""

    position: Ints
    product: Ints
    new: Bools
    m: int
    n_products: int


def variants() -> list[Variant]:
    """Every candidate source, every feature group, every step of the model."""
    share, tilt = (mixture, "CURVES_SHARE"), (ranker, "TILT", 0.0)
    return [
        *(Variant("candidate source", name, _columns_of(name), name) for name in SOURCES),
        *(Variant("feature group", name, frozenset(names.split())) for name, names in GROUPS.items()),
        Variant("model step", "trees (curves only)", constants=((*share, 1.0),)),
        Variant("model step", "curves (trees only, tilted)", constants=((*share, 1e-9),)),
        Variant("model step", "the tilt towards one customer's slate", constants=(tilt,)),
        Variant("model step", "all cuts but the newest", n_cuts=1),
        Variant("model step", "inverse weights of sampled negatives", weighted=False),
        Variant("model step", "teaching of repeats (Poisson-Gamma)", untaught=("repeat",)),
        Variant("model step", "teaching of the rest (agreement of sources)", untaught=("explore",)),
        Variant("model step", "all teaching", untaught=("repeat", "explore")),
        Variant("model step", "nothing: another seed, to see what is chance", seed=1),
    ]


def _columns_of(source: str) -> frozenset[str]:
    return frozenset(f"{kind}_{source}" for kind in ("log_rank", "relative", "score"))


def looked_at(lessons: Sequence[Lesson], last: Lesson, seed: int = 0) -> tuple[dict[str, View], Truth]:
    """Rows of both views: of `lessons` to teach, of those who bought in `last` to judge."""
    rng = np.random.default_rng([seed, HORIZON_DAYS])
    lines: dict[str, list[tuple[Floats, Bools]]] = {"repeat": [], "explore": []}
    for lesson in lessons:
        again, fresh = zip(*ranker._lesson_rows(lesson), strict=True)
        x, y = _stacked(fresh)
        kept = y | (rng.random(len(y)) < SHARES["explore"])
        lines["explore"].append((x[kept], y[kept]))
        lines["repeat"].append(_stacked(again))
    knowledge, untaught = last.knowledge, Ranker(HORIZON_DAYS, "combined", None, None)
    buyers, position = np.unique(last.bought_customer, return_inverse=True)
    ways = ((repeat_features, ranker._p_repeat), (explore_features, ranker._p_explore))
    found: dict[str, list[tuple[Any, ...]]] = {"repeat": [], "explore": []}
    for start in range(0, len(buyers), ranker.BLOCK):
        both = rows_of(knowledge, buyers[start : start + ranker.BLOCK])
        for name, rows, (features, p) in zip(found, both, ways, strict=True):
            x = features(knowledge, rows)
            found[name].append((x, rows.position + start, rows.product, p(untaught, knowledge, rows)))
    views = {
        name: View(FEATURES[name], SHARES[name], lines[name], *_stacked(parts))
        for name, parts in found.items()
    }
    new = ~was_bought(knowledge, last.bought_customer, last.bought_product)
    return views, Truth(position, last.bought_product, new, len(buyers), len(knowledge.products))


def _stacked(parts: Iterable[Sequence[Any]]) -> tuple[Any, ...]:
    """Parts of several columns each -> columns."""
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def without(x: Floats, names: tuple[str, ...], variant: Variant) -> tuple[Floats, Bools]:
    """The columns that are left of the rows that are left, and which rows those are."""
    left = np.ones(len(x), dtype=bool)
    if f"log_rank_{variant.source}" in names:
        x, count = x.copy(), names.index("n_sources")
        x[:, count] -= x[:, names.index(f"log_rank_{variant.source}")] < np.log2(UNRANKED)
        left = x[:, count] > 0
    return x[left][:, [name not in variant.gone for name in names]], left


def taught(views: Mapping[str, View], variant: Variant, full: Mapping[str, Mixture]) -> dict[str, Mixture]:
    """Both views taught less the part; a view that never had it stays as it is in the full model."""
    constants = variant.constants if variant.weighted else ((ranker, "sampled", _unweighted),)
    whole = not full or bool(constants) or variant.n_cuts < N_CUTS or variant.seed != 0
    found = dict(full)
    with ExitStack() as stack:
        for module, name, value in constants:
            stack.enter_context(patch.object(module, name, value))
        for name, view in views.items():
            if not whole and not variant.gone & set(view.names):
                continue
            rows = []
            for x, y in view.taught[: variant.n_cuts]:
                x, left = without(x, view.names, variant)
                rows.append((x, y[left]))
            names = tuple(column for column in view.names if column not in variant.gone)
            share, rng = view.share if variant.weighted else 1.0, np.random.default_rng(variant.seed)
            model = ranker._fit_view(rows, names, share, rng, variant.seed)
            if model is None:
                raise ValueError(f"too little of {name} to learn from without {variant.name}")
            found[name] = model
    return found


def judged(
    views: Mapping[str, View], truth: Truth, variant: Variant, models: Mapping[str, Mixture]
) -> dict[str, Floats]:
    """METRICS of each judged customer, NaN for those who bought nothing that counts."""
    parts = {}
    for name, view in views.items():
        x, left = without(view.x, view.names, variant)
        p = view.fallback[left] if name in variant.untaught else probability(models[name], x)
        parts[name] = view.position[left], view.product[left], p.astype(np.float32)
    lists = lists_of(*_stacked(parts.values()), truth.m, K), lists_of(*parts["explore"], truth.m, K)
    every = list_metrics(lists[0], truth.position, truth.product, truth.n_products)
    new = list_metrics(lists[1], truth.position[truth.new], truth.product[truth.new], truth.n_products)
    return dict(zip(METRICS, (every["recall@10"], every["ndcg@10"], new["ndcg@10"]), strict=True))


def ablated(
    views: Mapping[str, View], truth: Truth, tried: Sequence[Variant], tell: Callable[[str], None] = say
) -> tuple[dict[str, float], list[tuple[Variant, list[Difference]]]]:
    """METRICS of the full model, and each variant's differences to it: variant − full, paired intervals."""
    tell("teaching the full model")
    whole = Variant("", "the full model")
    models = taught(views, whole, {})
    full = judged(views, truth, whole, models)
    samples = []
    for variant in tried:
        tell(f"without {variant.name} ({process_time():.0f} CPU s)")
        values = judged(views, truth, variant, taught(views, variant, models))
        for metric, value in values.items():
            rows = np.flatnonzero(~np.isnan(full[metric]))
            samples.append(Sample(rows, (value - full[metric])[rows]))
    found = iter(differences(samples, seed=0))
    figures = {metric: float(np.nanmean(value)) for metric, value in full.items()}
    return figures, [(variant, [next(found) for _ in METRICS]) for variant in tried]


def page(full: Mapping[str, float], rows: Sequence[tuple[Variant, Sequence[Difference]]], how: str) -> str:
    """The tables as markdown; what hurts most comes first."""
    head = ["| without | " + " | ".join(METRICS) + " |", "| --- |" + " ---: |" * len(METRICS)]
    level = "| *the full model* | " + " | ".join(f"*{full[metric]:.4f}*" for metric in METRICS) + " |"
    text = ["# What each part of the ranker is worth", "", how]
    for kind in dict.fromkeys(variant.kind for variant, _ in rows):
        chosen = [(variant, found) for variant, found in rows if variant.kind == kind]
        chosen.sort(key=lambda row: row[1][1].difference + row[1][2].difference)
        body = [f"| {variant.name} | {' | '.join(map(_cell, found))} |" for variant, found in chosen]
        text += ["", f"## Each {kind}", "", *head, level, *body]
    return "\n".join(text) + "\n"


def _cell(found: Difference) -> str:
    if found.difference == found.low == found.high == 0:
        return "the same"
    interval = "" if found.low is None else f" [{found.low:+.4f}, {found.high:+.4f}]"
    mark = "**" if found.sign else ""
    return f"{mark}{found.difference:+.4f}{mark}{interval}".replace("-", "−")


def _unweighted(x: Floats, y: Bools, rng: np.random.Generator) -> tuple[Floats, Bools, Floats]:
    x, y, _ = curves.sampled(x, y, rng)
    return x, y, np.ones(len(y))


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--out", type=Path, default=Path("docs/ablation.md"))
    parser.add_argument(
        "--every", type=int, default=1, help="only each so-many-th customer, for a quick look"
    )
    given = parser.parse_args()
    with kitchen_of_orders(given.data, HORIZON_DAYS) as (kitchen, _, first_order_at):
        past = Past(kitchen, first_order_at, given.every, N_CUTS)
        say("learning the lessons")
        views, truth = looked_at(past.lessons(CUT), past.cut(CUT).lesson)
    with patch.object(curves, "MAX_ROWS", MAX_ROWS):
        full, rows = ablated(views, truth, variants())
    few = "" if given.every == 1 else f" --every {given.every}"
    how = (
        f"A figure is variant − full model, the mean over {truth.m:,} customers of Online Retail who bought in the "
        f"{HORIZON_DAYS} days after {CUT:%Y-%m-%d}, with its 95 % interval over customers in pairs: below 0 the part "
        "helps, **bold** where the interval leaves out 0; what hurts most to lose comes first. Sources overlap: what "
        "one loses others find, so the losses do not add up. Every variant, the full model too, is taught from "
        f"{N_CUTS} cuts and about {MAX_ROWS:,} rows a view.\n\n"
        f"Made by `make ablation DATA=folder` (`python -m benchmarks.ablation folder{few}`)."
    )
    given.out.write_text(page(full, rows, how), encoding="utf-8")
    say(f"{given.out} ({process_time():.0f} CPU s)")


if __name__ == "__main__":
    main()
