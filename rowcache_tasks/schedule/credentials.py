"""Provider of credentials that expire, named in the URL of Redis: ?credential_provider=module:callable."""

import os
import pkgutil

from redis.credentials import CredentialProvider

from rowcache_tasks.config.source import current_directory
from rowcache_tasks.errors import ConfigError
from rowcache_tasks.errors.text import hide_logins, one_line

loaded: dict[tuple[int, str], CredentialProvider] = {}
"""Process and name -> its provider: one for all servers. A thread of a provider does not outlive a fork."""


def load_provider(name: str) -> CredentialProvider:
    """Return what the callable returns: redis-py asks it for the login of each connection. Raises ConfigError.

    The module may be in the current directory, as celeryconfig.py. kombu makes that of the broker in the same way.
    """
    place = os.getpid(), name
    if place not in loaded:
        loaded[place] = call(name)
    return loaded[place]


def call(name: str) -> CredentialProvider:
    """Import the callable, and call it. Raises ConfigError."""
    try:
        with current_directory():
            provider = pkgutil.resolve_name(name)()
    except Exception as error:
        reason = hide_logins(one_line(f"{type(error).__name__}: {error}"))
        raise ConfigError(f"credential_provider {name} cannot be called: {reason}") from error
    if not isinstance(provider, CredentialProvider):
        found = type(provider).__name__
        raise ConfigError(f"credential_provider {name} returned a {found}: allowed is a redis.CredentialProvider")
    return provider
