"""The marketer's rules: whom they reach, against the order lines themselves; what they offer, by brute force."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextoffer.bundle.bundle import Bundle
from nextoffer.config import Audience, Exclude, Rule, Settings, inline_incentives
from nextoffer.config.rules import Rfm, parse_rules
from nextoffer.domain.menu import Menu
from nextoffer.domain.offers import KINDS, REASONS, Candidates
from nextoffer.domain.tables import SEGMENTS
from nextoffer.offers.assortment import assortment_of
from nextoffer.offers.audiences import conditions, known_of, members, why_nobody
from nextoffer.offers.by_hand import Reach, allowed, candidates, columns, reach, with_rules
from nextoffer.offers.chances import MAX_P, OWN, first_shares
from nextoffer.offers.choosing import Context, Policy
from nextoffer.offers.ranking import choose

from .conftest import Truth

TODAY = date(2026, 11, 22)
UNKNOWN = -1


def rules_of(text: str, shop: Settings) -> tuple[Rule, ...]:
    return parse_rules(tomllib.loads(text), "offers.toml", shop)


def rows_of(bundle: Bundle, text: str, shop: Settings, rows: list[int] | None = None) -> list[dict[str, Any]]:
    """The candidates of a text's rules as plain dictionaries."""
    rules = rules_of(text, shop)
    found = candidates(
        reach(bundle, rules, TODAY), np.arange(everybody(bundle)) if rows is None else np.array(rows)
    )
    return [
        {
            "customer": int(found.customer[at]),
            "kind": KINDS[found.kind[at]],
            "product": bundle.catalogue.ids[int(found.product[at])] if found.product[at] >= 0 else None,
            "reason": REASONS[found.reason[at]],
            "rule": rules[found.rule[at]].name,
            "p_buy": float(found.p_buy[at]),
        }
        for at in range(len(found))
    ]


def everybody(bundle: Bundle) -> int:
    return len(bundle.customer_ids.ids)


def columns_of(found: Candidates) -> list[tuple[Any, ...]]:
    return sorted(zip(*(getattr(found, name).tolist() for name in Candidates.__slots__), strict=True))


def categories(bundle: Bundle) -> list[str]:
    """Every path and everything above it."""
    paths = {path for path in bundle.catalogue.category if path}
    return sorted({" > ".join(path.split(" > ")[:depth]) for path in paths for depth in (1, 2)})


# -- whom


@pytest.fixture(scope="session")
def bought_ages(shop_bundle: Bundle, truth: Truth) -> dict[str, dict[str, int]]:
    """Customer -> category (a path, or what is above it) -> days since the last purchase, from the lines."""
    path = dict(zip(shop_bundle.catalogue.ids, shop_bundle.catalogue.category, strict=True))
    found: dict[str, dict[str, int]] = {}
    for (customer, product), ages in truth.ages.items():
        parts = (path[product] or "").split(" > ")
        for depth in range(1, len(parts) + 1):
            mine = found.setdefault(customer, {})
            name = " > ".join(parts[:depth])
            mine[name] = min(mine.get(name, 10**6), *ages)
    return found


def meets(bundle: Bundle, truth: Truth, ages: dict[str, dict[str, int]], row: int, who: Audience) -> bool:
    """One customer against every condition, in plain words."""
    name, people = bundle.customer_ids.ids[row], bundle.knowledge.customers
    orders, mine = truth.orders[name], ages[name]  # type: ignore[index]
    recency = min(orders.values())
    last = recency if who.bought_category is None else mine.get(who.bought_category, 10**6)
    tests = [
        not who.segments or SEGMENTS[people.segment[row]] in who.segments,
        who.rfm.recency_days is None or who.rfm.recency_days[0] <= recency <= who.rfm.recency_days[1],
        who.rfm.frequency is None or who.rfm.frequency[0] <= len(orders) <= who.rfm.frequency[1],
        who.rfm.monetary is None or who.rfm.monetary[0] <= people.monetary[row] <= who.rfm.monetary[1],
        who.bought_category is None or who.bought_category in mine,
        who.not_bought_category is None or who.not_bought_category not in mine,
        who.last_purchase_days is None or who.last_purchase_days[0] <= last <= who.last_purchase_days[1],
        not who.customers or name in who.customers,
    ]
    return all(tests)


