"""The A/A benchmark: its worlds against what they promise, its judges, its gates, and what a sceptic may hand it."""

from __future__ import annotations

import json
import math
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from benchmarks.aa.judge import Judge, estimate, repeated, tea_tasting, welch
from benchmarks.aa.lines import Line, share, share_of, summary, table
from benchmarks.aa.peeking import Peeker
from benchmarks.aa.worlds import (
    BUYING,
    Floats,
    Pool,
    RareBuyers,
    Trial,
    baskets,
    hillstrom,
    mean_basket,
    online_retail,
)
from rich.console import Console
from scipy import stats

from benchmarks import bench_aa


def shop(n: int = 3_000, seed: int = 1, buying: float = 0.1) -> Floats:
    """(n,) spend, zeros included."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(n) < buying, np.exp(rng.normal(3.0, 1.0, n)), 0.0)


def whole(trial: Trial) -> tuple[Floats, Floats]:
    """Everybody's spend by group, zeros included."""
    groups = trial.values[trial.treated], trial.values[~trial.treated]
    sizes = trial.n_treated, trial.n_holdout
    treated, held_out = (
        np.pad(part, (0, size - len(part))) for part, size in zip(groups, sizes, strict=True)
    )
    return treated, held_out


def test_a_split_keeps_every_customer_and_the_sizes_of_the_groups() -> None:
    spend = shop()
    trial = Pool.of(spend, 0.1)(np.random.default_rng(2))
    treated, held_out = whole(trial)
    assert (len(treated), len(held_out)) == (2_700, 300)
    assert np.array_equal(np.sort(np.concatenate([treated, held_out])), np.sort(spend))
    assert trial.mean == pytest.approx(spend.mean())


