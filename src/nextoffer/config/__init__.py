"""nextoffer.toml -> frozen Settings: `sections` says what may stand in it, `load` reads and checks it.

offers.toml -> the marketer's rules: `rules`.
"""

from nextoffer.config.base import Channel, Incentive, Kind, Language, Section, Segment, nearest
from nextoffer.config.experiments import Experiment, Trial
from nextoffer.config.incentives import IncentiveTerms
from nextoffer.config.load import load_settings, parse_settings, read_secrets
from nextoffer.config.measuring import Measuring, Programme, ProgrammeTerms
from nextoffer.config.priors import DEFAULT_PRIORS, Prior, Value
from nextoffer.config.rules import Audience, Rule, inline_incentives, load_rules
from nextoffer.config.sections import (
    Campaign,
    Contact,
    EngineSettings,
    Exclude,
    Gate,
    History,
    Margin,
    OfferSettings,
    Placement,
    Secrets,
    Settings,
    Source,
    Texts,
)

__all__ = [
    "DEFAULT_PRIORS",
    "Audience",
    "Campaign",
    "Channel",
    "Contact",
    "EngineSettings",
    "Exclude",
    "Experiment",
    "Gate",
    "History",
    "Incentive",
    "IncentiveTerms",
    "Kind",
    "Language",
    "Margin",
    "Measuring",
    "OfferSettings",
    "Placement",
    "Prior",
    "Programme",
    "ProgrammeTerms",
    "Rule",
    "Secrets",
    "Section",
    "Segment",
    "Settings",
    "Source",
    "Texts",
    "Trial",
    "Value",
    "inline_incentives",
    "load_rules",
    "load_settings",
    "nearest",
    "parse_settings",
    "read_secrets",
]