def spans(most: int) -> st.SearchStrategy[tuple[float, float] | None]:
    pair = st.tuples(st.integers(0, most), st.one_of(st.integers(0, most), st.just(float("inf"))))
    return st.none() | pair.map(lambda two: (min(two), max(two)))


@st.composite
def audiences(draw: st.DrawFn, names: list[str], ids: list[str]) -> Audience:
    some = st.none() | st.sampled_from(names)
    return Audience(
        segments=tuple(draw(st.lists(st.sampled_from(SEGMENTS), max_size=4, unique=True))),
        rfm=Rfm(recency_days=draw(spans(200)), frequency=draw(spans(12)), monetary=draw(spans(500))),
        bought_category=draw(some),
        not_bought_category=draw(some),
        last_purchase_days=draw(spans(150)),
        customers=tuple(draw(st.lists(st.sampled_from(ids), max_size=30))) if draw(st.booleans()) else (),
    )


@given(data=st.data())
@settings(max_examples=40)
def test_an_audience_holds_just_those_whose_order_lines_meet_every_condition(
    data: st.DataObject, shop_bundle: Bundle, truth: Truth, bought_ages: dict[str, dict[str, int]]
) -> None:
    ids = [str(one) for one in shop_bundle.customer_ids.ids]
    wanted = data.draw(
        st.lists(audiences([*categories(shop_bundle), "Nothing"], ids), min_size=1, max_size=11)
    )
    rules = [Rule(name=f"r{at}", audience=who) for at, who in enumerate(wanted)]
    found = reach(shop_bundle, rules, TODAY)
    made = candidates(found, np.arange(len(ids)))
    got = set(zip(made.customer.tolist(), made.rule.tolist(), strict=True))
    # what a return takes back is no purchase any more, which the lines alone do not show
    plain = [row for row, name in enumerate(ids) if name not in truth.returners]
    for at, who in enumerate(wanted):
        hit = {row for row in plain if meets(shop_bundle, truth, bought_ages, row, who)}
        assert {row for row, rule in got if rule == at} & set(plain) == hit
        assert int(found.size[found.group[at]]) == sum(rule == at for _, rule in got)


def test_a_category_is_what_lies_below_it_not_what_begins_alike(shop_bundle: Bundle) -> None:
    known = known_of(shop_bundle, [])
    below = next(path for path in categories(shop_bundle) if " > " in path)
    top = below.split(" > ")[0]
    whole, part, alike = (
        next(members(known, [Audience(bought_category=name)])) for name in (top, below, top[:-1])
    )
    assert (whole & part).sum() == part.sum() > 0
    assert not alike.any()


def test_an_empty_audience_says_which_condition_empties_it(shop_bundle: Bundle) -> None:
    who = Audience(bought_category="Teaa")
    assert why_nobody(known_of(shop_bundle, [who]), who) == 'no customer meets bought_category = "Teaa"'
    who = Audience(rfm=Rfm(recency_days=(0, 3)), last_purchase_days=(100, 200))
    said = why_nobody(known_of(shop_bundle, [who]), who)
    assert said == "no customer meets last_purchase_days = [100, 200] together with rfm.recency_days = [0, 3]"


def test_every_condition_of_an_audience_is_asked() -> None:
    rfm = {name: (0, 1) for name in Rfm.model_fields}
    full = Audience(
        segments=("new",),
        rfm=Rfm(**rfm),
        bought_category="a",
        not_bought_category="b",
        last_purchase_days=(0, 1),
        customers=("c",),
    )
    assert len(conditions(full)) == len(Audience.model_fields) - 1 + len(Rfm.model_fields)


