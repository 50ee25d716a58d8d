"""Files of exposures, clicks, redemptions and orders -> the ledger, each row once however often sent."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from nextoffer.errors import BadRecordError, MissingFileError
from nextoffer.tracking.ledger import Ledger
from nextoffer.tracking.parse import parse_event, parse_moment, parse_order
from nextoffer.tracking.returns import as_return, moments_of_returns
from nextoffer.tracking.schema import Event, Order

__all__ = ["RecordReport", "parse_event", "record_file"]

_BATCH = 1_000
_LINE_COLUMNS = ("order_id", "product_id", "quantity", "unit_price")

Row = Mapping[str, Any]
Rejected = tuple[int, str, str]  # (row number from 1, field, reason)


@dataclass(frozen=True, slots=True)
class RecordReport:
    """What became of a file's rows: read = accepted + duplicates + rejected, always.

    `rejected` holds (row number from 1, field, reason) for each row that was refused.
    """

    read: int
    accepted: int
    duplicates: int
    rejected: tuple[Rejected, ...] = ()


def record_file(
    ledger: Ledger, path: Path, zone: tzinfo, currency: str, now: datetime | None = None
) -> RecordReport:
    """Record a CSV, Parquet or NDJSON file of events, or of order lines, 1,000 in a transaction.

    Events are known by `event_id`, order lines (a file with order_id, product_id, quantity, unit_price and
    no event type) by `order_id`, returned lines by what came back and when. A bad row is refused with its reason
    and the rest is recorded; a bad line refuses its whole order, since an order is recorded once. Recording the
    same file twice changes nothing.

    Parameters
    ----------
    zone : the zone of a moment that names none
    now : the present moment; a row from the future is refused. Without it none is.

    Raises
    ------
    MissingFileError : there is no such file.
    BadRecordError : the file is none of these formats, or has none of these columns.
    LedgerError : the ledger cannot be written.
    """
    columns, rows = _open(path)
    if "event_type" in columns or "type" in columns:
        return _record_events(ledger, rows, zone, currency, now)
    if columns.issuperset(_LINE_COLUMNS):
        return _record_order_lines(ledger, rows, zone, currency, now)
    if columns:
        raise BadRecordError(
            f"{path} has the columns {', '.join(sorted(columns))}. Events need event_id, event_type, "
            f"occurred_at and customer_id; order lines need {', '.join(_LINE_COLUMNS)}, ordered_at "
            "and customer_id. Rename the columns."
        )
    return RecordReport(0, 0, 0)


def _record_events(
    ledger: Ledger, rows: Iterator[Row], zone: tzinfo, currency: str, now: datetime | None
) -> RecordReport:
    read = accepted = duplicates = 0
    rejected: list[Rejected] = []
    while batch := list(islice(rows, _BATCH)):
        events: list[Event] = []
        for number, row in enumerate(batch, start=read + 1):
            try:
                events.append(parse_event(_sound(row), zone, currency, now))
            except BadRecordError as error:
                rejected.append((number, error.field or "row", str(error)))
        read += len(batch)
        n_new, n_known, _ = ledger.record_events(events)
        accepted, duplicates = accepted + n_new, duplicates + n_known
    return RecordReport(read, accepted, duplicates, tuple(rejected))


def _record_order_lines(
    ledger: Ledger, rows: Iterator[Row], zone: tzinfo, currency: str, now: datetime | None
) -> RecordReport:
    lines: dict[str, list[tuple[int, Row]]] = {}
    rejected: list[Rejected] = []
    read = 0
    for read, row in enumerate(rows, start=1):
        order_id = row.get("order_id")
        if _BROKEN in row or order_id in (None, ""):
            rejected.append((read, "order_id", str(row.get(_BROKEN) or "order_id must be given")))
            continue
        lines.setdefault(str(order_id), []).append((read, row))
    orders: list[Order] = []
    for order_id, numbered in lines.items():
        try:
            orders += _orders_of(order_id, [row for _, row in numbered], zone, currency, now)
        except BadRecordError as error:
            rejected += [
                (number, error.field or "row", f"order {order_id}: {error}") for number, _ in numbered
            ]
    n_lines = {order.order_id: len(order.lines) for order in orders}
    known: list[str] = []
    for first in range(0, len(orders), _BATCH):
        known += ledger.record_orders(orders[first : first + _BATCH])[2]
    n_known = sum(n_lines[order_id] for order_id in known)
    return RecordReport(read, read - n_known - len(rejected), n_known, tuple(sorted(rejected)))


def _orders_of(
    order_id: str, rows: list[Row], zone: tzinfo, currency: str, now: datetime | None
) -> list[Order]:
    """The order a file's lines make, and a return for each moment at which things only came back.

    One buyer, the earliest moment, an order discount counted once: it stays with the order.
    """
    buyers = {str(row.get("customer_id") or row.get("visitor_id") or "") for row in rows}
    if len(buyers) > 1:
        raise BadRecordError("customer_id must be the same on all lines of an order", "customer_id")
    moments = [_ordered_at(row, zone, now) for row in rows]
    named = {str(row["currency"]) for row in rows if row.get("currency")} - {currency}
    if named:
        raise BadRecordError(f"currency must be {currency}, not {min(named)!r}", "currency")
    discounts = {str(row["order_discount"]) for row in rows if row.get("order_discount")}
    if len(discounts) > 1:
        raise BadRecordError("order_discount must be the same on all lines of an order", "order_discount")
    discount = discounts.pop() if discounts else None
    buyer = buyers.pop() or None
    whole = parse_order(order_id, buyer, min(moments), rows, currency, discount=discount)
    returned = moments_of_returns(moments, whole.lines)
    if not returned:
        return [whole]
    at_each: dict[datetime | None, list[Row]] = {}
    for at, row in zip(moments, rows, strict=True):
        at_each.setdefault(at if at in returned else None, []).append(row)
    kept = at_each.pop(None, [])
    orders = [
        as_return(parse_order(order_id, buyer, at, part, currency))
        for at, part in at_each.items()
        if at is not None
    ]
    if kept:
        first = min(at for at in moments if at not in returned)
        orders.append(parse_order(order_id, buyer, first, kept, currency, discount=discount))
    return orders


def _ordered_at(row: Row, zone: tzinfo, now: datetime | None) -> datetime:
    field = "ordered_at" if row.get("ordered_at") not in (None, "") else "occurred_at"
    if row.get(field) in (None, ""):
        raise BadRecordError("ordered_at must be given", "ordered_at")
    return parse_moment(row[field], field, zone, now)


# -- formats

_BROKEN = "\x00broken"  # no column can have this name: marks a row that could not be read


def _sound(row: Row) -> Row:
    if _BROKEN in row:
        raise BadRecordError(str(row[_BROKEN]), "row")
    return row


def _open(path: Path) -> tuple[set[str], Iterator[Row]]:
    """The file's column names and its rows."""
    if not path.is_file():
        raise MissingFileError(f"record: there is no file {path}. Check the path.")
    if path.suffix.lower() in (".parquet", ".pq"):
        return _open_parquet(path)
    text = _text_of(path)
    if path.suffix.lower() in (".ndjson", ".jsonl", ".json") or text.lstrip()[:1] == "{":
        return _open_ndjson(text)
    return _open_csv(path, text)


