"""From cells to values: SQL that parses ids, numbers, moments and flags, decided column by column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from nextoffer.config import Source
from nextoffer.domain.money import minor_digits
from nextoffer.domain.tables import SQL_TYPES, Column
from nextoffer.texts import said

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FIRST_YEAR, END_YEAR = 1990, 2200
NUMBERS = ("quantity", "price", "money", "integer", "number")
MISSING = ("nan", "NaN", "NULL", "null", "None", "<NA>", "\\N")
_SPACES = "' \t\r\n\u00a0'"
_PLAIN = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?"
_ZONED = r"[0-9]:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?\s*(Z|UTC|GMT|[+-][0-9]{2}(:?[0-9]{2})?)$"
_TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", ", %H:%M:%S", ", %H:%M")
# In the order in which a tie is decided; ISO and US first, as a column both would fit is most often that.
DATE_STYLES: dict[str, str] = {
    "ISO": "",
    "DD.MM.YYYY": "%d.%m.%Y",
    "DD.MM.YY": "%d.%m.%y",
    "M/D/YYYY": "%m/%d/%Y",
    "D/M/YYYY": "%d/%m/%Y",
    "M/D/YY": "%m/%d/%y",
    "D/M/YY": "%d/%m/%y",
    "DD-MM-YYYY": "%d-%m-%Y",
    "YYYYMMDD": "%Y%m%d",
    "unix seconds": "",
}
MACROS = f"""
CREATE OR REPLACE MACRO filled(t) AS CASE
  WHEN trim(t, {_SPACES}) IN ('', {", ".join(f"'{word}'" for word in MISSING)}) THEN NULL
  ELSE trim(t, {_SPACES}) END;
CREATE OR REPLACE MACRO squeezed(t) AS
  regexp_replace(replace(t, '\u2212', '-'), '[\\s\\x{{00a0}}\\x{{202f}}\\x{{2009}}''£$€₽]', '', 'g');
CREATE OR REPLACE MACRO dot_number(t) AS CASE
  WHEN regexp_full_match(t, '{_PLAIN}') THEN t
  WHEN regexp_full_match(squeezed(t), '[+-]?[0-9]{{1,3}}(,[0-9]{{3}})+(\\.[0-9]*)?')
    THEN replace(squeezed(t), ',', '')
  WHEN regexp_full_match(squeezed(t), '{_PLAIN}') THEN squeezed(t) END;
CREATE OR REPLACE MACRO comma_number(t) AS CASE
  WHEN regexp_full_match(squeezed(t), '[+-]?([0-9]+,?[0-9]*|,[0-9]+)') THEN replace(squeezed(t), ',', '.')
  WHEN regexp_full_match(squeezed(t), '[+-]?[0-9]{{1,3}}(\\.[0-9]{{3}})+(,[0-9]*)?')
    THEN replace(replace(squeezed(t), '.', ''), ',', '.') END;
