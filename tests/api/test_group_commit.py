"""Group commit: one transaction for many, everybody told the truth about their own."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from nextoffer.api.writer import GroupWriter
from nextoffer.errors import LedgerError


class SlowStore:
    """Commits when it is let; counts its batches."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.batches: list[list[int]] = []

    def commit(self, items: list[int]) -> list[int]:
        self.gate.wait(5)
        self.batches.append(list(items))
        if any(item < 0 for item in items):
            raise LedgerError("refused")
        return [item * 10 for item in items]


def run(scenario: Any) -> Any:
    return asyncio.run(scenario)


def test_what_arrives_while_a_batch_is_written_shares_the_next_one():
    store = SlowStore()
    writer: GroupWriter[int, int] = GroupWriter(store.commit)

    async def scenario() -> list[int]:
        first = asyncio.create_task(writer.write(1))
        await asyncio.sleep(0.05)  # the first is being written now
        rest = [asyncio.create_task(writer.write(item)) for item in range(2, 100)]
        await asyncio.sleep(0.05)
        store.gate.set()
        return await asyncio.gather(first, *rest)

    assert run(scenario()) == [item * 10 for item in range(1, 100)]
    assert store.batches == [[1], list(range(2, 100))]
    writer.close()


def test_a_failed_commit_is_told_to_everybody_in_it_and_to_nobody_else():
    store = SlowStore()
    writer: GroupWriter[int, int] = GroupWriter(store.commit)

    async def scenario() -> list[Any]:
        first = asyncio.create_task(writer.write(1))
        await asyncio.sleep(0.05)
        doomed = [asyncio.create_task(writer.write(item)) for item in (-1, 2)]
        await asyncio.sleep(0.05)
        store.gate.set()
        told = await asyncio.gather(first, *doomed, return_exceptions=True)
        return [*told, await writer.write(3)]

    told = run(scenario())
    assert (told[0], told[3]) == (10, 30)
    assert isinstance(told[1], LedgerError)
    assert isinstance(told[2], LedgerError)
    writer.close()


def test_a_client_that_hangs_up_takes_nobody_with_it():
    store = SlowStore()
    writer: GroupWriter[int, int] = GroupWriter(store.commit)

    async def scenario() -> list[int]:
        first = asyncio.create_task(writer.write(1))
        await asyncio.sleep(0.05)
        leaving, staying = (asyncio.create_task(writer.write(item)) for item in (2, 3))
        await asyncio.sleep(0.05)
        leaving.cancel()
        await asyncio.sleep(0.05)
        store.gate.set()
        return [await first, await staying]

    assert run(scenario()) == [10, 30]
    assert store.batches == [[1], [2, 3]]
    writer.close()


def test_when_too_many_wait_the_next_is_refused_at_once():
    store = SlowStore()
    writer: GroupWriter[int, int] = GroupWriter(store.commit, max_waiting=2)

    async def scenario() -> list[int]:
        tasks = [asyncio.create_task(writer.write(1))]
        await asyncio.sleep(0.05)
        tasks += [asyncio.create_task(writer.write(item)) for item in (2, 3)]
        await asyncio.sleep(0.05)
        with pytest.raises(LedgerError, match="waiting"):
            await writer.write(4)
        store.gate.set()
        return await asyncio.gather(*tasks)

    assert run(scenario()) == [10, 20, 30]
    writer.close()


def test_closing_writes_what_is_waiting():
    store = SlowStore()
    writer: GroupWriter[int, int] = GroupWriter(store.commit)

    async def scenario() -> list[int]:
        tasks = [asyncio.create_task(writer.write(item)) for item in (1, 2)]
        await asyncio.sleep(0.05)
        store.gate.set()
        await asyncio.to_thread(writer.close)
        return await asyncio.gather(*tasks)

    assert run(scenario()) == [10, 20]
    assert [item for batch in store.batches for item in batch] == [1, 2]


def test_every_request_of_many_threads_is_recorded_once(make_world):
    world = make_world(holdout_share=0.5)

    def ask(number: int) -> list[str]:
        return [
            world.get(f"/v1/customers/c{number}-{i}/offers").json()["attribution_token"] for i in range(20)
        ]

    tokens: list[str] = []
    threads = [threading.Thread(target=lambda n=n: tokens.extend(ask(n))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(tokens)) == 160
    assert set(tokens) == set(world.ledger.decided)
    assert len(world.ledger.assigned) == 160