def _open_parquet(path: Path) -> tuple[set[str], Iterator[Row]]:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise BadRecordError(f"{path} is not a Parquet file: {error}. Write it again.") from None
    rows = (row for batch in file.iter_batches(batch_size=_BATCH) for row in batch.to_pylist())
    return set(file.schema_arrow.names), rows


def _open_ndjson(text: str) -> tuple[set[str], Iterator[Row]]:
    rows = [_json_row(line) for line in text.split("\n") if line.strip()]
    columns = {str(key) for row in rows for key in row} - {_BROKEN}
    if rows and not columns:
        columns = {"event_type"}  # nothing readable: every row is reported
    return columns, iter(rows)


def _json_row(line: str) -> Row:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return {_BROKEN: f"the line is not JSON: {error}"}
    return row if isinstance(row, dict) else {_BROKEN: "the line is not a JSON object"}


def _open_csv(path: Path, text: str) -> tuple[set[str], Iterator[Row]]:
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t|", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restkey=_BROKEN)
    names = [(name or "").strip() for name in reader.fieldnames or ()]
    reader.fieldnames = names

    def rows() -> Iterator[Row]:
        try:
            for row in reader:
                yield {**row, _BROKEN: "the row has more cells than the header"} if _BROKEN in row else row
        except csv.Error as error:
            raise BadRecordError(
                f"{path}, line {reader.line_num}: not CSV ({error}). Write the file again."
            ) from None

    return set(names), rows()


def _text_of(path: Path) -> str:
    raw = path.read_bytes()
    for encoding in ("utf-8-sig", "windows-1251"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise BadRecordError(f"{path} is neither UTF-8 nor windows-1251 text. Save it as UTF-8.")
