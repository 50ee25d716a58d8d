"""nextoffer.toml -> frozen Settings. `sections` says what may stand in it, `load` reads and checks it."""

from nextoffer.config.base import Channel, Format, Incentive, Kind, Language, Section, nearest
from nextoffer.config.incentives import IncentiveTerms
from nextoffer.config.load import load_settings, parse_settings, read_secrets
from nextoffer.config.priors import DEFAULT_PRIORS, Prior, Value
from nextoffer.config.sections import (
    Campaign,
    Contact,
    EngineSettings,
    Exclude,
    Experiment,
    Gate,
    History,
    Margin,
    OfferSettings,
    Placement,
    Programme,
    Secrets,
    Settings,
    Source,
    Texts,
)

__all__ = [
    "DEFAULT_PRIORS",
    "Campaign",
    "Channel",
    "Contact",
    "EngineSettings",
    "Exclude",
    "Experiment",
    "Format",
    "Gate",
    "History",
    "Incentive",
    "IncentiveTerms",
    "Kind",
    "Language",
    "Margin",
    "OfferSettings",
    "Placement",
    "Prior",
    "Programme",
    "Secrets",
    "Section",
    "Settings",
    "Source",
    "Texts",
    "Value",
    "load_settings",
    "nearest",
    "parse_settings",
    "read_secrets",
]