def test_who_is_not_known_is_reached_by_rules_for_everybody_alone(
    shop_bundle: Bundle, shop_settings: Settings
) -> None:
    text = '[all]\nproduct = "P0001"\n[long]\naudience = { rfm = { recency_days = [0, inf] } }\nproduct = "P0001"\n'
    (one,) = rows_of(shop_bundle, text, shop_settings, [UNKNOWN])
    assert one["rule"] == "all"
    assert one["p_buy"] == pytest.approx(
        shop_bundle.p_newcomer * first_shares(shop_bundle)[shop_bundle.product_row("P0001")], rel=1e-6
    )


# -- when and where


def test_only_rules_of_the_day_are_made(shop_bundle: Bundle, shop_settings: Settings) -> None:
    text = (
        "[a]\n[b]\nfrom = 2026-11-23\n[c]\nuntil = 2026-11-21\n[d]\nfrom = 2026-11-22\nuntil = 2026-11-22\n"
    )
    rules = rules_of(text, shop_settings)
    found = reach(shop_bundle, rules, TODAY)
    assert {rules[at].name for at in candidates(found, np.arange(9)).rule} == {"a", "d"}
    assert found.until == (None, None, date(2026, 11, 21), TODAY)
    assert len(reach(shop_bundle, rules, None).active) == 4


def test_a_rule_stays_in_its_channels_placements_and_campaigns(
    shop_bundle: Bundle, shop_settings: Settings
) -> None:
    names = {"campaigns": {"mail": {}}, "placements": {"home": {}, "cart": {}}}
    shop = type(shop_settings).model_validate(shop_settings.model_dump(by_alias=True) | names)
    text = """
    [anywhere]
    [site]
    channels = ["site"]
    [home]
    placements = ["home"]
    [mail]
    campaigns = ["mail"]
    [either]
    placements = ["home"]
    campaigns = ["mail"]
    [push]
    channels = ["push"]
    campaigns = ["mail"]
    """
    rules = rules_of(text, shop)
    found = reach(shop_bundle, rules, TODAY)

    def made(*where: str, **named: str) -> set[str]:
        only = allowed(found, *where, **named)
        return {rules[at].name for at in candidates(found, np.arange(3), only).rule}

    assert made() == {rule.name for rule in rules}
    assert made("site", placement="home") == {"anywhere", "site", "home", "either"}
    assert made("site", placement="cart") == {"anywhere", "site"}
    assert made("site") == {"anywhere", "site"}
    assert made("email", campaign="mail") == {"anywhere", "mail", "either"}
    assert made("push", campaign="mail") == {"anywhere", "mail", "either", "push"}
    assert made("letter", campaign="other") == {"anywhere"}


# -- what


def test_a_basket_rule_offers_no_product_and_the_chance_of_any_order(
    shop_bundle: Bundle, shop_settings: Settings
) -> None:
    found = rows_of(shop_bundle, '[a]\nkind = "win_back"\n', shop_settings)
    assert {(one["product"], one["kind"], one["reason"]) for one in found} == {
        (None, "win_back", "hand-picked")
    }
    p_order = shop_bundle.knowledge.customers.p_order
    assert [one["p_buy"] for one in found] == pytest.approx(p_order.tolist())


def test_an_offer_on_the_whole_basket_gains_nothing_from_orders_that_come_anyway(
    shop_bundle: Bundle, shop_settings: Settings
) -> None:
    knowledge = shop_bundle.knowledge
    people = replace(knowledge.customers, p_order=np.full(everybody(shop_bundle), 0.99, np.float32))
    bundle = replace(shop_bundle, knowledge=replace(knowledge, customers=people))
    policy, found = with_rules(shop_settings, bundle, TODAY, rules_of("[a]\npinned = true\n", shop_settings))
    assert found is not None
    rows = np.arange(5)
    slates = choose(bundle, rows, candidates(found, rows), policy, Context())

    assert len(slates) == 5
    assert slates.p_offer - slates.p_buy == pytest.approx(np.zeros(5), abs=1e-3)


