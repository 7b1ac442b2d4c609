"""Tables that cannot be dispatched: one line of the log for each new reason."""

import logging
from collections.abc import Iterable, Mapping

import redis

logger = logging.getLogger(__name__)

MAX_LABELS = 8  # names in a line


class Failing:
    """The labels of failing tables and parts, of `count` in all."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._labels: set[str] = set()
        self._refusals: dict[str, str] = {}  # label, or "" for a whole pass -> why Redis refuses what was sent

    @property
    def refusal(self) -> str:
        """Why Redis refuses what the last pass has sent; "": it does not."""
        return next(iter(self._refusals.values()), "")

    def keep(self, labels: Iterable[str]) -> None:
        """Forget all others: they have nothing due."""
        self._labels.intersection_update(labels)
        self._refusals = {label: text for label, text in self._refusals.items() if label in self._labels}

    def note(self, errors: Mapping[str, Exception], working: Iterable[str]) -> None:
        """Note the errors of a pass. Raises one if all fail, logs the new ones otherwise."""
        self._labels.difference_update(working)
        self._refusals = {
            label: text for label, text in self._refusals.items() if label in self._labels - errors.keys()
        }
        for label, error in errors.items():
            self.note_refusal(error, label)
        if errors and len(self._labels | errors.keys()) == self._count:
            raise next(iter(errors.values()))
        reasons: dict[str, list[str]] = {}
        for label, error in errors.items():
            if label not in self._labels:
                reasons.setdefault(f"{type(error).__name__}: {error}", []).append(label)
        for reason, labels in reasons.items():
            names = ", ".join(labels[:MAX_LABELS]) + (", …" if len(labels) > MAX_LABELS else "")
            logger.warning("dispatch_failed for %s, trying again: %s", names, reason)
        self._labels |= errors.keys()

    def note_refusal(self, error: Exception, label: str = "") -> None:
        """Note why Redis refuses what a pass has sent; not an error of another kind."""
        if isinstance(error, redis.ResponseError):
            self._refusals[label] = str(error)
