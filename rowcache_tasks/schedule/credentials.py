"""Provider of credentials that expire, named in the URL of Redis: ?credential_provider=module:callable."""

import pkgutil
import sys
from pathlib import Path

from redis.credentials import CredentialProvider

from rowcache_tasks.errors import ConfigError
from rowcache_tasks.errors.text import hide_logins, one_line


def load_provider(name: str) -> CredentialProvider:
    """Return what the callable returns: redis-py asks it for the login of each connection. Raises ConfigError.

    The module may be in the current directory, as celeryconfig.py. kombu makes that of the broker in the same way.
    """
    sys.path.insert(0, here := str(Path.cwd()))
    try:
        provider = pkgutil.resolve_name(name)()
    except Exception as error:
        reason = hide_logins(one_line(f"{type(error).__name__}: {error}"))
        raise ConfigError(f"credential_provider {name} cannot be called: {reason}") from error
    finally:
        sys.path.remove(here)
    if not isinstance(provider, CredentialProvider):
        found = type(provider).__name__
        raise ConfigError(f"credential_provider {name} returned a {found}: allowed is a redis.CredentialProvider")
    return provider
