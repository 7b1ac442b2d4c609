"""Rows as Pydantic models or dataclasses. Does not import Pydantic: whoever has such a class has imported it."""

from collections.abc import Callable
from typing import Any

import msgspec

from rowcache_tasks.errors import ArgumentError


def is_pydantic(wanted: Any) -> bool:
    """Whether a type is a model or a dataclass of Pydantic."""
    return hasattr(wanted, "__pydantic_validator__")


def pydantic_decoder(wanted: Any) -> tuple[tuple[str, ...], Callable[[bytes | str], Any]]:
    """Return the columns of a class of Pydantic, and its decoder, which raises msgspec's errors.

    Raises ArgumentError for a class that is not complete.
    """
    try:
        validate = wanted.__pydantic_validator__.validate_json
    except (RuntimeError, TypeError, NameError, AttributeError) as error:
        reason = " ".join(str(error).partition("\n")[0].split())
        raise ArgumentError(f"type {wanted.__name__} cannot be read from JSON: {reason}") from error

    def decode(value: bytes | str) -> Any:
        try:
            return validate(value)
        except ValueError as error:
            failure = _as_msgspec(error)
        raise failure  # outside of the except: the traceback of Pydantic's error shows values

    # In Pydantic 2.9, models have only model_fields, and dataclasses only the other.
    fields = wanted.__pydantic_fields__ if hasattr(wanted, "__pydantic_fields__") else wanted.model_fields
    return tuple(str(field.validation_alias or name) for name, field in fields.items()), decode


def _as_msgspec(error: Any) -> msgspec.ValidationError:
    """Word the first of Pydantic's errors as msgspec does; its message does not quote the value."""
    if not hasattr(error, "errors"):
        return msgspec.ValidationError(str(error))
    found = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = "".join(f".{part}" if isinstance(part, str) else f"[{part}]" for part in found["loc"])
    if found["type"] == "missing" and len(found["loc"]) == 1:
        return msgspec.ValidationError(f"Object missing required field `{found['loc'][0]}`")
    return msgspec.ValidationError(f"{found['msg']} - at `${path}`")
