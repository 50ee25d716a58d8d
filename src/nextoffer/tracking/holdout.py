"""Who gets no offers, so that uplift can be measured: a hash anyone can reproduce, over columns of ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from nextoffer.domain.arrays import Bools, Bytes, Ints, Strings

_OFFSET_BASIS = np.uint32(2166136261)
_PRIME = np.uint32(16777619)
_BUCKETS = np.uint32(10_000)
_BLOCK = 1 << 16  # ids hashed at a time: what a processor keeps at hand

Hashes = npt.NDArray[np.uint32]


class Drawn(Protocol):
    """What units are drawn for: the permanent holdout, or a study."""

    @property
    def name(self) -> str:
        """Of the experiment."""

    @property
    def version(self) -> int:
        """Another version draws anew."""

    @property
    def holdout_share(self) -> float:
        """Of the units that take part."""


def groups(experiment: Drawn, unit_ids: Sequence[str] | Strings) -> Bools:
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


def seed_of(experiment: Drawn) -> str:
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
    return (hash_bits(seed, ids) % _BUCKETS) / 10_000


def hash_bits(seed: str, ids: Sequence[str] | Strings) -> Hashes:
    """The 32 bits of which `hash_share` keeps the remainder by 10,000: an order of the ids nobody chose.

    Returns
    -------
    (n,) uint32, in the order of the ids
    """
    texts = ids if isinstance(ids, Strings) else Strings.of(ids)
    if np.any(texts.ends < 0):
        raise ValueError(f"row {int(np.argmax(texts.ends < 0))} holds no id")
    blob, seeded = np.asarray(texts.blob), _fnv1a_of(seed.encode())
    starts = np.concatenate([np.zeros(min(1, len(texts)), dtype=np.int64), texts.ends[:-1]])
    hashes = np.empty(len(texts), dtype=np.uint32)
    for first in range(0, len(texts), _BLOCK):
        some = slice(first, first + _BLOCK)
        hashes[some] = _fnv1a_of_digits(_fnv1a(seeded, blob, starts[some], texts.ends[some] - starts[some]))
    return hashes


def _fnv1a_of(text: bytes) -> np.uint32:
    state = int(_OFFSET_BASIS)
    for byte in text:
        state = (state ^ byte) * int(_PRIME) % 2**32
    return np.uint32(state)


def _fnv1a(state: np.uint32, blob: Bytes, starts: Ints, lengths: Ints) -> Hashes:
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


def _fnv1a_of_digits(numbers: Hashes) -> Hashes:
    """FNV-1a of the decimal texts of numbers, digit by digit from the first, without making the texts."""
    hashes = np.full(len(numbers), _OFFSET_BASIS, dtype=np.uint32)
    for power in range(9, -1, -1):
        rest = numbers // np.uint32(10**power)
        hashed = (hashes ^ (rest % np.uint32(10) + np.uint32(ord("0")))) * _PRIME
        # a number has no digit before its first, but always a last one
        hashes = np.where(rest > 0, hashed, hashes) if power else hashed
    return hashes