CREATE OR REPLACE MACRO flag_of(t) AS CASE
  WHEN lower(t) IN ('true', 'yes', 'y', 't', '1', '1.0', 'on', 'да', 'д', 'истина') THEN TRUE
  WHEN lower(t) IN ('false', 'no', 'n', 'f', '0', '0.0', 'off', 'нет', 'н', 'ложь') THEN FALSE END;
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was decided about the columns of one table, from all of their values."""

    decimal: str
    dates: Mapping[str, str]
    float_ids: frozenset[str]
    offsets: Mapping[str, str]
    notes: tuple[str, ...] = ()


def filled(name: str, sql_type: str, clean: bool = False) -> str:
    """A cell with outer space, the words for nothing and NaN made NULL; `clean` texts need none of it."""
    if sql_type == "VARCHAR":
        return name if clean else f"filled({name})"
    if sql_type in ("DOUBLE", "FLOAT"):
        return f"CASE WHEN isnan({name}) THEN NULL ELSE {name} END"
    return f"filled(CAST({name} AS VARCHAR))" if not is_typed(sql_type) else name


def clean_texts(con: DuckDBPyConnection, rows: str, names: list[str]) -> frozenset[str]:
    """Text columns without outer space or words for nothing: one look spares trimming in every later pass."""
    if not names:
        return frozenset()
    words = ", ".join(f"'{word}'" for word in ("", *MISSING))
    tests = ", ".join(
        f"coalesce(bool_or({name} IN ({words}) OR ascii({name}) IN (9, 10, 13, 32, 160) "
        f"OR ascii(right({name}, 1)) IN (9, 10, 13, 32, 160)), FALSE)"
        for name in names
    )
    found = con.execute(f"SELECT {tests} FROM ({rows})").fetchall()[0]
    return frozenset(name for name, dirty in zip(names, found, strict=True) if not dirty)


def is_typed(sql_type: str) -> bool:
    """Numbers, moments and flags of a Parquet file are taken as they are; anything else is read as text."""
    return sql_type.startswith(("DECIMAL", "TIMESTAMP")) or sql_type in (
        "DOUBLE", "FLOAT", "DATE", "BOOLEAN", "BIGINT", "INTEGER", "SMALLINT", "TINYINT", "HUGEINT",
        "UBIGINT", "UINTEGER", "USMALLINT", "UTINYINT",
    )  # fmt: skip


def is_number(sql_type: str) -> bool:
    """Whether a source column holds numbers already."""
    return is_typed(sql_type) and not sql_type.startswith(("TIMESTAMP", "DATE", "BOOLEAN"))


def decide(
    con: DuckDBPyConnection,
    cells: str,
    columns: Mapping[str, tuple[Column, str]],
    source: Source,
    delimiter: str | None,
    zone: str,
) -> Reading:
    """Choose decimal mark, date styles and float ids of the columns {name: (canonical column, SQL type)}."""
    texts = [name for name, (column, kind) in columns.items() if column.type in NUMBERS and kind == "VARCHAR"]
    decimal = source.decimal or decimal_mark(con, cells, texts, delimiter)
    dates, notes = {}, []
    for name, (column, kind) in columns.items():
        if column.type not in ("moment", "date") or (is_typed(kind) and not is_number(kind)):
            continue
        style, rival = date_style(con, cells, name, column.type, source.date_format)
        dates[name] = style
        if rival:
            notes.append(
                said(
                    "{column}: every value reads as {style} and as {rival}; taken as {style}. "
                    "If that is wrong, set date_format, for example {example}.",
                    column=name.removeprefix("raw_"),
                    style=style,
                    rival=rival,
                    example=f'date_format = "{DATE_STYLES[rival]} %H:%M"',
                )
            )
    naive = [
        name for name, (column, kind) in columns.items() if column.type == "moment" and kind == "TIMESTAMP"
    ]
    offsets = {name: _stepwise_utc(con, cells, name, zone) for name in naive}
    return Reading(decimal, dates, _float_ids(con, cells, columns), offsets, tuple(notes))


def decimal_mark(con: DuckDBPyConnection, cells: str, names: list[str], delimiter: str | None) -> str:
    """The mark under which more cells are numbers; where both fit alike, what goes with the separator."""
    if not names:
        return "."
    counts = ", ".join(f"count(dot_number({name})), count(comma_number({name}))" for name in names)
    found = con.execute(f"SELECT {counts} FROM {cells}").fetchall()[0]
    dot, comma = sum(found[::2]), sum(found[1::2])
    if dot == comma:
        return "," if delimiter == ";" else "."
    return "," if comma > dot else "."


def date_style(
    con: DuckDBPyConnection, cells: str, name: str, kind: str, date_format: str | None
) -> tuple[str, str | None]:
    """The style that reads most values, and a rival that reads as many but differently."""
    if date_format and kind == "moment":
        return date_format, None
    first = 1900 if kind == "date" else FIRST_YEAR
    styles = [*([date_format] if date_format else []), *DATE_STYLES]
    counts = ", ".join(
        f"coalesce(sum(n) FILTER (year({local_moment(style, 'part')}) BETWEEN {first} AND {END_YEAR}), 0)"
        for style in styles
    )
    # Days repeat, so only distinct first words are parsed; a time never decides the style.
    days = (
        f"SELECT regexp_extract(CAST({name} AS VARCHAR), '^[^ T,]+') AS part, count(*) AS n FROM {cells} "
        f"WHERE {name} IS NOT NULL GROUP BY 1"
    )
    found = con.execute(f"SELECT {counts} FROM ({days})").fetchall()[0]
    scores = dict(zip(styles, found, strict=True))
    best = max(styles, key=lambda style: scores[style])
    swapped = best.replace("M/D", "D/M")
    rival = swapped if swapped != best and 0 < scores[best] == scores[swapped] else None
    return best, rival


def _float_ids(
    con: DuckDBPyConnection, cells: str, columns: Mapping[str, tuple[Column, str]]
) -> frozenset[str]:
    """Columns of ids that went through floats on their way: every one of them is a whole number with .0."""
    ids = [name for name, (column, _) in columns.items() if column.type == "id"]
    if not ids:
        return frozenset()
    whole = "regexp_full_match(CAST({name} AS VARCHAR), '-?[0-9]+\\.0+')"
    found: tuple[bool, ...] = (False,) * len(ids)
    # Most tables say no within their first rows; only a yes needs all of them.
    for rows, empty in ((f"(SELECT * FROM {cells} LIMIT 1000)", "TRUE"), (cells, "FALSE")):
        tests = ", ".join(f"coalesce(bool_and({whole.format(name=name)}), {empty})" for name in ids)
        found = con.execute(f"SELECT {tests} FROM {rows}").fetchall()[0]
        if not any(found):
            return frozenset()
    return frozenset(name for name, yes in zip(ids, found, strict=True) if yes)


def local_moment(style: str, text: str) -> str:
    """SQL for a moment without zone, in the style given (a name of DATE_STYLES or a strptime format)."""
    if style == "ISO":
        # Eight digits would be read as a year.
        return f"CASE WHEN regexp_matches({text}, '^[0-9]{{4}}[-/]') THEN TRY_CAST({text} AS TIMESTAMP) END"
    if style == "unix seconds":
        number = f"TRY_CAST({text} AS BIGINT)"
        return (
            f"CASE WHEN {number} BETWEEN 600000000 AND 7000000000 THEN make_timestamp({number} * 1000000) "
            f"WHEN {number} BETWEEN 600000000000 AND 7000000000000 THEN make_timestamp({number} * 1000) END"
        )
    if style not in DATE_STYLES:
        return f"try_strptime({text}, '{style.replace(chr(39), chr(39) * 2)}')"
    formats = ", ".join(f"'{DATE_STYLES[style]}{time}'" for time in _TIMES)
    extra = ", '%Y%m%d%H%M%S'" if style == "YYYYMMDD" else ""
    return f"try_strptime({text}, [{formats}{extra}])"


def value(column: Column, name: str, sql_type: str, reading: Reading, currency: str, zone: str) -> str:
    """SQL for the canonical value of one cell; NULL where it cannot be read."""
    text = name if sql_type == "VARCHAR" else f"CAST({name} AS VARCHAR)"
    kind = column.type
    if kind == "id":
        return f"regexp_replace({text}, '\\.0+$', '')" if name in reading.float_ids else text
    if kind == "text":
        return text
    if kind == "flag":
        return name if sql_type == "BOOLEAN" else f"flag_of({text})"
    if kind in NUMBERS:
        return _number(column, name, sql_type, reading, currency)
    moment = _moment(name, text, sql_type, reading, zone if kind == "moment" else "UTC")
    return moment if kind == "moment" else f"CAST({moment} AS DATE)"


def _number(column: Column, name: str, sql_type: str, reading: Reading, currency: str) -> str:
    number = name
    if not is_number(sql_type):
        number = f"{'comma' if reading.decimal == ',' else 'dot'}_number(CAST({name} AS VARCHAR))"
    if column.type == "money":
        return f"TRY_CAST(TRY_CAST({number} AS DECIMAL(18,4)) * {10 ** minor_digits(currency)} AS BIGINT)"
    if column.type == "integer":
        return f"TRY_CAST(TRY_CAST({number} AS DECIMAL(18,2)) AS BIGINT)"
    return f"TRY_CAST({number} AS {SQL_TYPES[column.type]})"


def _moment(name: str, text: str, sql_type: str, reading: Reading, zone: str) -> str:
    style = reading.dates.get(name, "ISO")
    if sql_type == "TIMESTAMP WITH TIME ZONE":
        return f"timezone('UTC', {name})"
    if sql_type.startswith(("TIMESTAMP", "DATE")):
        return reading.offsets.get(name) or _to_utc(f"TRY_CAST({name} AS TIMESTAMP)", zone)
    if style == "unix seconds":
        return local_moment(style, text)
    if style not in DATE_STYLES and "%z" in style.lower():
        return f"timezone('UTC', {local_moment(style, text)})"
    local = _to_utc(local_moment(style, text), zone)
    if style != "ISO":
        return local
    zoned = (
        f"TRY_CAST(regexp_replace({text}, '\\s*([+-][0-9]{{2}}):?([0-9]{{2}})$', '\\1:\\2') AS TIMESTAMPTZ)"
    )
    return f"CASE WHEN regexp_matches({text}, '{_ZONED}') THEN timezone('UTC', {zoned}) ELSE {local} END"


def _to_utc(local: str, zone: str) -> str:
    return local if zone == "UTC" else f"timezone('UTC', timezone('{zone}', {local}))"


def _stepwise_utc(con: DuckDBPyConnection, cells: str, name: str, zone: str) -> str:
    """`_to_utc` of a column as a few comparisons: the zone is asked once for each hour, not for each row.

    Returns "" where that would take too many (a column that spans decades).
    """
    if zone == "UTC":
        return name
    early, late = f"TIMESTAMP '{FIRST_YEAR}-01-01'", f"TIMESTAMP '{END_YEAR}-01-01'"
    ends = f"greatest(min({name}), {early}), least(max({name}), {late})"
    span = f"SELECT {ends} FROM {cells} WHERE isfinite({name})"
    first, last = con.execute(span).fetchall()[0]
    if first is None or last < first:
        return ""
    behind = f"epoch(hour) - epoch(timezone('UTC', timezone('{zone}', hour)))"
    changed = f"SELECT hour, {behind} AS behind, lag({behind}) OVER (ORDER BY hour) AS was FROM ({{}})"
    changed = f"SELECT hour, behind FROM ({changed}) WHERE was IS DISTINCT FROM behind ORDER BY hour"
    hours = "generate_series(?::TIMESTAMP, ?::TIMESTAMP + INTERVAL 1 HOUR, INTERVAL 1 HOUR)"
    hours = f"SELECT unnest({hours}) AS hour"
    steps = con.execute(changed.format(hours), [first, last]).fetchall()
    if len(steps) > 60:
        return ""
    exact = [steps[0]]
    for hour, _ in steps[1:]:
        seconds = "SELECT ?::TIMESTAMP + to_seconds(i) AS hour FROM range(-3600, 1) AS s(i)"
        exact += con.execute(changed.format(seconds), [hour]).fetchall()[1:]
    cases = "".join(
        f"WHEN {name} < TIMESTAMP '{until}' THEN {name} - INTERVAL '{int(shift)} seconds' "
        for (_, shift), (until, _) in pairwise(exact)
    )
    final = f"{name} - INTERVAL '{int(exact[-1][1])} seconds'"
    return f"CASE {cases}ELSE {final} END" if cases else final
