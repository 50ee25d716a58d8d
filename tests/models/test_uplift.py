"""Shrinking measured uplift: the posterior of a normal prior and a normal measurement, by numerical integration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from nextoffer.models.uplift import shrunken


@pytest.mark.parametrize(("ratio", "error", "sd"), [(2.5, 0.8, 0.7), (0.2, 0.3, 0.7), (1.4, 2.0, 0.4)])
def test_the_belief_is_the_posterior_mean(ratio: float, error: float, sd: float) -> None:
    grid = np.linspace(-30, 30, 600_001)
    weight = norm.pdf(grid, 1.0, np.sqrt(np.exp(sd**2) - 1)) * norm.pdf(ratio, grid, error)

    expected = (grid * weight).sum() / weight.sum()

    assert shrunken(np.array([ratio]), np.array([error]), sd)[0] == pytest.approx(expected, rel=1e-6)


def test_nothing_measured_changes_nothing_and_harm_is_believed_to_be_no_effect() -> None:
    unknown = shrunken(np.array([np.nan, 9.0]), np.full(2, np.inf), 0.7)

    assert unknown.tolist() == [1.0, 1.0]
    assert shrunken(np.array([-5.0]), np.array([0.1]), 0.7)[0] == 0.0
