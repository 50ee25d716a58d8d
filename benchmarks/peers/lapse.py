"""Who orders again: single methods, each fitted on the same orders before the same moment.

References
----------
BG/NBD: Fader, Hardie & Lee (2005), Marketing Science 24(2). MBG/NBD: Batislam, Denizel & Filiztekin (2007),
IJRM 24(3). Pareto/NBD: Schmittlein, Morrison & Colombo (1987), Management Science 33(1). NBD: Ehrenberg (1959).
Those three come from the package `lifetimes` (optional extra `bench`) where it is installed.
"""

from __future__ import annotations

import warnings
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
import numpy.typing as npt

from nextoffer.models.activity import (
    NAMES,
    OrderLog,
    customers_of,
    features,
    ordered_after,
    rewound,
    summarise,
)
from nextoffer.models.bgnbd import fit_nbd

Floats = npt.NDArray[np.float64]
WEEK = 7.0
STEP_DAYS, N_CUTS, MIN_HISTORY_DAYS = 28, 13, 14  # a year of labelled moments, as nextoffer takes them
PENALTIES = (0.0, 0.001, 0.01, 0.1)  # lifetimes does not converge on a flat ridge: the least that does
RFM = ("log_recency", "log_orders", "log_mean_value")


def scores(log: OrderLog) -> dict[str, Floats]:
    """Rankings that are no probabilities."""
    about = summarise(log)
    return {"recency": -about.recency_days.astype(np.float64), "frequency": about.n_orders.astype(np.float64)}


def probabilities(log: OrderLog, days: int, seed: int = 0) -> dict[str, Floats]:
    """P(any order within `days`) by each method that could be fitted, rows as `customers_of(log)`."""
    found = {"NBD": _nbd(log, days)} | _by_lifetimes(log, days) | _learned(log, days, seed)
    return {name: p for name, p in found.items() if p is not None}


def _history(log: OrderLog) -> tuple[Floats, Floats, Floats]:
    """(x, t_x, T) in weeks, in days with an order."""
    about = summarise(log)
    x = about.n_order_days.astype(np.float64) - 1.0
    age = about.first_age_days / WEEK
    return x, np.where(x > 0, age - about.recency_days / WEEK, 0.0), age


def _nbd(log: OrderLog, days: int) -> Floats:
    x, t_x, age = _history(log)
    law = fit_nbd(x.astype(np.int64), t_x, age)
    return -np.expm1((law.r + x) * -np.log1p(days / WEEK / (law.alpha + age)))


def _by_lifetimes(log: OrderLog, days: int) -> dict[str, Floats | None]:
    try:
        import lifetimes
    except ImportError:
        return {}
    fitters = {
        "BG/NBD (lifetimes)": lifetimes.BetaGeoFitter,
        "MBG/NBD (lifetimes)": lifetimes.ModifiedBetaGeoFitter,
        "Pareto/NBD (lifetimes)": lifetimes.ParetoNBDFitter,
    }
    return {name: _lifetimes(fitter, *_history(log), days / WEEK) for name, fitter in fitters.items()}


def _lifetimes(fitter: Any, x: Floats, t_x: Floats, age: Floats, weeks: float) -> Floats | None:
    """P(alive) × P(an order | alive), in closed form for the first two; Pareto/NBD: its P(0) from the mean."""
    some = age > 0  # it refuses who came today
    for penalty in PENALTIES:
        try:
            with warnings.catch_warnings(), redirect_stdout(StringIO()):
                warnings.simplefilter("ignore")  # it predates today's numpy
                law = fitter(penalizer_coef=penalty).fit(x[some], t_x[some], age[some])
                safe = np.maximum(age, 1e-9)
                alive = np.asarray(law.conditional_probability_alive(x, t_x, safe))
                if "a" in law.params_:
                    alpha, r = float(law.params_["alpha"]), float(law.params_["r"])
                    return alive * -np.expm1(-(r + x) * np.log1p(weeks / (alpha + age)))
                mean = law.conditional_expected_number_of_purchases_up_to_time(weeks, x, t_x, safe)
                return -np.expm1(-np.asarray(mean))
        except (lifetimes_error(), ValueError, np.linalg.LinAlgError):
            continue
    return None


def lifetimes_error() -> type[Exception]:
    """What lifetimes raises where it does not converge."""
    from lifetimes.utils import ConvergenceError

    error: type[Exception] = ConvergenceError
    return error


def _learned(log: OrderLog, days: int, seed: int) -> dict[str, Floats | None]:
    """Boosting alone on all features, and a logistic regression on R, F and M, on the same labelled moments."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    cuts = [days + STEP_DAYS * back for back in range(N_CUTS)]
    cuts = [cut for cut in cuts if cut + MIN_HISTORY_DAYS <= log.since_days]
    pasts = [rewound(log, cut) for cut in cuts]
    if not pasts:
        return {}
    x = np.nan_to_num(np.concatenate([features(past, days) for past in pasts]), nan=-1.0)
    y = np.concatenate(
        [ordered_after(log, customers_of(p), cut, days) for p, cut in zip(pasts, cuts, strict=True)]
    )
    now = np.nan_to_num(features(log, days), nan=-1.0)
    columns = [NAMES.index(name) for name in RFM]
    boosting = HistGradientBoostingClassifier(max_leaf_nodes=15, min_samples_leaf=40, random_state=seed)
    logistic = make_pipeline(StandardScaler(), LogisticRegression())
    return {
        "boosting alone": boosting.fit(x, y).predict_proba(now)[:, 1],
        "logistic on RFM": logistic.fit(x[:, columns], y).predict_proba(now[:, columns])[:, 1],
    }
