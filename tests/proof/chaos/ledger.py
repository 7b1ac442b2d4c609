"""Own what the application may count on, row by row: what it asked for and what was acknowledged."""

import threading

CHANGING, SCHEDULED, DROPPED = "changing", "scheduled", "dropped"


class Ledger:
    """The state of each row. A row's generation changes with every change of its state, so that a reader that finds
    the same generation before and after reading knows that the row was in this state all the time.
    """

    def __init__(self, row_ids):
        self._lock = threading.Lock()
        self._states = dict.fromkeys(row_ids, (DROPPED, 0))

    def note(self, row_ids, state):
        """Change the state: to CHANGING before the request, to the other two once it is acknowledged."""
        with self._lock:
            for row_id in row_ids:
                self._states[row_id] = (state, self._states[row_id][1] + 1)

    def rows(self, state):
        """Row id -> generation of the rows in this state."""
        with self._lock:
            return {row_id: generation for row_id, (found, generation) in self._states.items() if found == state}

    def is_still(self, row_id, generation):
        return self._states[row_id][1] == generation