def test_the_chance_is_tonights_where_there_is_one_else_of_such_orders(
    shop_bundle: Bundle, shop_settings: Settings, truth: Truth
) -> None:
    stored, pairs, n = shop_bundle.candidates, shop_bundle.knowledge.pairs, len(shop_bundle.catalogue)
    people, first = shop_bundle.knowledge.customers, first_shares(shop_bundle)
    names = [str(one) for one in shop_bundle.catalogue.ids][::7]
    found = rows_of(shop_bundle, f"[a]\nproducts = {names}\n", shop_settings)
    assert len(found) == everybody(shop_bundle) * len(names)
    scored = {}
    for row in range(everybody(shop_bundle)):
        for at in range(int(stored.indptr[row]), int(stored.indptr[row + 1])):
            key = row, int(stored.product[at])
            scored[key] = max(scored.get(key, 0.0), float(stored.p_buy[at]))
    sorts = {"stored": 0, "own": 0, "new": 0}
    for one in found:
        row, product = one["customer"], shop_bundle.product_row(one["product"])
        mine = slice(int(pairs.indptr[row]), int(pairs.indptr[row + 1]))
        held = dict(zip(pairs.product[mine].tolist(), pairs.n_orders[mine].tolist(), strict=True))
        if (row, product) in scored:
            sort, expected = "stored", scored[row, product]
        elif product in held:
            sort = "own"
            share = max(held[product] / (people.frequency[row] + OWN), first[product])
            expected = people.p_order[row] * share
        else:
            sort, expected = "new", people.p_order[row] * first[product]
        sorts[sort] += 1
        assert one["p_buy"] == pytest.approx(min(expected, MAX_P), rel=1e-5)
    assert min(sorts.values()) > 10
    assert n == len(first)


def test_a_category_rule_offers_each_customer_the_one_product_an_offer_changes_most(
    shop_bundle: Bundle, shop_settings: Settings
) -> None:
    catalogue, path = shop_bundle.catalogue, categories(shop_bundle)[-1]
    found = rows_of(shop_bundle, f'[a]\ncategory = "{path}"\n', shop_settings)
    inside = [
        row
        for row in range(len(catalogue))
        if (catalogue.category[row] or "").startswith(path)
        and catalogue.price[row] > 0
        and not (catalogue.hidden[row] or catalogue.restricted[row] or catalogue.stock[row] <= 0)
    ]
    names = [catalogue.ids[row] for row in inside]
    every = rows_of(shop_bundle, f"[a]\nproducts = {names}\n", shop_settings)
    margins = (catalogue.price - catalogue.unit_cost)[inside].tolist()
    margin = dict(zip(names, margins, strict=True))
    considered = set(_of_all(shop_bundle, path))
    stored = shop_bundle.candidates
    best: dict[int, tuple[float, str]] = {}
    for one in every:
        row, product = one["customer"], shop_bundle.product_row(one["product"])
        own = stored.product[int(stored.indptr[row]) : int(stored.indptr[row + 1])]
        if (product not in considered and product not in own) or _just_bought(shop_bundle, row, product):
            continue
        worth = one["p_buy"] * (1 - one["p_buy"]) * margin[one["product"]]
        if row not in best or worth > best[row][0] * (1 + 1e-9):
            best[row] = worth, one["product"]
    assert len({product for _, product in best.values()}) > 1
    assert {one["customer"]: one["product"] for one in found} == {
        row: name for row, (_, name) in best.items()
    }


def _of_all(bundle: Bundle, path: str) -> list[int]:
    return list(assortment_of(bundle, [(path, None)]).product)


