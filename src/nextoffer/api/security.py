"""Who is asking: two key scopes, and signed customer tokens for browsers.

A *server* key may do everything. A *client* key is public (it stands in the storefront's pages): it never
sees probabilities, profits or experiment groups, and it speaks for a customer only with a token that the
shop's own server signed for that customer after login:

    payload = base64url({"sub": customer_id, "exp": unix seconds, at most one hour ahead})
    X-Customer-Token: payload + "." + base64url(HMAC-SHA256(NEXTOFFER_SIGNING_KEY, payload))

The token is asked for whether or not the customer is known here: otherwise anyone could find out who is a
customer by trying ids.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import orjson

from nextoffer.api.problems import RefusedError
from nextoffer.config import Secrets
from nextoffer.errors import ConfigError, RequestError

Scope = Literal["server", "client"]
TOKEN_HEADER: Final = "x-customer-token"  # noqa: S105 (the name of a header)
MAX_LIFE_SECONDS: Final = 3600
CLOCK_SKEW_SECONDS: Final = 60
MAX_TOKEN_LENGTH: Final = 2048
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Keys:
    """SHA-256 digests of the keys of each scope, the signing key, and whether keys may be missing."""

    server: tuple[bytes, ...]
    client: tuple[bytes, ...]
    signing_key: bytes | None
    insecure: bool = False

    @classmethod
    def of(cls, secrets: Secrets, insecure: bool = False) -> Keys:
        """From the environment's secrets."""
        return cls(
            tuple(_digest(key) for key in secrets.server_keys),
            tuple(_digest(key) for key in secrets.client_keys),
            secrets.signing_key.encode() if secrets.signing_key else None,
            insecure,
        )


@dataclass(frozen=True, slots=True)
class Caller:
    """The scope of a request's key, and the customer its token speaks for."""

    scope: Scope
    customer_id: str | None = None

    @property
    def is_server(self) -> bool:
        """Whether everything may be seen and done."""
        return self.scope == "server"

    def must_be_server(self, what: str, field: str | None = None) -> None:
        """Refuse `what` to a client key."""
        if not self.is_server:
            raise RefusedError("not-allowed", f"{what} needs a server key.", field)

    def must_speak_for(self, customer_id: str) -> None:
        """Refuse a client key that carries no token, or another customer's."""
        if self.is_server or self.customer_id == customer_id:
            return
        if self.customer_id is None:
            raise RefusedError(
                "customer-token-required",
                "With a client key, customer_id needs the header X-Customer-Token, signed by your server.",
                "customer_id",
            )
        raise RefusedError("not-allowed", "The customer token belongs to another customer.", "customer_id")


def check_keys(secrets: Secrets, host: str, insecure: bool) -> None:
    """Refuse to serve without keys, unless on loopback and explicitly insecure.

    Raises
    ------
    ConfigError : no key is set, a key is too short, or insecure was asked for on a reachable address.
    """
    faults = []
    if insecure and host not in LOOPBACK:
        faults.append(f"--insecure is allowed on loopback only (--host is {host!r}; use 127.0.0.1)")
    if not insecure and not (secrets.server_keys or secrets.client_keys):
        faults.append(
            "no key is set: put a random text of 32 or more characters into NEXTOFFER_SERVER_KEYS "
            "(and another into NEXTOFFER_CLIENT_KEYS for browsers); "
            "to try things out on this machine only: serve --host 127.0.0.1 --insecure"
        )
    if set(secrets.server_keys) & set(secrets.client_keys):
        faults.append("the same key stands in NEXTOFFER_SERVER_KEYS and NEXTOFFER_CLIENT_KEYS")
    if faults:
        raise ConfigError("the environment", faults)


def authenticate(headers: Mapping[str, str], keys: Keys, now: datetime) -> Caller:
    """Who sent these headers.

    Raises
    ------
    RefusedError : no key, an unknown key, or a token that is not valid at `now`.
    """
    scope = _scope_of(headers, keys)
    token = headers.get(TOKEN_HEADER)
    if token is None or scope == "server":
        return Caller(scope)
    return Caller(scope, verify_customer_token(token, keys.signing_key, now))


def sign_customer_token(customer_id: str, signing_key: str, expires_at: datetime) -> str:
    """A token that lets a browser with a client key speak for one customer until `expires_at` (UTC).

    Raises
    ------
    RequestError : `expires_at` has no time zone.
    """
    if expires_at.tzinfo is None:
        raise RequestError("expires_at must carry a time zone", "expires_at")
    payload = _encode(orjson.dumps({"sub": customer_id, "exp": int(expires_at.timestamp())}))
    return f"{payload}.{_encode(_sign(payload, signing_key.encode()))}"


def verify_customer_token(token: str, signing_key: bytes | None, now: datetime) -> str:
    """The customer id a token was signed for.

    Raises
    ------
    RefusedError : malformed, not signed with this key, expired, or valid for more than an hour from now.
    """
    invalid = RefusedError("invalid-customer-token", "X-Customer-Token was not signed with the signing key.")
    payload, dot, signature = token.partition(".")
    if signing_key is None or not dot or len(token) > MAX_TOKEN_LENGTH or not token.isascii():
        raise invalid
    try:
        signed = hmac.compare_digest(_decode(signature), _sign(payload, signing_key))
        claims = orjson.loads(_decode(payload)) if signed else None
    except (Base64Error, ValueError):
        raise invalid from None
    if not isinstance(claims, dict):
        raise invalid
    customer_id, expires = claims.get("sub"), claims.get("exp")
    if not isinstance(customer_id, str) or not customer_id or type(expires) is not int:
        raise invalid
    left = expires - now.astimezone(UTC).timestamp()
    if left <= 0:
        raise RefusedError("expired-customer-token", "X-Customer-Token has expired; sign a new one.")
    if left > MAX_LIFE_SECONDS + CLOCK_SKEW_SECONDS:
        raise RefusedError("invalid-customer-token", "X-Customer-Token must expire within one hour.")
    return customer_id


def _scope_of(headers: Mapping[str, str], keys: Keys) -> Scope:
    key = headers.get("x-api-key")
    if key is None:
        word, _, value = headers.get("authorization", "").partition(" ")
        key = value.strip() if word.lower() == "bearer" else None
    if not key:
        if keys.insecure:
            return "server"
        raise RefusedError("unauthorized", "Send a key in Authorization: Bearer or X-API-Key.")
    digest = _digest(key)
    # Every digest is compared, whichever matches: the time taken tells nothing.
    server = sum(hmac.compare_digest(digest, known) for known in keys.server)
    client = sum(hmac.compare_digest(digest, known) for known in keys.client)
    if not server and not client:
        raise RefusedError("unauthorized", "The key is not known.")
    return "server" if server else "client"


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _sign(payload: str, signing_key: bytes) -> bytes:
    return hmac.digest(signing_key, payload.encode(), "sha256")


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str) -> bytes:
    bare = text.rstrip("=")
    return urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
