"""Every error nextoffer raises on purpose.

NextOfferError
├── ConfigError                 nextoffer.toml or the environment is wrong; lists every fault
├── SourceError                 the shop's data cannot be read as canonical tables
│   ├── MissingFileError
│   ├── BadColumnError
│   ├── EmptyTableError
│   └── TooManyRejectsError
├── TrainingError               the history cannot be learned from
│   └── TooLittleHistoryError
├── BundleError                 a bundle cannot be written, read or put in service
│   ├── NoBundleError
│   ├── BundleCorruptError
│   ├── BundleFormatError
│   ├── BusyError               another nightly job is running
│   └── GateRefusedError        tonight's bundle is worse; last night's stays (exit code 3)
├── RequestError                a caller asked for something that cannot be
│   └── NotAllowedError         the key or token does not permit it
├── LedgerError                 the ledger cannot be read or written
│   └── BadRecordError          a record file or event is malformed
├── CampaignError               a campaign cannot be exported as configured
├── PluginError                 a plug-in of another package is not what it must be
└── MeasurementError            an effect cannot be estimated from what there is

Messages say what, where, which value, and what to do. One place maps them to exit codes (cli.py), one to
HTTP statuses (api/problems.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any


class NextOfferError(Exception):
    """Root of every error this package raises on purpose. Survives pickling, so workers can raise it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), str(self), vars(self))


def _restore(kind: type[NextOfferError], message: str, fields: dict[str, Any]) -> NextOfferError:
    error = kind.__new__(kind, message)
    error.args = (message,)
    error.__dict__.update(fields)
    return error


class ConfigError(NextOfferError, ValueError):
    """nextoffer.toml or the environment is wrong; `faults` holds one line for each thing to mend."""

    def __init__(self, where: str, faults: list[str]) -> None:
        self.where, self.faults = where, faults
        listed = "\n".join(f"  - {fault}" for fault in faults)
        super().__init__(f"{where} has {len(faults)} fault{'s' if len(faults) != 1 else ''}:\n{listed}")


class SourceError(NextOfferError):
    """The shop's data cannot be read as a canonical table."""


class MissingFileError(SourceError, FileNotFoundError):
    """A path of the configuration matches no file."""


class BadColumnError(SourceError, ValueError):
    """A column breaks its contract: names the table, the rule and the first bad rows."""

    def __init__(
        self, table: str, column: str, rule: str, bad: Mapping[int, object], count: int | None = None
    ) -> None:
        self.table, self.column, self.rows = table, column, list(bad)
        shown = ", ".join(f"row {row} is {value!r}" for row, value in islice(bad.items(), 3))
        found = f"; {count or len(bad):,} rows are not ({shown})" if bad else ""
        super().__init__(
            f"{table}.{column} must be {rule}{found}. "
            f"Correct the source, or map the column under [history.{table}] in nextoffer.toml."
        )


class EmptyTableError(SourceError, ValueError):
    """A table holds no usable row."""


class TooManyRejectsError(SourceError, ValueError):
    """More rows are bad than `max_reject_share` allows."""


class TrainingError(NextOfferError):
    """The history cannot be learned from."""


class TooLittleHistoryError(TrainingError, ValueError):
    """There is nothing before `as_of` to learn from."""


class BundleError(NextOfferError):
    """A bundle cannot be written, read or put in service."""


class NoBundleError(BundleError, LookupError):
    """No bundle is in service, or the one named does not exist."""


class BundleCorruptError(BundleError):
    """A file of a bundle is missing or its bytes are not those that were published."""


class BundleFormatError(BundleError):
    """A bundle was written in a format this version does not read."""


class BusyError(BundleError):
    """Another nightly job holds the lock of this models folder."""


class GateRefusedError(BundleError):
    """Tonight's bundle did not pass the quality gate; last night's stays in service."""


class RequestError(NextOfferError, ValueError):
    """A caller asked for something that cannot be; `field` names the part at fault."""

    def __init__(self, message: str, field: str | None = None) -> None:
        self.field = field
        super().__init__(message)


class NotAllowedError(RequestError):
    """The key or the customer token does not permit this."""


class LedgerError(NextOfferError):
    """The ledger cannot be read or written."""


class BadRecordError(LedgerError, ValueError):
    """A record is malformed: names the row, the field and the value; `field` is the part at fault."""

    def __init__(self, message: str, field: str | None = None) -> None:
        self.field = field
        super().__init__(message)


class CampaignError(NextOfferError, ValueError):
    """A campaign cannot be exported as configured."""


class PluginError(NextOfferError):
    """A plug-in of another package cannot be imported, raises, or returns what it must not."""


class MeasurementError(NextOfferError, ValueError):
    """An effect cannot be estimated from what there is."""