def _just_bought(bundle: Bundle, row: int, product: int) -> bool:
    pairs = bundle.knowledge.pairs
    mine = slice(int(pairs.indptr[row]), int(pairs.indptr[row + 1]))
    age = dict(zip(pairs.product[mine].tolist(), pairs.last_age_days[mine].tolist(), strict=True)).get(
        product, 10**6
    )
    return age < 7 and not bundle.catalogue.repeatable[product]


def test_a_brand_and_a_category_together_are_what_is_of_both(
    shop_bundle: Bundle, shop_settings: Settings
) -> None:
    catalogue = shop_bundle.catalogue
    path, brand = catalogue.category[0], catalogue.brand[0]
    found = rows_of(shop_bundle, f'[a]\ncategory = "{path}"\nbrand = "{brand}"\n', shop_settings)
    rows = {shop_bundle.product_row(one["product"]) for one in found}
    assert rows and all((catalogue.category[row], catalogue.brand[row]) == (path, brand) for row in rows)


def test_a_category_is_never_spoken_for_by_what_the_shop_excludes(
    shop_bundle: Bundle, shop_settings: Settings
) -> None:
    path = categories(shop_bundle)[-1]
    rules = rules_of(f'[a]\ncategory = "{path}"\n', shop_settings)
    rows = np.arange(everybody(shop_bundle))
    best = np.bincount(candidates(reach(shop_bundle, rules, TODAY), rows).product).argmax()
    exclude = Exclude(products=(shop_bundle.catalogue.ids.text(int(best)),))
    offers = shop_settings.offers.model_copy(update={"exclude": exclude})
    policy = Policy.of(shop_settings.model_copy(update={"offers": offers}))
    other = candidates(reach(shop_bundle, rules, TODAY, policy), rows)
    assert len(other) > 0 and best not in other.product


def test_products_the_bundle_does_not_know_are_offered_to_nobody(
    shop_bundle: Bundle, shop_settings: Settings
) -> None:
    text = '[a]\nproduct = "none such"\n[b]\ncategory = "none such"\n[c]\nbrand = "none such"\n'
    assert rows_of(shop_bundle, text, shop_settings) == []


# -- alike for everybody who asks


@pytest.fixture(scope="session")
def many(shop_bundle: Bundle, shop_settings: Settings) -> Reach:
    """300 rules of all sorts."""
    paths, ids = categories(shop_bundle), list(shop_bundle.catalogue.ids)
    offers = [
        [f'product = "{name}"' for name in ids],
        [f'category = "{path}"' for path in paths],
        [""],
    ]
    text = "".join(
        f"[r{n}]\n{offers[n % 3][n % len(offers[n % 3])]}\n"
        f'audience = {{ segments = ["{SEGMENTS[n % 9]}", "{SEGMENTS[(n + 4) % 9]}"], '
        f"rfm = {{ frequency = [{n % 4}, inf] }} }}\n"
        for n in range(300)
    )
    return reach(shop_bundle, rules_of(text, shop_settings), TODAY)


@given(rows=st.lists(st.integers(-1, 300), min_size=1, max_size=12))
@settings(max_examples=25)
def test_a_batch_gives_what_single_calls_give(rows: list[int], many: Reach) -> None:
    together = candidates(many, np.array(rows))
    singly = [
        replace(one, customer=one.customer + np.int32(at))
        for at, row in enumerate(rows)
        for one in (candidates(many, np.array([row])),)
    ]
    assert columns_of(together) == columns_of(Candidates.concat(singly))


