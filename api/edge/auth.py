"""Keys, their scopes and their limits. A route that declares no scope is refused."""

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from ipaddress import ip_address
from math import ceil
from threading import Lock
from time import monotonic
from typing import TypeVar
from urllib.parse import urlsplit

from flask import g, request

from api.edge.rate import RateLimiter
from bandit.errors import NotFound, SendoptError
from bandit.ids import Entropy
from bandit.store import keys
from bandit.store.keys import KeyRow
from bandit.store.sql.database import Store

SECRET_PREFIX = "sendopt_"  # noqa: S105 - lets scanners of source code recognise a key; it is not a secret
SECRET_BYTES = 32
ID_BYTES = 8
PER_SECOND = 1_000
CACHE_SECONDS = 2.0  # for which a process uses the keys that it last read; a revoked key stops working within this time
MAKE_A_KEY = "make a key with `sendopt keys create --scope decide --scope feedback`"

_MARK = "sendopt_scope"
View = TypeVar("View", bound=Callable[..., object])


class Scope(StrEnum):
    """What a key may be allowed to do. No scope contains another."""

    DECIDE = "decide"
    FEEDBACK = "feedback"
    READ = "read"
    ADMIN = "admin"


class Unauthenticated(SendoptError):
    """The request has no key, or its key is unknown or revoked."""


class Forbidden(SendoptError):
    """The key lacks the scope of the route."""


class TooManyRequests(SendoptError):
    """The key is over its limit in this process."""

    def __init__(self, key_id: str, per_second: int, retry_after_seconds: int) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"key {key_id}: more than {per_second} requests a second")


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A new key; the secret can never be shown again."""

    id: str
    secret: str


def issue(
    store: Store, scopes: Collection[Scope], *, per_second: int, now: datetime, entropy: Entropy = secrets.token_bytes
) -> Issued:
    """Creates a key, stored as the SHA-256 of its secret: 256 random bits need neither salt nor a slow hash."""
    secret = SECRET_PREFIX + urlsafe_b64encode(entropy(SECRET_BYTES)).decode().rstrip("=")
    row = KeyRow(
        id=f"k-{entropy(ID_BYTES).hex()}",
        digest=_digest(secret),
        scopes=frozenset(scope.value for scope in scopes),
        per_second=per_second,
        created_at=now,
        revoked_at=None,
    )
    with store.write() as connection:
        keys.add(connection, row)
    return Issued(id=row.id, secret=secret)


def revoke(store: Store, key_id: str, now: datetime) -> None:
    """Revokes a key; raises NotFound."""
    with store.write() as connection:
        if not keys.revoke(connection, key_id, now):
            raise NotFound("key", key_id)


def has_keys(store: Store) -> bool:
    """Whether a key was ever created here, including revoked ones."""
    with store.read() as connection:
        return bool(keys.every(connection))


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()


class Keyring:
    """The keys of a store, cached for a short time, so that most requests need no query."""

    def __init__(self, store: Store, *, seconds: float, now: Callable[[], float] = monotonic) -> None:
        self._store = store
        self._seconds = seconds
        self._now = now
        self._lock = Lock()
        self._keys: Mapping[bytes, KeyRow] = {}
        self._is_open = False
        self._fresh_until = float("-inf")

    def key_of(self, secret: str) -> KeyRow | None:
        """The key of a secret; None if it is unknown or revoked."""
        self._refresh()
        return self._keys.get(_digest(secret))

    @property
    def is_open(self) -> bool:
        """Whether no key was ever created, so that requests need none."""
        self._refresh()
        return self._is_open

    def _refresh(self) -> None:
        if self._now() < self._fresh_until:
            return
        with self._lock:
            if self._now() < self._fresh_until:
                return
            asked_at = (
                self._now()
            )  # the time before the read: a key that is revoked meanwhile must not be valid for longer
            with self._store.read() as connection:
                rows = keys.every(connection)
            self._keys = {row.digest: row for row in rows if row.revoked_at is None}
            self._is_open = not rows
            self._fresh_until = asked_at + self._seconds


def needs(scope: Scope) -> Callable[[View], View]:
    """Declares the scope that a view requires."""
    return lambda view: _marked(view, scope)


def public(view: View) -> View:
    """Declares that a view answers without a key."""
    return _marked(view, None)


def _marked(view: View, scope: Scope | None) -> View:
    setattr(view, _MARK, scope)
    return view


def declared_scopes(views: Mapping[str, Callable[..., object]]) -> dict[str, Scope | None]:
    """Scope by endpoint; None if no key is needed. A view without a declaration is absent."""
    return {endpoint: getattr(view, _MARK) for endpoint, view in views.items() if hasattr(view, _MARK)}


class Guard:
    """Accepts a request, or raises the reason why not."""

    def __init__(self, keyring: Keyring, scopes: Mapping[str, Scope | None]) -> None:
        self._keyring = keyring
        self._scopes = scopes
        # In the memory of this process: several serving processes together accept a multiple of it.
        self._limiter = RateLimiter()

    def check(self) -> None:
        """Runs before every view; an address that does not exist still gets its 404 or 405."""
        if request.url_rule is None:
            return
        endpoint = request.url_rule.endpoint
        if endpoint not in self._scopes:
            raise Forbidden(f"{request.path}: declares no scope, so that nobody may call it")
        scope = self._scopes[endpoint]
        if scope is None:
            return
        key = self._key()
        if key is not None:
            self._check_key(key, scope)

    def _key(self) -> KeyRow | None:
        """The key of the request; None if none is required."""
        kind, _, secret = request.headers.get("Authorization", "").partition(" ")
        if self._keyring.is_open:
            _check_is_local()
            return None
        key = self._keyring.key_of(secret.strip()) if kind.lower() == "bearer" else None
        if key is None:
            raise Unauthenticated("Authorization: no key, or one that is unknown or revoked; send `Bearer <key>`")
        return key

    def _check_key(self, key: KeyRow, scope: Scope) -> None:
        if scope.value not in key.scopes:
            raise Forbidden(f"key {key.id}: lacks the scope {scope.value!r}; it has {', '.join(sorted(key.scopes))}")
        wait = self._limiter.wait_seconds(key.id, key.per_second)
        if wait > 0:
            raise TooManyRequests(key.id, key.per_second, max(1, ceil(wait)))
        g.key_id = key.id


def _check_is_local() -> None:
    """Raises Unauthenticated unless the request comes from this host, and not from a page of another site.

    A page of any site can make a browser on this host call a loopback address. With a name of its own that resolves to
    a loopback address (DNS rebinding), it can even read the answer.
    """
    if not _is_loopback(request.remote_addr):
        raise Unauthenticated(f"without keys the service answers on a loopback address only; {MAKE_A_KEY}")
    if not _is_local_name(request.host):
        raise Unauthenticated(
            f"Host: {request.host!r} is no loopback name, and without keys no other is answered; {MAKE_A_KEY}"
        )
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise Unauthenticated(f"Sec-Fetch-Site: without keys the pages of other sites are not answered; {MAKE_A_KEY}")


def caller() -> str | None:
    """Id of the key of the current request; None if no key was required."""
    found: str | None = g.get("key_id")
    return found


@lru_cache(maxsize=256)
def _is_local_name(host: str) -> bool:
    """Whether the name before the port is a loopback name."""
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    return name == "localhost" or _is_loopback(name)


@lru_cache(maxsize=256)
def _is_loopback(address: str | None) -> bool:
    try:
        return address is not None and ip_address(address).is_loopback
    except ValueError:
        return False
