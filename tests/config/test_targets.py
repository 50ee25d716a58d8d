"""Targets name KPIs and segments that exist; a slip is told with the word that was meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nextoffer.config import parse_settings
from nextoffer.errors import ConfigError


def programme(**terms: Any) -> Any:
    document = {
        "currency": "EUR",
        "history": {"orders": {"path": "orders.csv", "columns": {}}},
        "programme": terms,
    }
    return parse_settings(document, "nextoffer.toml", Path()).programme


def test_targets_of_the_shop_and_of_a_segment() -> None:
    targets = programme(targets={"participation": 0.4, "at_risk": {"nps": 30}}).targets

    assert targets == {"participation": 0.4, "at_risk": {"nps": 30}}


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        ({"participaton": 0.4}, "'participaton' is no KPI; did you mean 'participation'?"),
        ({"at_rsk": {"nps": 30}}, "'at_rsk' is no segment; did you mean 'at_risk'?"),
        ({"at_risk": {"npss": 30}}, "'npss' is no KPI; did you mean 'nps'?"),
        (
            {"at_risk": 30},
            "'at_risk' is a segment: write its targets as a table, as in at_risk = { nps = 40 }",
        ),
        (
            {"lost": {"roi_attributed": 1}},
            "'roi_attributed' is known of the whole shop only, not of the segment 'lost'",
        ),
        ({"nps": float("nan")}, "finite"),
    ],
)
def test_a_wrong_target_names_what_was_meant(targets: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        programme(targets=targets)

    assert told in str(caught.value)


def test_weights_of_aspects_are_not_negative() -> None:
    assert programme(csi_weights={"delivery": 3}).csi_weights == {"delivery": 3.0}
    with pytest.raises(ConfigError):
        programme(csi_weights={"delivery": -1})
