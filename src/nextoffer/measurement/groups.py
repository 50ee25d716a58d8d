"""Who was assigned where: the two groups of an experiment, drawn from all together or inside strata."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.errors import MeasurementError


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """The groups of K customers, and the numbers of all assigned.

    Parameters
    ----------
    treated : (K,) False for the holdout
    strata : (K,) row of `sizes`
    sizes : (S, 2) everybody treated and held out in each stratum; one stratum where there are none
    """

    treated: Bools
    strata: Ints
    sizes: Ints

    @classmethod
    def of(
        cls,
        treated: Bools,
        n_treated: int,
        n_holdout: int,
        strata: Ints | None = None,
        stratum_sizes: Ints | None = None,
    ) -> Groups:
        """Checked: the strata, if any, add up to everybody, and each group has two customers.

        Raises
        ------
        MeasurementError : they do not.
        """
        treated = np.asarray(treated, dtype=np.bool_)
        if min(n_treated, n_holdout) < 2:
            raise MeasurementError(
                f"{n_treated} treated and {n_holdout} held out: each group needs 2 customers"
            )
        if (strata is None) != (stratum_sizes is None):
            raise MeasurementError("strata and the sizes of strata go together: give both or neither")
        if strata is None or stratum_sizes is None:
            sizes = np.array([[n_treated, n_holdout]], dtype=np.int64)
            return cls(treated, np.zeros(len(treated), dtype=np.int64), sizes)
        strata, sizes = (np.asarray(part, dtype=np.int64) for part in (strata, stratum_sizes))
        if strata.shape != treated.shape or sizes.ndim != 2 or sizes.shape[1] != 2 or (sizes < 0).any():
            raise MeasurementError(
                f"{strata.shape} strata of {treated.shape} customers with sizes {sizes.shape}: "
                "one stratum each, and two numbers of customers for each stratum"
            )
        if sizes.sum(axis=0).tolist() != [n_treated, n_holdout]:
            raise MeasurementError(
                f"the strata hold {sizes.sum(axis=0).tolist()} treated and held out, "
                f"but {n_treated} and {n_holdout} were assigned"
            )
        if len(strata) > 0 and not 0 <= strata.min() <= strata.max() < len(sizes):
            raise MeasurementError(f"a customer's stratum is none of the {len(sizes)} there are")
        return cls(treated, strata, sizes)

    @property
    def totals(self) -> Floats:
        """(2,) everybody treated and held out."""
        totals: Floats = self.sizes.sum(axis=0).astype(np.float64)
        return totals

    @property
    def n(self) -> int:
        """Everybody."""
        return int(self.sizes.sum())

    def of_valued(self, table: Floats) -> tuple[Floats, Groups]:
        """The rows of a (K, M) table with anything other than 0, and their groups.

        By stratum, the first two columns and a fingerprint of the row: the order of rows changes nothing.

        Raises
        ------
        MeasurementError : a value is missing or not finite, or a group is smaller than its valued customers.
        """
        if table.ndim != 2 or len(table) != len(self.treated):
            raise MeasurementError(
                f"{table.shape} values but {self.treated.shape} groups: there must be one each"
            )
        if not np.isfinite(table).all():
            raise MeasurementError("a customer's value is not a finite number: mend the orders it comes from")
        used = np.flatnonzero((table != 0).any(axis=1))
        table, treated, strata = table[used], self.treated[used], self.strata[used]
        order = np.lexsort((_fingerprint(table, treated), *table.T[:2], strata))
        self._check_sizes(treated, strata)
        return table[order], Groups(treated[order], strata[order], self.sizes)

    def _check_sizes(self, treated: Bools, strata: Ints) -> None:
        for at, (name, group) in enumerate((("treated", treated), ("holdout", ~treated))):
            valued = np.bincount(strata[group], minlength=len(self.sizes))
            over = np.flatnonzero(valued > self.sizes[:, at])
            if len(over) > 0:
                where = f" in stratum {over[0]}" if len(self.sizes) > 1 else ""
                raise MeasurementError(
                    f"{valued[over[0]]} customers of the {name} group have a value{where}, "
                    f"but it has {self.sizes[over[0], at]}"
                )


def _fingerprint(table: Floats, treated: Bools) -> Ints:
    """64 bits of each row, each column mixed in by a bijection; a sort by one key where many would take long."""
    mixed = treated.astype(np.uint64)
    for column in table.T:
        mixed ^= (column.astype(np.float64) + 0.0).view(np.uint64)  # −0 is 0
        mixed *= np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(32)
    return mixed
