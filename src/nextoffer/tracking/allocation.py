"""Who is held out: drawn by each unit's own hash, or exactly within strata; and whether a ledger still says so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextoffer.domain.arrays import Bools, Ints, Strings, place_in_run
from nextoffer.tracking.experiments import Study
from nextoffer.tracking.holdout import Drawn, groups, hash_bits, hash_share, seed_of
from nextoffer.tracking.schema import HOLDOUT, TREATED, to_micros

_WHOLE = 10**9  # shares are counted in billionths: sums of integers are exact
_STEPS = 10_000  # of hash_share


def drawn(
    experiment: Drawn, unit_ids: Sequence[str], strata: Sequence[str | None] | None, at: datetime
) -> Bools:
    """True for the units of a list that are held out, in its order.

    By hash a unit's group depends on nothing but its id. A list that is allocated exactly is one draw: the same
    list at the same moment gives the same groups.

    Parameters
    ----------
    strata : the stratum of each unit, None where it is not known; without any the list is one stratum
    """
    if not (isinstance(experiment, Study) and experiment.exact):
        return groups(experiment, unit_ids)
    moments = np.full(len(unit_ids), to_micros(at), dtype=np.int64)
    slugs = pa.array(strata if strata is not None else [None] * len(unit_ids), pa.string())
    return _exactly(experiment, Strings.of(unit_ids), slugs, moments)


def altered(assignments: pa.Table, experiment: Drawn) -> int:
    """How many units of an experiment's version are in another group than was drawn for them.

    Not zero: the ledger was edited by hand, or the terms were changed without a new version. What is allocated
    exactly is drawn again list by list, so that a unit taken out or put in also shows, unless it changes no sum.

    Parameters
    ----------
    assignments : columns unit_id, group, assigned_at and stratum, all rows of the version, in any order
    """
    units = Strings.from_arrow(assignments["unit_id"])
    held_out = np.asarray(pc.equal(assignments["group"], HOLDOUT).to_numpy(), dtype=bool)
    if isinstance(experiment, Study) and experiment.exact:
        moments = assignments["assigned_at"].cast(pa.timestamp("us")).cast(pa.int64()).to_numpy()
        was = _exactly(experiment, units, assignments["stratum"], moments)
    else:
        was = groups(experiment, units)
    known = np.asarray(
        pc.is_in(assignments["group"], value_set=pa.array([TREATED, HOLDOUT])).to_numpy(), dtype=bool
    )
    return int(np.count_nonzero((held_out != was) | ~known))


def _exactly(experiment: Drawn, units: Strings, strata: pa.Array | pa.ChunkedArray, moments: Ints) -> Bools:
    """Which units are held out when each moment's list is split exactly: (n,) bool.

    Of the n units of a stratum share × n are held out, those lowest by their hash. Where that is no whole number,
    one start drawn for the list is carried through its strata (systematic sampling): each gets the whole number
    below or above, the list its total likewise, and no unit's chance differs from the share.

    References
    ----------
    Madow, W. G. (1949), On the theory of systematic sampling, II. Annals of Mathematical Statistics 20, 333-354.
    """
    if not len(units):
        return np.zeros(0, dtype=bool)
    seed = seed_of(experiment)
    batch, moment_of = _coded(pa.array(moments))
    stratum, slugs = _coded(strata)
    n_strata = len(slugs) + 1
    cell = batch * n_strata + stratum
    sizes = np.bincount(cell, minlength=len(moment_of) * n_strata).reshape(-1, n_strata)
    starts = hash_share(f"{seed}:start", [str(moment) for moment in moment_of])
    start = np.round(starts * _STEPS).astype(np.int64)[:, None] * (_WHOLE // _STEPS)
    up_to = round(experiment.holdout_share * _WHOLE) * np.cumsum(sizes, axis=1)
    counts = np.diff((up_to + start) // _WHOLE, axis=1, prepend=0).ravel()
    order = _by_hash(cell, hash_bits(seed, units), units)
    held_out: Bools = np.zeros(len(units), dtype=bool)
    held_out[order] = place_in_run(cell[order]) < counts[cell[order]]
    return held_out


def _coded(column: pa.Array | pa.ChunkedArray) -> tuple[Ints, list[object]]:
    """(n,) codes in the order of the values, nulls first, and the values (without null)."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    dictionary = column.dictionary_encode()
    values = dictionary.dictionary
    rank = np.empty(len(values) + 1, dtype=np.int64)
    rank[np.asarray(pc.sort_indices(values))] = np.arange(len(values))
    rank[-1] = -1  # null
    codes = rank[np.asarray(pc.fill_null(dictionary.indices, -1))]
    return codes + 1 if column.null_count else codes, values.take(pc.sort_indices(values)).to_pylist()


def _by_hash(cell: Ints, bits: Ints, units: Strings) -> Ints:
    """Rows by cell, then hash, then id."""
    key = (cell.astype(np.uint64) << np.uint64(32)) | bits
    order = np.argsort(key, kind="stable")
    again = np.flatnonzero(key[order[1:]] == key[order[:-1]])
    if len(again):  # a few in a million
        at = np.union1d(again, again + 1)
        order[at] = sorted(order[at].tolist(), key=lambda row: (int(key[row]), units.text(row)))
    return order
