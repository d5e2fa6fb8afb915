"""The file of known limits in the user's state folder: shared by all processes, written whole or not at all."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from wingbeat.config import Service
from wingbeat.errors import ConfigurationError
from wingbeat.learnt import KnownLimit, KnownRoute, RouteId, Start, known, merged, pruned, service_host, start_of
from wingbeat.ledgers.limits import Limits
from wingbeat.model.limit import LearntLimit
from wingbeat.report.learning import Basis

VERSION = 1

FOLDER_VARIABLE = "WINGBEAT_STATE_DIR"

LOCK_WAIT_S = 2.0
"""Others hold the lock for some milliseconds; who holds it longer hangs, and nobody's run should wait for that."""


class _Version(msgspec.Struct):
    version: int


class _Kept(msgspec.Struct, frozen=True):
    """The file's content; the salt makes the digests of keys useless to who has another file."""

    version: Annotated[int, msgspec.Meta(ge=1)]
    salt: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    routes: tuple[KnownRoute, ...] = ()


def state_folder() -> Path:
    """Return where state is kept: ``WINGBEAT_STATE_DIR``, else the user's state folder."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_state_dir("wingbeat", appauthor=False))


class LimitBook:
    """
    Keeps the limits of routes in one small file.

    Any number of processes may use it at once: a change is read, merged and written under a lock, and put in place in
    one step after it has reached the disk, so that readers need no lock and a crash leaves the old file or the new.
    A file that can't be read is put aside as ``.bad``; one of a newer version is left alone.

    Args:
        folder: Where it lies; `state_folder` by default.
        warn: Told when a broken file was put aside.
    """

    def __init__(self, folder: Path | None = None, *, warn: Callable[[str], None] = lambda _text: None) -> None:
        self.path = (folder or state_folder()) / "limits.json"
        self._warn = warn

    def __repr__(self) -> str:
        return f"<LimitBook {self.path}>"

    def routes(self) -> tuple[KnownRoute, ...]:
        """
        Return all that is kept, the latest first.

        Raises:
            ConfigurationError: The file can't be read, or a newer wingbeat has written it.
        """
        return tuple(sorted(self._read().routes, key=lambda each: each.latest, reverse=True))

    def find(self, service: Service) -> KnownRoute | None:
        """
        Return what is kept of a service's route, or None.

        Raises:
            ConfigurationError: As for `routes`.
        """
        kept = self._read()
        wanted = route_of(service, kept.salt)
        return next((each for each in kept.routes if each.route == wanted), None)

    def remember(self, service: Service, limits: Sequence[LearntLimit], now: datetime.datetime) -> None:
        """
        Keep limits that were learnt, in place of what was learnt before; what the user has set stays.

        Raises:
            ConfigurationError: The file can't be read or written, or a newer wingbeat has written it.
        """
        learnt = [known(limit, now) for limit in limits if limit.origin != "user"]
        if learnt:
            self._put(service, learnt, now)

    def set(self, service: Service, limits: Sequence[LearntLimit], now: datetime.datetime) -> KnownRoute:
        """
        Keep limits that the user sets, in place of those set before for the same resources; return the route.

        Raises:
            ConfigurationError: As for `remember`, or the service is a simulator started for the run.
        """
        as_users = [known(msgspec.structs.replace(limit, origin="user"), now) for limit in limits]
        return self._put(service, as_users, now)

    def forget(self, service: Service | None = None) -> tuple[KnownRoute, ...]:
        """
        Forget a service's route, learnt and set limits alike; return what was forgotten.

        Args:
            service: Whose model; without a key it is forgotten for every key. None forgets all there is.

        Raises:
            ConfigurationError: As for `remember`.
        """
        if not self.path.exists():
            return ()
        with self._locked():
            kept = self._read()
            wanted = None if service is None else route_of(service, kept.salt)
            gone = [each for each in kept.routes if wanted is None or _matches(each.route, wanted)]
            if gone:
                left = tuple(each for each in kept.routes if each not in gone)
                self._write(msgspec.structs.replace(kept, routes=left))
        return tuple(gone)

    def _put(self, service: Service, limits: Sequence[KnownLimit], now: datetime.datetime) -> KnownRoute:
        with self._locked():
            kept = self._read()
            route = route_of(service, kept.salt)
            assert route is not None, "a simulator started for the run has no limits to keep"
            routes = merged(kept.routes, route, limits)
            self._write(msgspec.structs.replace(kept, routes=pruned(routes, now)))
        return next(each for each in routes if each.route == route)

    def _read(self) -> _Kept:
        """Read the file; a missing one is empty, a broken one is put aside."""
        try:
            return self._decoded()
        except FileNotFoundError:
            return _empty()
        except OSError as error:
            raise self._trouble("read", error) from None
        except msgspec.DecodeError:
            return self._put_aside()

    def _decoded(self) -> _Kept:
        raw = self.path.read_bytes()
        try:
            version = msgspec.json.decode(raw, type=_Version).version
            if version <= VERSION:
                return msgspec.json.decode(raw, type=_Kept)
        except UnicodeDecodeError as error:
            raise msgspec.DecodeError(str(error)) from None
        raise ConfigurationError(
            f"`{self.path}` was written by a newer wingbeat and is left alone",
            hint=f"upgrade wingbeat, or set {FOLDER_VARIABLE} to another folder",
        )

    def _put_aside(self) -> _Kept:
        with self._locked():
            try:
                return self._decoded()  # another process may have put it aside and written a good one
            except FileNotFoundError:
                return _empty()
            except msgspec.DecodeError as error:
                aside = self.path.with_name(f"{self.path.name}.bad")
                try:
                    self.path.replace(aside)
                except OSError as refused:
                    raise self._trouble("put aside", refused) from None
                self._warn(f"the limits in `{self.path}` can't be read ({error}); the file is kept as {aside.name}")
        return _empty()

    def _write(self, kept: _Kept) -> None:
        try:
            number, name = tempfile.mkstemp(prefix=".limits-", suffix=".json", dir=self.path.parent)  # mode 0600
            try:
                with os.fdopen(number, "wb") as file:
                    file.write(msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(name, self.path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(name)
                raise
            _sync_folder(self.path.parent)
        except OSError as error:
            raise self._trouble("write", error) from None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock; whoever is killed lets it go."""
        from filelock import FileLock, Timeout

        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = FileLock(f"{self.path}.lock", timeout=LOCK_WAIT_S, mode=0o600, is_singleton=True)
            lock.acquire()
        except Timeout:
            raise ConfigurationError(
                f"another process holds `{self.path}.lock`", hint="try again; see whether a wingbeat hangs"
            ) from None
        except OSError as error:
            raise self._trouble("write", error) from None
        try:
            yield
        finally:
            lock.release()

    def _trouble(self, verb: str, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"can't {verb} the known limits `{self.path}`: {error.strerror or error}",
            hint=f"set {FOLDER_VARIABLE} to a folder of yours",
        )


