"""Calibration: a planted distortion is undone, few labels change little, order and certainty are kept."""

from __future__ import annotations

import numpy as np
import pytest

from nextoffer.errors import TrainingError
from nextoffer.models import calibration


def test_calibration_recovers_a_planted_distortion():
    rng = np.random.default_rng(6)
    odds = rng.normal(-2.0, 1.0, 100_000)
    bought = rng.random(100_000) < 1 / (1 + np.exp(-(0.5 + 0.8 * odds)))
    found = calibration.calibrate(1 / (1 + np.exp(-odds)), bought)
    assert (found.intercept, found.slope) == pytest.approx((0.5, 0.8), abs=0.05)
    corrected = calibration.apply(found, 1 / (1 + np.exp(-odds)))
    assert corrected.mean() == pytest.approx(bought.mean(), abs=0.002)


@pytest.mark.parametrize("bought", [[True, True], [False, False], []])
def test_a_handful_of_labels_hardly_calibrates_anything(bought):
    p = np.linspace(0.2, 0.4, len(bought))
    found = calibration.calibrate(p, np.array(bought, dtype=bool))
    assert abs(found.intercept) < 0.15 and found.slope == pytest.approx(1.0, abs=0.15)


def test_certainty_stays_certain_and_order_is_kept():
    p = np.array([0.0, 1e-9, 0.1, 0.5, 1.0])
    got = calibration.apply(calibration.Calibration(-1.0, 0.7), p)
    assert got[0] == 0.0 and got[-1] == 1.0 and np.all(np.diff(got) > 0)
    assert calibration.apply(calibration.Calibration(0.0, 1.0), p) == pytest.approx(p, abs=1e-6)
    with pytest.raises(TrainingError, match="2 probabilities but 1 labels"):
        calibration.calibrate(np.array([0.1, 0.2]), np.array([True]))


def test_half_a_correction_done_twice_on_the_intercept_is_the_whole():
    whole = calibration.Calibration(0.8, 1.4)
    half = calibration.halved(whole)
    assert (half.intercept, half.slope) == pytest.approx((0.4, 1.2))
    assert calibration.halved(calibration.Calibration(0.0, 1.0)) == calibration.Calibration(0.0, 1.0)