def test_every_customer_is_held_out_as_often_as_the_share_says() -> None:
    spend = np.array([1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    pool, rng = Pool.of(spend, 0.3), np.random.default_rng(3)
    held_out = np.mean([~pool(rng).treated for _ in range(4_000)], axis=0)
    assert held_out == pytest.approx(0.3, abs=0.03)


def test_rare_buyers_are_as_many_as_promised_and_spend_the_mean_whatever_the_shape() -> None:
    rng = np.random.default_rng(4)
    trials = [RareBuyers(30, wider=1.25)(rng) for _ in range(300)]
    assert np.mean([(~trial.treated).sum() for trial in trials]) == pytest.approx(30, abs=1.5)
    assert trials[0].n_treated == 19 * trials[0].n_holdout
    assert baskets(rng, 400_000, 1.25).mean() == pytest.approx(mean_basket(), rel=0.02)
    assert trials[0].mean == BUYING * mean_basket()


def test_a_planted_lift_is_of_the_treated_only() -> None:
    trial = Pool.of(shop(), 0.1)(np.random.default_rng(5))
    more = trial.planted(0.2)
    assert more.values[trial.treated] == pytest.approx(1.2 * trial.values[trial.treated])
    assert np.array_equal(more.values[~trial.treated], trial.values[~trial.treated])


def test_welch_is_the_test_of_scipy_on_everybodys_spend() -> None:
    trial = Pool.of(shop(), 0.1)(np.random.default_rng(6))
    theirs = stats.ttest_ind(*whole(trial), equal_var=False)
    assert welch(trial) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    assert estimate(trial)[0] / estimate(trial)[1] == pytest.approx(theirs.statistic)


@pytest.mark.parametrize("has_past", [False, True])
def test_welch_says_what_tea_tasting_says(has_past: bool) -> None:
    pytest.importorskip("tea_tasting")
    past = shop(seed=8) if has_past else None
    trial = Pool.of(shop(), 0.2, past)(np.random.default_rng(7))
    assert tea_tasting(trial) == pytest.approx(welch(trial))


def test_the_number_of_processes_changes_no_figure() -> None:
    judge = Judge(Pool.of(shop(), 0.1), 0.2, 199, tea=False)
    one, two = (repeated(judge, (1, 2), 6, workers) for workers in (1, 2))
    assert all(np.array_equal(one[name], two[name], equal_nan=True) for name in one)


def test_runs_refused_for_too_few_buyers_are_counted_and_made_anew() -> None:
    judge = Judge(RareBuyers(7), None, 199, tries=200, tea=False)
    found = repeated(judge, (1,), 20, 1)
    assert found["n_refused"].sum() > 0
    assert not np.isnan(found["verdict"]).any()
    once = repeated(Judge(RareBuyers(1), None, 199, tea=False), (1,), 5, 1)
    assert (once["n_refused"] == 1).all()
    assert np.isnan(once["verdict"]).all()


def test_a_doubled_spend_is_found_and_covered_and_nothing_seldom_claimed() -> None:
    found = repeated(Judge(Pool.of(shop(), 0.3), 1.0, 399, tea=False), (2,), 40, 1)
    assert (found["planted_verdict"] == 1).mean() > 0.9
    assert found["covers"].mean() > 0.8
    assert (found["verdict"] != 0).mean() < 0.2


def test_looking_twenty_times_as_if_once_claims_more_than_looking_as_planned() -> None:
    found = repeated(Peeker.of((150, 150), 0.0, 199), (3,), 12, 1)
    assert found["unplanned_welch"].mean() > found["planned"].mean()
    assert (found["planned"] >= 0).all()
    assert repeated(Peeker.of((150, 150), 3.0, 499), (3,), 1, 1)["planned"].all()


def test_a_share_has_the_standard_error_of_a_share_and_leaves_out_what_was_not_asked() -> None:
    verdicts = np.array([1.0, 1.0, 0.0, -1.0, math.nan])
    assert share(share_of(verdicts, 1)) == (0.5, 0.25)
    assert share(np.array([math.nan])) == (None, None)


def test_a_figure_passes_inside_its_gate_both_ends_included() -> None:
    def line(value: float | None, low: float | None = 0.018, high: float | None = 0.033) -> bool | None:
        return Line("s", "c", "f", value, low=low, high=high).passed

    assert [line(value) for value in (0.018, 0.033, 0.0179, 0.0331, None)] == [True, True, *3 * [False]]
    assert [line(0.6, 0.64, None), line(0.05, None, 0.055), line(0.5, None, None)] == [False, True, None]


def test_the_table_says_pass_and_miss_and_the_summary_names_what_was_missed() -> None:
    lines = [
        Line("hillstrom", "90/10", "false wins", 0.0251, 0.0025, 0.018, 0.033, 0.094, 0.094),
        Line("hillstrom", "90/10", "false losses", 0.05, 0.0034, 0.018, 0.033),
        Line("cost", "all", "seconds", 0.4, high=1.0, unit="CPU s"),
    ]
    console = Console(file=StringIO(), width=bench_aa.WIDTH)
    console.print(table(lines))
    drawn = console.file.getvalue()
    assert "2.51 % ± 0.25" in drawn
    assert "1.80 to 3.30" in drawn
    assert "9.40 %" in drawn
    assert "≤ 1.00 CPU s" in drawn
    assert (drawn.count("pass"), drawn.count("MISS")) == (2, 1)
    texts = summary(lines, {"cuped": "not there"})
    assert texts[0] == "2 of 3 gates passed"
    assert texts[1] == "missed: hillstrom, 90/10, false losses: 5.00 % ± 0.34, gate 1.80 to 3.30"
    assert texts[2] == "skipped: cuped, not there"


def test_real_spend_is_read_as_one_row_per_customer(tmp_path: Path) -> None:
    (tmp_path / "hillstrom").mkdir()
    frame = pd.DataFrame({"segment": 3 * ["No E-Mail", "Mens E-Mail"], "spend": [5.0, 9, 0, 9, 7, 9]})
    frame.to_parquet(tmp_path / "hillstrom/hillstrom.parquet")
    pool = hillstrom(tmp_path, 1 / 3)
    assert (pool.n, pool.n_holdout, pool.values.tolist()) == (3, 1, [5.0, 7.0])

    (tmp_path / "online_retail").mkdir()
    days = ["2010-12-05", "2011-03-05", "2011-03-06", "2011-04-01", "2011-06-10"]
    lines = pd.DataFrame(
        {
            "CustomerID": [1, 1, 2, 1, 2],
            "InvoiceDate": pd.to_datetime(days),
            "Quantity": [2, 3, 1, -1, 4],
            "UnitPrice": 10.0,
        }
    )
    lines.to_parquet(tmp_path / "online_retail/online_retail.parquet")
    first, second, _ = online_retail(tmp_path, 0.5).worlds
    assert isinstance(first, Pool)
    assert isinstance(second, Pool)
    assert (first.n, first.values.tolist()) == (1, [20.0])  # net of the return; 2 was not known yet
    assert first.before is not None
    assert first.before.tolist() == [20.0]
    assert (second.n, second.values.tolist()) == (2, [0.0, 40.0])


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_sceptics_own_column_gets_one_json_object(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    path = tmp_path / f"shop.{suffix}"
    frame = pd.DataFrame({"spend": shop(1_000), "before": shop(1_000, 2), "name": "x"})
    _ = frame.to_parquet(path) if suffix == "parquet" else frame.to_csv(path, index=False)
    asked = ["--spend", str(path), "--column", "spend", "--holdout-share", "0.2", "--reps", "8"]

    assert bench_aa.main([*asked, "--permutations", "199", "--workers", "1", "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert (
        bench_aa.main([*asked, "--permutations", "199", "--workers", "1", "--before", "before", "--json"])
        == 0
    )
    adjusted = json.loads(capsys.readouterr().out)

    assert {"false_wins", "false_losses", "welch", "coverage"} <= plain.keys()
    assert {"false_wins", "false_losses", "coverage"} <= plain["welch"].keys()
    assert (plain["n"], plain["n_holdout"], plain["reps"]) == (1_000, 200, 8)
    assert plain["n_buyers"] == int((frame["spend"] > 0).sum())
    assert (plain["no_verdict"], plain["cuped"], adjusted["cuped"]) == (0.0, False, True)


def test_too_few_buyers_are_no_verdict_and_no_rate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "few.csv"
    path.write_text("spend\n" + "5\n" * 12 + "0\n" * 500)
    asked = ["--spend", str(path), "--column", "spend", "--holdout-share", "0.1", "--reps", "3"]
    assert bench_aa.main([*asked, "--workers", "1", "--json"]) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert (found["no_verdict"], found["false_wins"], found["coverage"]) == (1.0, None, None)
    assert "too few buyers" in told.err


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ("nothing", "no column 'nothing'; its columns are"),
        ("name", "not numbers"),
        ("gap", "1 missing or infinite values, first in row 3"),
        ("zero", "every value of 'zero' is 0"),
    ],
)
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_column_that_cannot_be_judged_is_one_line_and_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str, column: str, told: str
) -> None:
    path = tmp_path / f"bad.{suffix}"
    frame = pd.DataFrame({"name": ["a", "b", "c", "d"], "gap": [1.0, 2.0, None, 3.0], "zero": 0.0})
    _ = frame.to_parquet(path) if suffix == "parquet" else frame.to_csv(path, index=False)
    refused(["--spend", str(path), "--column", column, "--holdout-share", ".5"], told, capsys)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--spend", "FILE", "--column", "spend", "--holdout-share", "-.1"], "between 0 and 1, not -0.1"),
        (["--spend", "FILE", "--column", "spend", "--holdout-share", "nan"], "between 0 and 1"),
        (["--spend", "FILE", "--column", "spend", "--holdout-share", ".01"], "each group needs 2"),
        (["--spend", "FILE", "--column", "spend", "--holdout-share", ".5", "--reps", "0"], "1 or more"),
        (["--spend", "FILE", "--column", "spend", "--holdout-share", "half"], "invalid float value"),
        (["--spend", "FILE", "--column", "spend"], "--holdout-share S"),
        (["--spend", "nowhere.parquet", "--column", "a", "--holdout-share", ".5"], "no such file"),
        (["--spend", "broken.parquet", "--column", "a", "--holdout-share", ".5"], "cannot be read"),
        (["DATA", "--json"], "--json needs a file"),
        (["DATA", "--before", "past"], "go with --spend"),
        (["DATA", "--spend", "FILE", "--column", "a", "--holdout-share", ".5"], "not both"),
        (["DATA", "--sections", "magic"], "invalid choice"),
        (["DATA", "--permutations", "10"], "199 or more, not 10"),
        (["nowhere"], "nowhere is no folder"),
        ([], "name the folder"),
    ],
)
def test_what_cannot_be_asked_is_one_line_and_exit_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"spend": [1.0, 0.0, 2.0, 4.0]}).to_parquet("four.parquet")
    Path("broken.parquet").write_text("nothing of the kind")
    names = {"FILE": "four.parquet", "DATA": str(tmp_path)}
    refused([names.get(argument, argument) for argument in arguments], told, capsys)


def refused(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line on stderr, nothing on stdout, exit code 2."""
    with pytest.raises(SystemExit) as left:
        bench_aa.main(arguments)
    out, err = capsys.readouterr()
    assert left.value.code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert told in err


def test_a_section_without_its_files_is_skipped_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench_aa.main([str(tmp_path), "--sections", "hillstrom"]) == 1
    assert "skipped: hillstrom, not there: hillstrom/hillstrom.parquet" in capsys.readouterr().out


def test_the_other_form_writes_its_lines_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "lines.json"
    asked = ["--reps", "3", "--permutations", "199", "--workers", "1", "--json", str(file)]
    assert bench_aa.main([str(tmp_path), "--sections", "rare", *asked]) == 0
    found = json.loads(file.read_text("utf-8"))
    assert found["reps"] == 3
    first = next(line for line in found["lines"] if line["figure"] == "false wins")
    assert (first["low"], first["high"]) == (0.018, 0.033)
    assert first["passed"] in (True, False)
    assert "gates passed" in capsys.readouterr().out
