"""What a campaign's run holds back for its experiments, and from whom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nextoffer.domain.arrays import Bools, Ints
from nextoffer.domain.kinds import KIND
from nextoffer.domain.offers import Slates
from nextoffer.pipeline.audience import Run
from nextoffer.tracking.experiments import Study, held_out_of, running
from nextoffer.tracking.ledger import Ledger


def held_back(
    run: Run, ledger: Ledger, ids: Sequence[str], strata: Sequence[str], free: Bools, slates: Slates
) -> list[tuple[Study, ...]]:
    """For each customer asked, the experiments that hold them out; who takes part for the first time is assigned.

    An experiment that splits lists exactly takes in the whole list, one that goes by hash whoever an offer it covers
    is about to be made to.

    Parameters
    ----------
    free : (n,) bool, customers outside the permanent holdout: nobody else takes part
    slates : everybody's offers, by place in the list
    """
    studies = [study for study in running(run.shop.settings, run.run_on) if study.reaches(run.name)]

    def asked(study: Study) -> Ints:
        return np.flatnonzero(free if study.exact else free & _reached(study, slates, len(ids)))

    return held_out_of(ledger.assign, studies, ids, strata, run.now, asked)


def _reached(study: Study, slates: Slates, n: int) -> Bools:
    """(n,) bool, customers whose slate holds an offer the experiment covers."""
    kinds = [KIND[kind] for kind in study.trial.kinds]
    rows = np.isin(slates.kind, kinds) if kinds else np.ones(len(slates), dtype=bool)
    reached: Bools = np.zeros(n, dtype=bool)
    reached[slates.customer[rows]] = True
    return reached
