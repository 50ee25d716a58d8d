"""READ THIS FIRST. The way of the data, as tables of contents; every stage is a folder of its own.

    sources -> features -> models -> bundle -> offers -> (api, channels) -> tracking -> measurement

nightly.py     train: history -> knowledge -> gate -> candidates -> a published bundle; and the backtest
campaign.py    export: bundle + customers + consent + caps -> assignments and decisions -> the campaign's file
holding_back.py  what a campaign's run holds back for its experiments, and from whom
analysis.py    recommend, segments: one bundle read by an analyst; nothing is recorded
offers_report.py  offers: what the marketer's rules reach, cost and earn, and where they conflict (rule_*.py)
proof.py       record, measure: what happened -> ledger -> what the offers caused
planning.py    what an experiment could find before it starts

No function here reads the clock or the environment: moments and secrets are arguments (see cli.py).
"""

from nextoffer.pipeline.analysis import (
    OpenShop,
    open_shop,
    recommend_all,
    recommend_one,
    segment_columns,
    segment_rows,
    write_table,
)
from nextoffer.pipeline.campaign import ExportReport, export, export_all
from nextoffer.pipeline.nightly import TrainReport, check, run_backtest, train
from nextoffer.pipeline.planning import plan_shop
from nextoffer.pipeline.proof import asked_filter, asked_preset, measure_shop, past, record
from nextoffer.pipeline.workspace import as_of_moment

__all__ = [
    "ExportReport",
    "OpenShop",
    "TrainReport",
    "as_of_moment",
    "asked_filter",
    "asked_preset",
    "check",
    "export",
    "export_all",
    "measure_shop",
    "open_shop",
    "past",
    "plan_shop",
    "recommend_all",
    "recommend_one",
    "record",
    "run_backtest",
    "segment_columns",
    "segment_rows",
    "train",
    "write_table",
]
