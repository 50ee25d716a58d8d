"""Settings travel as JSON and refuse what makes no shop."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from nextoffer.errors import ConfigError
from nextoffer.simulation.settings import ShopSettings


def test_settings_come_back_from_json_as_they_were() -> None:
    settings = ShopSettings(customers=123, dirty=True, offer_effect=2.5, start_on="2023-01-02")

    assert ShopSettings.from_json(settings.to_json()) == settings
    assert ShopSettings.from_json("{}") == ShopSettings()


def test_all_faults_are_reported_at_once_and_unknown_settings_named() -> None:
    with pytest.raises(ConfigError) as raised:
        ShopSettings(customers=0, guests=1.5, start_on="2024-01-02")
    assert len(raised.value.faults) >= 3

    with pytest.raises(ConfigError, match="colour: unknown setting"):
        ShopSettings.from_json('{"colour": 1}')


def test_every_setting_is_explained() -> None:
    """Each field, or the last of a group of fields, is followed by a line of prose."""
    lines = [line.strip() for line in inspect.getsource(ShopSettings).splitlines()]
    fields = {field.name for field in dataclasses.fields(ShopSettings)}
    for place, line in enumerate(lines):
        if line.split(":")[0] in fields:
            following = lines[place + 1]
            assert following.startswith('"""') or following.split(":")[0] in fields, line
