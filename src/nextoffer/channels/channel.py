"""What a channel is: the one door to customers, for built-in channels and a shop's own alike.

The pipeline asks the channel which consent and which address it needs, leaves out everybody who lacks them and
the whole holdout, and hands it the rest. A channel never sees a customer it may not write to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextoffer.config import Campaign
from nextoffer.config.base import nearest
from nextoffer.domain.arrays import Bools
from nextoffer.domain.offers import Slate
from nextoffer.errors import CampaignError


@dataclass(frozen=True, slots=True)
class Message:
    """One message: to which addresses, who reads it, and the slate it shows.

    `address` holds the channel's address columns that this customer has a valid one for; `at` is the moment the
    message was decided, so that the same run gives the same file whenever it is repeated.
    """

    address: Mapping[str, str]
    first_name: str | None
    locale: str | None
    customer_id: str
    decision_id: str
    segment: str | None
    slate: Slate
    at: datetime


Writer = Callable[[Path, Sequence[Message], Campaign], Mapping[str, int]]
Validator = Callable[[str, pa.Array], Bools]


@dataclass(frozen=True, slots=True)
class Channel:
    """One way to reach customers: what `[campaigns.NAME] channel` names.

    Parameters
    ----------
    consent : column of the customer table that must be true
    address : columns of the customer table; a customer needs a valid one of them at least
    valid : (column of `address`, its texts without nulls) -> (n,) bool, which of them can be written to
    formats : what `format` may be, the usual one first
    write : (path, messages, campaign) -> how many messages it had to leave out, by cause. Writes the file whole
        or not at all, for its owner's eyes only; the same messages in any order give the same bytes. Raises
        CampaignError.
    most_offers : offers in a message, where the channel cannot show more; None = as the campaign says
    quiet : whether `[contact] quiet_hours` hold
    ending : of its files' names
    """

    name: str
    consent: str
    address: tuple[str, ...]
    valid: Validator
    formats: tuple[str, ...]
    write: Writer
    most_offers: int | None = None
    quiet: bool = False
    ending: str = "csv"

    def format(self, campaign: Campaign) -> str:
        """The campaign's format, or the channel's usual one.

        Raises
        ------
        CampaignError : the channel has no such format
        """
        chosen = campaign.format or self.formats[0]
        if chosen not in self.formats:
            raise CampaignError(
                f'format = "{chosen}" is not one of channel "{self.name}"{nearest(chosen, self.formats)}; '
                f"there are: {', '.join(self.formats)}"
            )
        return chosen


def matching(texts: pa.Array, pattern: str, most: int) -> Bools:
    """(n,) which texts a regular expression (RE2) finds itself in and have at most so many characters; no null."""
    fits = pc.and_(pc.match_substring_regex(texts, pattern), pc.less_equal(pc.utf8_length(texts), most))
    return np.asarray(pc.fill_null(fits, False).to_numpy(zero_copy_only=False), dtype=bool)


def in_order(messages: Sequence[Message]) -> list[Message]:
    """Messages by customer id, whatever order they came in; one for each customer.

    Raises
    ------
    CampaignError : a customer has two messages
    """
    ordered = sorted(messages, key=lambda message: (message.customer_id.encode(), message.decision_id))
    for one, other in pairwise(ordered):
        if one.customer_id == other.customer_id:
            raise CampaignError(f"customer {one.customer_id!r} has two messages in one run; one is allowed.")
    return ordered


def check_addresses(channel: str, valid: Validator, column: str, messages: Sequence[Message]) -> None:
    """Make sure each message has a valid address in a column.

    Raises
    ------
    CampaignError : one has none; the message names the customer, not the address
    """
    texts = pa.array([message.address.get(column, "") for message in messages], pa.string())
    for message, good in zip(messages, valid(column, texts).tolist(), strict=True):
        if not good:
            raise CampaignError(
                f"customer {message.customer_id!r}: {column} is not an address channel {channel!r} can write to."
            )
