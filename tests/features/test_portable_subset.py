"""features/*.sql must run on another engine unchanged, so anything outside the agreed subset is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files

import duckdb
import pytest

from nextoffer.domain.tables import TABLES
from nextoffer.features.build import SQL_FILES, sql_text

KEYWORDS = frozenset(
    "WITH AS SELECT DISTINCT FROM JOIN LEFT ON WHERE GROUP ORDER PARTITION BY HAVING UNION ALL AND OR NOT IN "
    "IS NULL BETWEEN CASE WHEN THEN ELSE END OVER ROWS UNBOUNDED PRECEDING FOLLOWING CURRENT ROW "
    "ASC DESC".split()
)
FUNCTIONS = frozenset(
    "CAST COUNT SUM MIN MAX ROW_NUMBER LAG COALESCE LEAST GREATEST ROUND FLOOR ABS POWER "
    "days_between secs local_day".split()
)
TYPES = frozenset("STRING INTEGER BIGINT DOUBLE TIMESTAMP DECIMAL".split())
BEFORE_PAREN = FUNCTIONS | frozenset(
    ("AS", "OVER", "IN", "AND", "OR", "NOT", "ON", "WHERE", "WHEN", "DECIMAL")
)
SYMBOLS = frozenset(", . ( ) + - * / % = < > <= >= <>".split())
MONEY = frozenset(("revenue", "monetary", "cost", "margin"))
_TOKEN = re.compile(
    r"--[^\n]*|\s+|(?P<text>'[^']*')|(?P<number>\d+(?:\.\d+)?)|(?P<parameter>\$[a-z_]+)"
    r"|(?P<word>[A-Za-z_]\w*)|(?P<symbol><=|>=|<>|::|\|\||//|!=|==|->|.)"
)


def tokens(text: str) -> list[tuple[str, str]]:
    """(kind, token) without comments and white space."""
    return [(m.lastgroup, m[0]) for m in _TOKEN.finditer(text) if m.lastgroup is not None]


def other_keywords() -> frozenset[str]:
    """Words DuckDB gives a meaning that the subset does not."""
    rows = duckdb.sql(
        "SELECT upper(keyword_name) FROM duckdb_keywords() "
        "WHERE keyword_category IN ('reserved', 'type_function')"
    ).fetchall()
    return frozenset(word for (word,) in rows) | {"EXCLUDE", "REPLACE", "FILTER"} - KEYWORDS


OTHERS = other_keywords()


def faults(text: str) -> list[str]:
    """Everything in a SQL text that is outside the portable subset."""
    found = tokens(text)
    listed = [*_strange_tokens(found), *_positions(found)]
    return listed or [*_uncast(found)]


def _strange_tokens(found: list[tuple[str, str]]) -> Iterator[str]:
    words = KEYWORDS | FUNCTIONS | TYPES
    for (kind, token), (_, after), (_, before) in zip(
        found, [*found[1:], ("", "")], [("", ""), *found[:-1]], strict=True
    ):
        if kind == "symbol" and token not in SYMBOLS:
            yield f"symbol {token}"
        if kind != "word":
            continue
        if after == "(" and token not in BEFORE_PAREN:
            yield f"function {token}"
        if token not in words and before != ".":
            if token != token.lower():
                yield f"keyword {token}"
            elif token.upper() in words - {"ROW"} | OTHERS:
                yield f"keyword {token}"
        if token == "ALL" and before != "UNION":
            yield "ALL without UNION"
        if token == "DISTINCT" and after == "ON":
            yield "DISTINCT ON"


def _positions(found: list[tuple[str, str]]) -> Iterator[str]:
    """`GROUP BY 1`, `ORDER BY 2`: a lone number where an expression should be."""
    plain = [token for _, token in found]
    for start in (at + 1 for at, token in enumerate(plain) if token == "BY"):
        depth, item = 0, list[str]()
        for token in [*plain[start:], ")"]:
            depth += (token == "(") - (token == ")")
            if depth < 0 or (depth == 0 and token in (",", "ORDER", "HAVING", "UNION", "ROWS")):
                if len(item) == 1 and item[0].isdigit():
                    yield f"position {item[0]}"
                item = []
                if token != ",":
                    break
            else:
                item.append(token)


def _uncast(found: list[tuple[str, str]]) -> Iterator[str]:
    """Items of the final SELECT that are not CAST(… AS type) AS name, and money that is not BIGINT."""
    for item in final_items(found):
        plain = [token for _, token in item]
        name, close = plain[-1], len(plain) - 3
        if plain[:2] != ["CAST", "("] or plain[-2] != "AS" or _closing(plain) != close:
            yield f"column {name} is not cast"
        elif name in MONEY and plain[close - 2 : close] != ["AS", "BIGINT"]:
            yield f"money {name} is not BIGINT"


def _closing(plain: list[str]) -> int:
    depth = 0
    for at, token in enumerate(plain):
        depth += (token == "(") - (token == ")")
        if depth == 0 and token == ")":
            return at
    return -1


def final_items(found: list[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """The select list of the last SELECT outside parentheses."""
    depth, start = 0, 0
    for at, (_, token) in enumerate(found):
        depth += (token == "(") - (token == ")")
        if depth == 0 and token == "SELECT":
            start = at + 1
    items: list[list[tuple[str, str]]] = [[]]
    for kind, token in found[start:]:
        depth += (token == "(") - (token == ")")
        if depth == 0 and token == "FROM":
            break
        if depth == 0 and token == ",":
            items.append([])
        else:
            items[-1].append((kind, token))
    return items


def tables_read(text: str) -> set[str]:
    """Tables named after FROM or JOIN that no CTE of the same file defines."""
    plain = [token for _, token in tokens(text)]
    named = {
        plain[at + 1]
        for at, token in enumerate(plain)
        if token in ("FROM", "JOIN") and plain[at - 1] != "DISTINCT"
    }
    ctes = {plain[at] for at in range(len(plain) - 2) if plain[at + 1 : at + 3] == ["AS", "("]}
    return named - ctes - {"("}


EVERY_FILE = sorted(
    path.name.removesuffix(".sql")
    for path in files("nextoffer.features").iterdir()
    if path.name.endswith(".sql")
)


@pytest.mark.parametrize("name", EVERY_FILE)
def test_every_feature_file_keeps_to_the_subset(name: str) -> None:
    assert faults(sql_text(name)) == []


@pytest.mark.parametrize("name", SQL_FILES)
def test_a_feature_file_reads_only_canonical_tables_and_files_before_it(name: str) -> None:
    earlier = SQL_FILES[: SQL_FILES.index(name)]

    assert tables_read(sql_text(name)) <= {*TABLES, *earlier}


@pytest.mark.parametrize(
    ("planted", "fault"),
    [
        ("SELECT CAST(a AS INTEGER) AS a FROM t QUALIFY ROW_NUMBER() OVER (ORDER BY a) = 1", "QUALIFY"),
        ("SELECT CAST(a AS INTEGER) AS a FROM t qualify a = 1", "qualify"),
        ("SELECT CAST(a AS INTEGER) AS a FROM t ASOF JOIN u ON t.a >= u.a", "ASOF"),
        ("SELECT CAST(a AS INTEGER) AS a FROM t asof JOIN u ON t.a >= u.a", "asof"),
        ("SELECT CAST(hash(a) AS BIGINT) AS a FROM t", "hash"),
        ("SELECT CAST(log(a) AS DOUBLE) AS a FROM t", "log"),
        ("SELECT CAST(dayofweek(a) AS INTEGER) AS a FROM t", "dayofweek"),
        ("SELECT CAST(date_diff('day', a, b) AS INTEGER) AS a FROM t", "date_diff"),
        ("SELECT CAST(epoch(a) AS DOUBLE) AS a FROM t", "epoch"),
        ("SELECT CAST(median(a) AS DOUBLE) AS a FROM t", "median"),
        ("SELECT CAST(quantile_cont(a, 0.5) AS DOUBLE) AS a FROM t", "quantile_cont"),
        ("SELECT CAST(PERCENTILE(a, 0.5) AS DOUBLE) AS a FROM t", "PERCENTILE"),
        ("SELECT a::INTEGER AS a FROM t", "::"),
        ("SELECT * EXCLUDE (b) FROM t", "EXCLUDE"),
        ("SELECT CAST(COUNT(*) FILTER (WHERE a > 0) AS INTEGER) AS a FROM t", "FILTER"),
        ("SELECT CAST(list(a) AS STRING) AS a FROM t", "list"),
        ("SELECT CAST([1, 2] AS STRING) AS a FROM t", "["),
        ("SELECT CAST({'x': 1} AS STRING) AS a FROM t", "{"),
        ("SELECT CAST(a AS INTEGER) AS a FROM t GROUP BY ALL", "ALL"),
        ("SELECT CAST(a AS INTEGER) AS a FROM t GROUP BY 1", "position 1"),
        ("SELECT CAST(a AS INTEGER) AS a FROM t GROUP BY b, 2 ORDER BY a", "position 2"),
        ("SELECT CAST(a AS INTEGER) AS a FROM t ORDER BY 1", "position 1"),
        ("SELECT CAST(a AS INTEGER) AS a FROM read_parquet('t.parquet')", "read_parquet"),
        ("SELECT CAST(a || b AS STRING) AS a FROM t", "||"),
        ("SELECT CAST(a // 2 AS INTEGER) AS a FROM t", "//"),
        ("SELECT CAST(a AS INTEGER) AS a FROM t; SELECT 1", ";"),
        ('SELECT CAST("a" AS INTEGER) AS a FROM t', '"'),
        ("SELECT CAST(a AS HUGEINT) AS a FROM t", "HUGEINT"),
        ("SELECT CAST(a AS INTEGER) AS a FROM t SEMI JOIN u ON t.a = u.a", "SEMI"),
        ("SELECT CAST(a AS INTEGER) AS a FROM t, LATERAL (SELECT 1)", "LATERAL"),
        ("FROM t SELECT DISTINCT ON (a) CAST(a AS INTEGER) AS a", "DISTINCT ON"),
        ("SELECT CAST(a AS INTEGER) AS a, b FROM t", "column b is not cast"),
        ("SELECT CAST(a AS INTEGER) + CAST(b AS INTEGER) AS c FROM t", "column c is not cast"),
        ("SELECT CAST(SUM(a) AS DOUBLE) AS revenue FROM t", "money revenue is not BIGINT"),
    ],
)
def test_the_check_refuses(planted: str, fault: str) -> None:
    assert fault in " | ".join(faults(planted))
