"""The whole of a backtest: several cut-offs, their figures together and apart, as JSON and as tables."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from typing import Any

import numpy as np
import orjson
import pytest
from rich.console import Console

from nextoffer.backtest import backtest, judge, moments
from nextoffer.backtest.render import rendered
from nextoffer.errors import TooLittleHistoryError
from nextoffer.models.recipe import Past

HORIZON = timedelta(days=28)


@pytest.fixture(scope="module")
def result(small_shop_learned: Any, past: Past) -> dict[str, Any]:
    return backtest(past, small_shop_learned.cut.as_of, n_cuts=2)


def test_every_difference_has_its_interval(result: dict[str, Any]) -> None:
    n = 0
    for task, methods in result["tasks"].items():
        for method, metrics in methods.items():
            if method == "nextoffer":
                continue
            for metric, figure in metrics.items():
                found = result["differences"][task][method][metric]
                assert found["difference"] == pytest.approx(methods["nextoffer"][metric] - figure)
                if found["low"] is not None:
                    assert found["low"] <= found["difference"] <= found["high"]
                    n += 1
    assert n > 30


def test_pooled_figures_are_those_of_the_cut_offs_weighted_by_customers(
    result: dict[str, Any], small_shop_learned: Any
) -> None:
    buyers = [cut["buyers"] for cut in result["cuts"]]
    at_cuts = [cut["tasks"]["next_purchase"]["als"]["ndcg@10"] for cut in result["cuts"]]

    assert len(result["cuts"]) == 2
    assert result["tasks"]["next_purchase"]["als"]["ndcg@10"] == pytest.approx(
        np.average(at_cuts, weights=buyers)
    )
    bought = {
        cut.customer_ids[row]
        for cut in (small_shop_learned.cut, small_shop_learned.earlier)
        for row in np.unique(cut.lesson.bought_customer).tolist()
    }
    assert result["buyers"] == len(bought) == result["judged"]["next_purchase"]


def test_one_cut_off_says_what_the_gate_says(
    small_shop_learned: Any, past: Past, result: dict[str, Any]
) -> None:
    cut = small_shop_learned.cut
    alone = judge(past, past.taught(cut.as_of), cut)
    newest = result["cuts"][0]

    for key in ("as_of", "customers", "buyers", "ranker"):
        assert newest[key] == alone[key]
    assert orjson.dumps(newest["tasks"]) == orjson.dumps(alone["tasks"])


def test_the_same_backtest_twice_is_the_same_to_the_last_digit(
    small_shop_learned: Any, past: Past, result: dict[str, Any]
) -> None:
    again = backtest(past, small_shop_learned.cut.as_of, n_cuts=2)

    assert orjson.dumps(again) == orjson.dumps(result)


def test_cut_offs_are_taken_while_the_history_can_teach_a_ranker(small_shop_learned: Any, past: Past) -> None:
    as_of = small_shop_learned.cut.as_of

    def from_first_order(days: int, n_cuts: int) -> int:
        found = moments(replace(past, first_order_at=as_of - timedelta(days=days)), as_of, n_cuts)
        assert found == [as_of - HORIZON * back for back in range(len(found))]
        return len(found)

    assert [from_first_order(days, 3) for days in (10, 83, 84, 111, 112, 900)] == [1, 1, 2, 2, 3, 3]
    assert from_first_order(900, 1) == 1


def test_where_nobody_bought_there_is_one_sentence(small_shop_learned: Any, past: Past) -> None:
    shop = small_shop_learned
    none = np.zeros(0, np.int32)
    lesson = replace(shop.cut.lesson, bought_customer=none, bought_product=none)
    cut = replace(shop.cut, lesson=lesson)
    silent = replace(past, cuts=past.cuts | {cut.as_of: cut})

    with pytest.raises(TooLittleHistoryError, match=r"Nothing could be judged: none of the .* customers"):
        backtest(silent, cut.as_of)
    figures = judge(silent, past.taught(cut.as_of), cut)  # the gate warns of too few buyers
    assert figures["buyers"] == 0
    assert figures["tasks"]["next_purchase"]["nextoffer"] == {}


def shown(result: dict[str, Any], width: int = 100) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(rendered(result))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_tables_fit_a_hundred_columns_and_tell_everything(result: dict[str, Any]) -> None:
    text = shown(json.loads(orjson.dumps(result)))

    assert "…" not in text and max(map(len, text.splitlines())) <= 100
    for task, methods in result["tasks"].items():
        assert f"{task} — " in text
        for metrics in methods.values():
            assert all(f"{value:.4f}" in text for value in metrics.values())
    assert text.index("Summary") < text.index("next_purchase — ")
    for words in (
        "head",
        "tail",
        "coverage",
        "segments where",
        "ideal list",
        result["cuts"][1]["as_of"][:10],
    ):
        assert words in text


def test_a_difference_is_marked_by_who_is_better_where_its_interval_excludes_0() -> None:
    def told(low: float | None, high: float | None, metric: str) -> str:
        names = ("next_purchase", "explore", "up_sell", "replenishment", "lapse")
        tasks: dict[str, Any] = {task: {"nextoffer": {}} for task in names}
        tasks["lapse"] = {"nextoffer": {metric: 0.3}, "other": {metric: 0.2}}
        apart = {"difference": 0.1, "low": low, "high": high}
        head = {"as_of": "2026-01-01", "customers": 9, "buyers": 3, "ranker": "curves"}
        return shown(
            head
            | {
                "horizon_days": 28,
                "ndcg": "",
                "interval": "",
                "cuts": [head],
                "judged": dict.fromkeys(names, 3),
            }
            | {"tasks": tasks, "differences": {"lapse": {"other": {metric: apart}}}}
            | {"by_popularity": {}, "lists": {}, "segments": {}}
        ).partition("▲ nextoffer is ahead")[0]

    assert "▲" in told(0.05, 0.15, "roc_auc") and "▼" not in told(0.05, 0.15, "roc_auc")
    assert "▼" in told(0.05, 0.15, "brier") and "▲" not in told(0.05, 0.15, "brier")
    assert not {"▲", "▼", "?"} & set(told(-0.05, 0.15, "roc_auc"))
    assert "?" in told(None, None, "roc_auc")
    assert "nothing happened that could be judged" in told(None, None, "roc_auc")
