"""Offer kinds of other packages: used like our own, refused with one message where they are not what they must be."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from tests.plugins.conftest import Install

from nextoffer.domain.offers import KINDS
from nextoffer.errors import PluginError
from nextoffer.offers.batch import KindSettings, make_batch
from nextoffer.offers.recommend import score
from nextoffer.plugins import KINDS_GROUP, OFFER_KINDS, offer_kinds
from nextoffer.testing import check_offer_kind, small_bundle

KIND = """
import numpy as np
from dataclasses import replace
from nextoffer.domain.offers import Candidates, KIND, REASON
from nextoffer.offers.batch import proposals

def candidates(batch, bundle, when):
    new = ~batch.scored.repeat & (batch.scored.source["popular"] >= 0)
    found = proposals(batch, bundle, "for_you", "popular-now", new)
    return {result}
"""
FAULTS = {
    "[]": "it returned list, not Candidates",
    "replace(found, p_buy=found.p_buy + 1)": r"p_buy is 1\.\d+ in row 0, but holds probabilities, 0 to 1",
    "replace(found, p_buy=np.full_like(found.p_buy, np.nan))": "p_buy is nan in row 0",
    "replace(found, p_buy=found.p_buy.astype(float))": "its column p_buy is float64, not float32",
    "replace(found, product=found.product + np.int32(len(bundle.catalogue)))": "product is .* rows of the catalogue",
    "replace(found, product=found.product[:-1])": "its column product has shape",
    "replace(found, customer=found.customer + np.int32(len(batch.rows)))": "customer is .* positions in the batch",
    "replace(found, kind=np.full_like(found.kind, 9))": "kind is 9 in row 0",
    "replace(found, reason=np.full_like(found.reason, 99))": "reason is 99 in row 0",
    "replace(found, rule=np.zeros_like(found.rule))": "rules are the marketer's",
    "replace(found, because=list(found.because))": "its column because is a list",
    "1 / 0": "it raised ZeroDivisionError: division by zero",
}


def gift_cards(install: Install, result: str = "found", name: str = "gift_cards") -> None:
    install(KIND.format(result=result), {KINDS_GROUP: {name: "stranger:candidates"}})


def test_a_strangers_kind_proposes_beside_our_own(install: Install) -> None:
    gift_cards(install)
    bundle = small_bundle()
    rows = np.arange(20)

    kinds = offer_kinds()

    assert list(kinds) == [*OFFER_KINDS, "gift_cards"]
    check_offer_kind(kinds["gift_cards"])
    more = len(score(bundle, rows, kinds)) - len(score(bundle, rows, OFFER_KINDS))
    batch = make_batch(bundle, rows)
    assert more == len(kinds["gift_cards"](batch, bundle, KindSettings(bundle.as_of.date()))) > 0


@pytest.mark.parametrize("result", FAULTS)
def test_what_no_kind_may_return_is_refused_by_name_with_what_is_wrong(install: Install, result: str) -> None:
    gift_cards(install, result)
    kind, bundle = offer_kinds()["gift_cards"], small_bundle()

    with pytest.raises(PluginError, match=FAULTS[result]) as caught:
        kind(make_batch(bundle, np.arange(5)), bundle, KindSettings(bundle.as_of.date()))

    assert "'gift_cards' (nextoffer.offer_kinds) of the package 'stranger' is refused" in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("target", "name", "fault"),
    [
        ("stranger:nothing", "gift_cards", "stranger:nothing cannot be imported: AttributeError"),
        ("nowhere:candidates", "gift_cards", "cannot be imported: ModuleNotFoundError"),
        ("stranger:KIND", "gift_cards", "stranger:KIND is a dict, not a function"),
        ("stranger:candidates", "for_you", "'nextoffer' has one of that name already"),
    ],
)
def test_what_cannot_be_a_kind_is_refused_before_it_is_called(
    install: Install, target: str, name: str, fault: str
) -> None:
    install(KIND.format(result="found"), {KINDS_GROUP: {name: target}})

    with pytest.raises(PluginError, match=fault):
        offer_kinds()


def test_two_strangers_of_one_name_are_refused_by_both_names(install: Install) -> None:
    for package in ("one", "other"):
        install(KIND.format(result="found"), {KINDS_GROUP: {"gift_cards": f"{package}:candidates"}}, package)

    with pytest.raises(PluginError, match="of the package 'other' is refused: 'one' has one of that name"):
        offer_kinds()


def test_there_is_a_file_for_each_of_the_eight_kinds() -> None:
    assert sorted(OFFER_KINDS) == sorted(KINDS)