class Memory:
    """
    What is kept of one route, for one run: read when this is made, written when it is told what was learnt.

    Trouble with the file never stops a run: it is noted in ``troubles``, and the run goes on without.

    Args:
        service: Whom the run asks. Of a simulator started for the run nothing is kept.
        limits: What was given to the run.
        fresh: Start without what was learnt before.
        folder: Where limits are kept; `state_folder` by default.

    Attributes:
        start: What the run starts with.
        troubles: What went wrong with the file, in one line each.
    """

    def __init__(
        self,
        service: Service,
        limits: Limits,
        *,
        fresh: bool = False,
        folder: Path | None = None,
    ) -> None:
        self.troubles: list[str] = []
        self._service = service
        self._book = LimitBook(folder, warn=self.troubles.append)
        self._works = service.base_url is not None
        route = None
        if self._works:
            with self._noting_trouble():
                route = self._book.find(service)
        self.start: Start = start_of(route, limits, _now(), fresh=fresh)

    def __repr__(self) -> str:
        return f"<Memory of {self._service.route_name}: {len(self.start.basis)} limits known>"

    def basis(self) -> tuple[Basis, ...]:
        """Return what the run starts with although it was not given, for its plan."""
        now = _now()
        return tuple(
            Basis(limit.learnt(), (now - limit.learnt_at).total_seconds(), limit.part(now))
            for limit in self.start.basis
        )

    def news(self, learnt: Sequence[LearntLimit]) -> tuple[LearntLimit, ...]:
        """Return the limits that the run has found out, without those that it was merely started with."""
        return tuple(limit for limit in learnt if self.start.is_news(limit))

    def keep(self, learnt: Sequence[LearntLimit]) -> None:
        """Write down what a run has learnt so far."""
        found = self.news(learnt)
        if found and self._works:
            with self._noting_trouble():
                self._book.remember(self._service, found, _now())

    @property
    def is_kept(self) -> bool:
        """True while what is learnt can be written down."""
        return self._works

    @contextlib.contextmanager
    def _noting_trouble(self) -> Iterator[None]:
        try:
            yield
        except ConfigurationError as error:
            self._works = False
            self.troubles.append(f"learnt limits are not kept: {error}")


def route_of(service: Service, salt: str) -> RouteId | None:
    """Return which quota a service's requests count against; None for a simulator started for the run."""
    if service.base_url is None:
        return None
    return RouteId(service.kind, service_host(service.base_url), key_digest(service.key, salt), service.model)


def key_digest(key: str, salt: str) -> str:
    """
    Return 12 hex digits that tell a key from others without giving it away; empty for no key.

    48 bits of a keyed hash: enough to tell a user's keys apart, too few to prove that a guess is right.
    """
    if not key:
        return ""
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), key=bytes.fromhex(salt), digest_size=6).hexdigest()


def _matches(route: RouteId, wanted: RouteId) -> bool:
    return route == (wanted if wanted.key else msgspec.structs.replace(wanted, key=route.key))


def _empty() -> _Kept:
    return _Kept(VERSION, secrets.token_hex(16))


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _sync_folder(folder: Path) -> None:
    """Make a rename in a folder last; not every file system lets folders be opened or synced."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
