"""The real thing: uvicorn on a free loopback port, spoken to over a socket."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import uvicorn

from nextoffer.api import server
from nextoffer.config import Secrets
from nextoffer.errors import ConfigError
from nextoffer.tracking.ledger import open_ledger


@pytest.fixture
def live(make_world, tmp_path):
    """A served application over a real ledger, and its address."""
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    world = make_world(ledger=open_ledger(url))
    listener = server.listening("127.0.0.1", 0)
    running = uvicorn.Server(server._config(world.client.app))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    deadline = time.monotonic() + 60
    while not running.started and time.monotonic() < deadline:
        time.sleep(0.01)
    yield world, f"http://127.0.0.1:{listener.getsockname()[1]}"
    running.should_exit = True
    thread.join(10)
    world.ledger.close()
    listener.close()


def test_a_slate_over_a_socket_is_recorded_and_many_at_once_are_all_on_disk(live):
    world, address = live
    with httpx.Client(base_url=address, headers={"X-API-Key": world.server_key}) as client:
        ready = client.get("/health/ready").json()
        slate = client.get("/v1/customers/17850/offers", params={"placement": "home"})

        def ask(number: int) -> Any:
            return client.post("/v1/recommend", json={"customer_id": f"c{number}"}).json()[
                "attribution_token"
            ]

        with ThreadPoolExecutor(8) as pool:
            tokens = list(pool.map(ask, range(64)))

    assert ready["bundle_id"] == slate.json()["bundle_id"]
    assert "server" not in slate.headers
    recorded = world.ledger.decisions().column("decision_id").to_pylist()
    assert sorted(recorded) == sorted([slate.json()["attribution_token"], *tokens])


def test_bytes_that_are_no_http_do_not_stop_the_server(live):
    _, address = live
    host, port = address.removeprefix("http://").split(":")
    for rubbish in (b"\xff\xfe\x00\r\n\r\n", b"GET /v1/customers/\xff/offers HTTP/1.1\r\nHost: x\r\n\r\n"):
        with socket.create_connection((host, int(port)), timeout=60) as raw:
            raw.sendall(rubbish)
            raw.shutdown(socket.SHUT_WR)
            assert b" 200 " not in raw.recv(4096)

    assert httpx.get(f"{address}/health/live").status_code == 200


def test_an_address_that_is_taken_is_one_clear_message():
    with server.listening("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port} cannot be listened on"):
            server.listening("127.0.0.1", port)


def test_the_server_does_not_start_without_keys():
    def never() -> Any:
        raise AssertionError("the application was made")

    with pytest.raises(ConfigError, match="no key is set"):
        server.run_server(never, Secrets())
    with pytest.raises(ConfigError, match="loopback"):
        server.run_server(never, Secrets(), host="0.0.0.0", insecure=True)
