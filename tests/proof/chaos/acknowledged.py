"""State of each row as the application has had it acknowledged."""

import threading

CHANGING, SCHEDULED, DROPPED = "changing", "scheduled", "dropped"


class AcknowledgedStates:
    """State and generation of each row. Each change of state raises the generation, so that a reader that finds the
    same generation before and after a read has read in that state.
    """

    def __init__(self, row_ids):
        self._lock = threading.Lock()
        self._states = dict.fromkeys(row_ids, (DROPPED, 0))

    def note(self, row_ids, state):
        """Set the state: CHANGING before the request, SCHEDULED or DROPPED after its acknowledgement."""
        with self._lock:
            for row_id in row_ids:
                self._states[row_id] = (state, self._states[row_id][1] + 1)

    def rows(self, state):
        """Return row id -> generation of the rows in this state."""
        with self._lock:
            return {row_id: generation for row_id, (found, generation) in self._states.items() if found == state}

    def is_still(self, row_id, generation):
        return self._states[row_id][1] == generation
