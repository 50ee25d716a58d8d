"""Why a customer gets no message: each one left out is counted under one cause, the first that holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from nextoffer.domain.arrays import Bools

# In the order they are asked. What the shop can mend by mapping a column comes first.
ADVICE: Final[Mapping[str, str]] = {
    "no_email": "they have none, or `email` is not mapped under [history.customers]",
    "no_phone": "they have none, or `phone` is not mapped under [history.customers]",
    "no_push_token": "they have none, or `push_token` is not mapped under [history.customers]",
    "no_address": "they have none, or the channel's address columns are not mapped under [history.customers]",
    "invalid_email": "correct the addresses in your customer table",
    "invalid_phone": "correct the numbers in your customer table; they need their country's code",
    "invalid_push_token": "correct the tokens in your customer table",
    "invalid_address": "correct the addresses in your customer table",
    "no_consent": "they have not agreed, or the channel's consent (`consent_email`, `consent_push`, `consent_ads`) "
    "is not mapped under [history.customers]; an empty consent is a no",
    "quiet_hours": "it is a quiet hour in the shop's time zone: see [contact] quiet_hours",
    "other_segment": "the campaign names other segments",
    "holdout": "they get no offers, so that uplift can be measured",
    "experiment": "an experiment holds back from them what was for this message: see [experiments]",
    "contact_cap": "they were written to lately: see [contact]",
    "campaign_cap": "they have had all messages of this campaign they may have: see its max_per_customer",
    "budget": "the campaign's budget went to offers that earn more",
    "no_offer": "no offer of the campaign's kinds is worth making to them",
    "too_large": "the message is larger than the channel takes: shorten titles, reasons and links",
}
CAUSES: Final[tuple[str, ...]] = tuple(ADVICE)


@dataclass(frozen=True, slots=True, eq=False)
class Audience:
    """Who gets the message, and how many do not, by cause in the order of CAUSES.

    Parameters
    ----------
    kept : (n,) bool, True for customers who get the message
    left_out : cause -> number of customers; with `kept.sum()` it adds up to n
    """

    kept: Bools
    left_out: dict[str, int]


def advice(cause: str) -> str:
    """What can be done about a cause; a channel of another package may have causes of its own."""
    return ADVICE.get(cause, "as the channel says")


def address_cause(trouble: str, columns: tuple[str, ...]) -> str:
    """The cause for an address that is missing ("no") or cannot be one ("invalid").

    >>> address_cause("no", ("push_token",)), address_cause("invalid", ("email", "phone"))
    ('no_push_token', 'invalid_address')
    """
    cause = f"{trouble}_{columns[0]}"
    return cause if len(columns) == 1 and cause in ADVICE else f"{trouble}_address"


def audience_causes(n: int, masks: Mapping[str, Bools]) -> Audience:
    """Split n customers into those who get the message and, by first cause, those who do not.

    Parameters
    ----------
    masks : cause -> (n,) bool, True where the cause holds; a cause not given holds for nobody

    Raises
    ------
    ValueError : a cause that CAUSES does not name, or a mask of another length.
    """
    if unknown := sorted(set(masks) - set(CAUSES)):
        raise ValueError(f"unknown cause {unknown[0]!r}; there are: {', '.join(CAUSES)}")
    kept = np.ones(n, dtype=np.bool_)
    left_out: dict[str, int] = {}
    for cause in CAUSES:
        mask = masks.get(cause)
        if mask is not None and mask.shape != (n,):
            raise ValueError(f"the mask of {cause} has shape {mask.shape}, not ({n},)")
        first = kept & mask if mask is not None else np.zeros(n, dtype=np.bool_)
        left_out[cause] = int(np.count_nonzero(first))
        kept &= ~first
    return Audience(kept, left_out)
