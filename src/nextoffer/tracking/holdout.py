"""Who gets no offers, so that uplift can be measured: a hash anyone can reproduce, over columns of ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nextoffer.config import Experiment
from nextoffer.domain.arrays import Bools, Bytes, Ints, Strings

_OFFSET_BASIS = 2166136261
_PRIME = np.uint32(16777619)
_BUCKETS = np.uint32(10_000)

Hashes = npt.NDArray[np.uint32]


def groups(experiment: Experiment, unit_ids: Sequence[str] | Strings) -> Bools:
    """True for every unit of the holdout; a unit is a customer, else a visitor.

    Parameters
    ----------
    unit_ids : n ids; the answer for one id depends on that id and the experiment's name, version and share

    Returns
    -------
    (n,) bool, in the order of the ids
    """
    in_holdout: Bools = hash_share(seed_of(experiment), unit_ids) < experiment.holdout_share
    return in_holdout


def seed_of(experiment: Experiment) -> str:
    """What the hash of an experiment is seeded with: `name:version`."""
    return f"{experiment.name}:{experiment.version}"


def hash_share(seed: str, ids: Sequence[str] | Strings) -> npt.NDArray[np.float64]:
    """GrowthBook's hash, version 2: a number in [0, 1) for each id, in steps of 1/10,000.

    fnv1a(text of fnv1a(seed + id)) mod 10,000 / 10,000, over the UTF-8 bytes. Hashing twice removes the
    correlation between ids that differ in their last character only.

    References
    ----------
    GrowthBook SDK specification, "hash", version 2 (docs.growthbook.io/lib/build-your-own);
    Fowler, Noll & Vo, FNV-1a, 32 bit.
    """
    texts = ids if isinstance(ids, Strings) else Strings.of(ids)
    if np.any(texts.ends < 0):
        raise ValueError(f"row {int(np.argmax(texts.ends < 0))} holds no id")
    starts = np.concatenate([np.zeros(min(1, len(texts)), dtype=np.int64), texts.ends[:-1]])
    seeded = _fnv1a_one(seed.encode())
    once = _fnv1a(seeded, np.asarray(texts.blob), starts, texts.ends - starts)
    digits = once.astype("S10").view(np.uint8).reshape(len(once), 10)
    n_digits = np.count_nonzero(digits, axis=1)
    first = np.arange(len(once), dtype=np.int64) * 10
    twice = _fnv1a(_OFFSET_BASIS, digits.reshape(-1), first, n_digits)
    return (twice % _BUCKETS) / 10_000


def _fnv1a_one(text: bytes) -> int:
    state = _OFFSET_BASIS
    for byte in text:
        state = (state ^ byte) * int(_PRIME) % 2**32
    return state


def _fnv1a(state: int, blob: Bytes, starts: Ints, lengths: Ints) -> Hashes:
    """FNV-1a of many slices of one blob, one byte position of all of them at a time, from a common state."""
    longest_first = np.argsort(-lengths, kind="stable")
    starts, lengths = starts[longest_first], lengths[longest_first]
    hashes = np.full(len(starts), state, dtype=np.uint32)
    n_longer = len(starts) - np.searchsorted(lengths[::-1], np.arange(int(lengths.max(initial=0))), "right")
    for position, n in enumerate(n_longer.tolist()):
        hashes[:n] ^= blob[starts[:n] + position]
        hashes[:n] *= _PRIME
    ordered = np.empty_like(hashes)
    ordered[longest_first] = hashes
    return ordered
