"""What was learned comes back from disk byte for byte, and gives the same slates."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nextoffer.bundle.bundle import Bundle, CustomerIds, open_bundle, write_parts
from nextoffer.bundle.store import Manifest, stage
from nextoffer.domain.offers import SlateRequest, Slates
from nextoffer.errors import BundleCorruptError, BundleError
from nextoffer.features.diary import Diary
from nextoffer.models.taught import fit_taught
from nextoffer.offers.choosing import Policy
from nextoffer.offers.recommend import choose_stored, recommend, score
from nextoffer.plugins import OFFER_KINDS


def publish(bundle: Bundle, models_dir: Path) -> str:
    taught = bundle.taught
    rows = {"horizon_days": taught.ranker.horizon_days}
    manifest = Manifest(bundle.as_of, 0, "test", rows=rows, taught=taught.to_json())
    with stage(models_dir) as staging:
        write_parts(staging, bundle)
        return staging.publish(manifest)


@pytest.fixture(scope="module")
def models_dir(shop_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    publish(shop_bundle, folder)
    return folder


def differences(left: Any, right: Any, where: str = "") -> list[str]:
    """Paths at which two values of the same make are not byte-equal."""
    if is_dataclass(left):
        parts = [
            differences(getattr(left, f.name), getattr(right, f.name), f"{where}.{f.name}")
            for f in fields(left)
        ]
        return [path for part in parts for path in part]
    if isinstance(left, np.ndarray):
        same = left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
        return [] if same else [where]
    return [] if left == right else [where]


def test_every_array_comes_back_byte_for_byte(shop_bundle: Bundle, models_dir: Path) -> None:
    opened = open_bundle(models_dir)

    for name in ("as_of", "customer_ids", "catalogue", "knowledge", "taught", "candidates", "p_newcomer"):
        assert differences(getattr(shop_bundle, name), getattr(opened, name), name) == []
    assert opened.manifest is not None and opened.bundle_id == opened.manifest.bundle_id


def test_what_is_as_long_as_the_customers_is_memory_mapped(models_dir: Path) -> None:
    opened = open_bundle(models_dir)

    for array in (opened.candidates.p_buy, opened.knowledge.pairs.weight, opened.knowledge.factors.customer):
        while isinstance(array, np.ndarray) and not isinstance(array, np.memmap):
            array = array.base
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable


def slates_of(bundle: Bundle, policy: Policy) -> Slates:
    return choose_stored(bundle, np.arange(len(bundle.customer_ids.ids)), policy)


def test_an_opened_bundle_gives_the_same_slates_stored_scored_again_and_asked_for(
    shop_bundle: Bundle, shop_policy: Policy, models_dir: Path
) -> None:
    opened = open_bundle(models_dir)
    rows = np.arange(len(opened.customer_ids.ids))

    assert differences(slates_of(shop_bundle, shop_policy), slates_of(opened, shop_policy)) == []
    assert differences(score(shop_bundle, rows, OFFER_KINDS), score(opened, rows, OFFER_KINDS)) == []
    for row in range(0, len(rows), 11):
        request = SlateRequest(customer_id=opened.customer_ids.ids.text(row), viewed=("P0003",), explain=True)
        slates = [
            recommend(replace(bundle, bundle_id="one"), shop_policy, request, bundle.as_of)
            for bundle in (shop_bundle, opened)
        ]
        assert slates[0] == slates[1]


def test_the_diary_comes_back_and_an_empty_one_too(
    shop_bundle: Bundle, models_dir: Path, tmp_path: Path
) -> None:
    publish(replace(shop_bundle, diary=Diary()), tmp_path)

    assert differences(open_bundle(models_dir).diary, shop_bundle.diary) == []
    assert differences(open_bundle(tmp_path).diary, Diary()) == []


def test_the_same_bundle_written_twice_has_one_id(
    shop_bundle: Bundle, models_dir: Path, tmp_path: Path
) -> None:
    assert publish(shop_bundle, tmp_path) == open_bundle(models_dir).bundle_id


def test_a_bundle_whose_ranker_could_not_be_taught_comes_back_as_such(
    shop_bundle: Bundle, shop_policy: Policy, tmp_path: Path
) -> None:
    untaught = replace(shop_bundle, taught=fit_taught([], shop_bundle.as_of, 28, seed=0))
    publish(untaught, tmp_path)

    opened = open_bundle(tmp_path)

    assert differences(opened.taught, untaught.taught) == []
    rows = np.arange(50)
    assert differences(score(untaught, rows, OFFER_KINDS), score(opened, rows, OFFER_KINDS)) == []


def test_languages_come_back_and_where_none_is_known_everybody_reads_english(
    shop_bundle: Bundle, models_dir: Path, tmp_path: Path
) -> None:
    opened = open_bundle(models_dir)
    publish(replace(shop_bundle, customer_ids=CustomerIds(shop_bundle.customer_ids.ids)), tmp_path)
    silent = open_bundle(tmp_path)

    languages = [opened.language(row) for row in range(len(opened.customer_ids.ids))]
    assert set(languages) == {"en", "ru"}
    assert languages == [shop_bundle.language(row) for row in range(len(languages))]
    assert {silent.language(row) for row in range(len(languages))} == {"en"}


def test_a_bundle_that_fails_its_self_test_is_not_opened(models_dir: Path) -> None:
    def refuse(bundle: Bundle) -> None:
        raise BundleCorruptError(f"{bundle.bundle_id} does not reproduce its slates")

    with pytest.raises(BundleCorruptError, match="does not reproduce"):
        open_bundle(models_dir, self_test=refuse)


def test_a_bundle_learned_in_another_currency_is_not_opened(models_dir: Path) -> None:
    assert open_bundle(models_dir, currency="GBP").catalogue.currency == "GBP"
    with pytest.raises(
        BundleError, match=r'has prices in GBP, .* says currency = "JPY": run nextoffer train'
    ):
        open_bundle(models_dir, currency="JPY")


def test_ids_are_found_by_their_rows_and_strangers_are_minus_one(shop_bundle: Bundle) -> None:
    ids, products = shop_bundle.customer_ids.ids, shop_bundle.catalogue.ids

    assert [shop_bundle.customer_row(text) for text in ids] == list(range(len(ids)))
    assert [shop_bundle.product_row(text or "") for text in products] == list(range(len(products)))
    assert (
        shop_bundle.customer_row(None)
        == shop_bundle.customer_row("")
        == shop_bundle.customer_row("Zoë")
        == -1
    )
    assert ids.to_arrow().to_pylist() == list(ids)
    assert shop_bundle.catalogue.brand.to_arrow().to_pylist() == list(shop_bundle.catalogue.brand)


def test_a_newcomer_is_as_likely_to_order_as_those_with_one_order(shop_bundle: Bundle) -> None:
    customers = shop_bundle.knowledge.customers

    assert shop_bundle.p_newcomer == pytest.approx(customers.p_order[customers.frequency == 1].mean())