def test_a_crowd_looked_at_in_blocks_gives_the_same(many: Reach, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.arange(everybody(many.bundle))
    whole = columns_of(candidates(many, rows))
    monkeypatch.setattr("nextoffer.offers.by_hand._CELLS", 10_000)
    assert columns_of(candidates(many, rows)) == whole


def test_ten_thousand_rules_reach_whom_each_reaches_by_itself(shop_bundle: Bundle) -> None:
    rules = [
        Rule(
            name=f"r{n}",
            product=f"P{n % 150 + 1:04d}",
            audience=Audience(rfm=Rfm(monetary=(n % 997, n % 997 + 90))),
        )
        for n in range(10_000)
    ]
    found = candidates(reach(shop_bundle, rules, TODAY), np.arange(everybody(shop_bundle)))
    for at in (0, 4_321, 9_999):
        alone = candidates(reach(shop_bundle, [rules[at]], TODAY), np.arange(everybody(shop_bundle)))
        mine = found.take(found.rule == at)
        assert columns_of(replace(mine, rule=mine.rule * 0)) == columns_of(alone)


# -- on the slate


def test_rules_bring_their_incentives_to_the_menu_and_their_columns_to_the_policy(
    shop_settings: Settings,
) -> None:
    shop = shop_settings.model_copy(update={"incentives": {"gift": _terms("points", 100)}})
    text = """
    [plain]
    [none]
    incentive = "none"
    [named]
    incentive = "gift"
    [own]
    incentive = { type = "percent", value = 12.5 }
    pinned = true
    priority = 3
    """
    rules = rules_of(text, shop)
    menu = Menu.of(shop, inline_incentives(rules))
    found = columns(rules, menu)
    assert found.name == ("plain", "none", "named", "own")
    assert [menu.text(int(row)) for row in found.incentive] == ["none", "none", "points 100", "percent 12.5"]
    assert found.pinned.tolist() == [False, False, False, True]
    assert found.priority.tolist() == [0, 0, 0, 3]
    assert not menu.kinds[found.incentive[3]].any()  # no learned offer may carry it


def _terms(kind: str, value: int) -> Any:
    from nextoffer.config import IncentiveTerms

    return IncentiveTerms(type=kind, value=value)  # type: ignore[arg-type]


@pytest.mark.parametrize(("priority", "wins"), [(0, "worth"), (1, "rule"), (-1, "learned")])
def test_a_rule_and_a_learned_offer_of_one_product_compete_by_priority_then_by_value(
    priority: int, wins: str, shop_bundle: Bundle, shop_settings: Settings
) -> None:
    # the product most often among tonight's candidates, so that there is something to compete with
    product = int(np.bincount(shop_bundle.candidates.product[shop_bundle.candidates.product >= 0]).argmax())
    rules = rules_of(
        f'[mine]\nproduct = "{shop_bundle.catalogue.ids[product]}"\npriority = {priority}\n'
        'incentive = { type = "percent", value = 3 }\n',
        shop_settings,
    )
    menu = Menu.of(shop_settings, inline_incentives(rules))
    policy = Policy.of(shop_settings, menu, columns(rules, menu))
    rows = np.arange(everybody(shop_bundle))
    learned = shop_bundle.candidates.batch(rows)
    own = candidates(reach(shop_bundle, rules, TODAY), rows)
    wide = Context(n=100, max_per_kind=100)
    alone, mine = (choose(shop_bundle, rows, some, policy, wide) for some in (learned, own))
    both = choose(shop_bundle, rows, Candidates.concat([learned, own]), policy, wide)

    def of_product(slates: Any) -> dict[int, tuple[int, float]]:
        at = np.flatnonzero(slates.product == product)
        return {int(slates.customer[i]): (int(slates.rule[i]), float(slates.expected_profit[i])) for i in at}

    before, rule, after = of_product(alone), of_product(mine), of_product(both)
    rivals = before.keys() & rule.keys()
    assert len(rivals) > 5
    for customer in rivals:
        best = {"learned": -1, "rule": 0, "worth": max((before[customer][1], -1), (rule[customer][1], 0))[1]}
        assert after[customer][0] == best[wins]


def test_a_shop_without_rules_has_its_policy_and_no_reach(
    shop_bundle: Bundle, shop_settings: Settings
) -> None:
    policy, found = with_rules(shop_settings, shop_bundle, TODAY)
    assert found is None and policy.rules.name == ()
