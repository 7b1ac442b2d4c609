"""Programs of a table that is divided, or grows from one part to two."""


def of(name, *labels):
    """Return steps for a row."""
    return tuple(f"{label} {name}" for label in labels)


MOVE = of("a", "see", "give", "take", "leave")
CACHED = (*of("a", "put_1_all", "refresh"),)
REFRESH = of("a", "claim_and_fetch_old", "commit")
BEGIN_AND_MOVE = ("begin", *MOVE)

SMALL_DIVIDED = {
    "two partitions: changes of both rows in any order, while one is refreshed": (
        (),
        {
            "one": of("a", "put_1_divided") + of("b", "put_1_divided"),
            "two": of("b", "drop_2_divided") + of("a", "drop_2_divided"),
            "worker": (*of("a", "claim_new", "fetch"), "commit a"),
        },
    ),
    "a row is moved while it is refreshed": (
        of("a", "put_1_all"),
        {"mover": BEGIN_AND_MOVE, "worker": of("a", "claim_old", "fetch", "commit"), "database": ("change",)},
    ),
    "a row is moved while it is refreshed by hand": (
        CACHED,
        {"mover": BEGIN_AND_MOVE, "hand": of("a", "lease_old", "fetch", "commit"), "database": ("change",)},
    ),
    "a row is moved while a reader with old settings fills it": (
        CACHED,
        {"mover": BEGIN_AND_MOVE, "reader": of("a", "fill_begin", "fill_end"), "new": ("change", *of("a", "refresh"))},
    ),
    "a row is moved by two movers": ((*CACHED, "begin"), {"mover": MOVE, "other": MOVE}),
    "a row is moved while a reader asks for it": (
        (*CACHED, *of("a", "foreign_due"), "begin"),
        {
            "mover": of("a", "see", "give_and_take", "leave"),
            "reader": of("a", "get_new", "get_old", "get_again"),
            "new": of("a", "refresh"),
        },
    ),
    "a row that has changed is refreshed before its old place is left": (
        (*CACHED, *of("a", "foreign_due"), "begin"),
        {"mover": MOVE, "new": ("change", *of("a", "refresh"))},
    ),
    "a row is moved while it is put": (
        (*CACHED, "begin"),
        {"mover": MOVE, "application": of("a", "ask", "see", "give_and_take", "leave", "put_2_new")},
    ),
    "a row is moved while it is dropped": (
        (*CACHED, "begin"),
        {"mover": MOVE, "application": of("a", "ask", "see", "give_and_take", "leave", "drop_2_new")},
    ),
    "a row without a stamp is moved while it is dropped": (
        (*of("a", "foreign_put_first", "refresh"), "begin"),
        {"mover": MOVE, "application": of("a", "drop_2_all")},
    ),
    "a row is moved while it is dropped and put": (
        (*CACHED, "begin"),
        {"mover": MOVE, "application": of("a", "drop_2_all", "put_3_all"), "worker": of("a", "refresh")},
    ),
    "changes that arrive in another order while a row is moved": (
        of("a", "put_1_all"),
        {"mover": BEGIN_AND_MOVE, "last": of("a", "drop_3_all"), "before": of("a", "put_2_all")},
    ),
    "a drop that is older than a change of a row that is moved": (
        of("a", "put_2_all"),
        {"mover": BEGIN_AND_MOVE, "late": of("a", "drop_1_all"), "worker": of("a", "refresh")},
    ),
    "a change begins before rows are moved": (
        of("a", "put_1_all"),
        {"mover": BEGIN_AND_MOVE, "application": of("a", "ask", "put_2_old", "put_2_rest")},
    ),
    "a drop begins before rows are moved": (
        CACHED,
        {"mover": BEGIN_AND_MOVE, "application": of("a", "ask", "drop_2_old", "drop_2_rest")},
    ),
    "a request begins before rows are moved, of a row that changes": (
        CACHED,
        {"mover": ("begin", "move a"), "application": ("change", *of("a", "ask", "touch_old", "touch_rest"))},
    ),
    "a process with old settings drops a row that is moved": (
        CACHED,
        {"mover": BEGIN_AND_MOVE, "old": of("a", "drop_2_by_old"), "worker": of("a", "refresh")},
    ),
    "a process with old settings puts a row that is moved, and asks for it": (
        (*CACHED, "begin"),
        {"mover": MOVE, "old": ("change", *of("a", "put_2_by_old", "touch_by_old")), "worker": of("a", "refresh")},
    ),
    "a process with old settings is late with a change of a row that was dropped": (
        (*CACHED, "begin"),
        {"mover": MOVE, "application": of("a", "drop_3_all"), "old": of("a", "put_2_by_old")},
    ),
    "a foreign client puts a row by its old keys": (
        ("begin",),
        {"mover": MOVE, "client": of("a", "foreign_delay", "foreign_due"), "worker": of("a", "refresh")},
    ),
    "a foreign client changes a row that is moved, by its old keys": (
        (*CACHED, "begin"),
        {"mover": MOVE, "client": ("change", *of("a", "foreign_put")), "worker": of("a", "refresh")},
    ),
    "a foreign client drops a row that is moved, by its old keys": (
        (*CACHED, "begin"),
        {"mover": MOVE, "client": of("a", "foreign_drop"), "worker": of("a", "refresh")},
    ),
    "a foreign client asks for a row that is moved, by its old keys": (
        (*CACHED, "begin"),
        {"mover": MOVE, "client": ("change", *of("a", "foreign_due")), "worker": of("a", "refresh")},
    ),
}

LARGE_DIVIDED = {
    "a row is moved while it is refreshed at both places": (
        CACHED + of("a", "foreign_due"),
        {
            "mover": ("begin", *of("a", "see", "give_and_take", "leave")),
            "old": REFRESH,
            "new": of("a", "claim_new", "fetch", "commit"),
            "database": ("change",),
        },
    ),
    "a request begins before rows are moved": (
        CACHED,
        {
            "mover": BEGIN_AND_MOVE,
            "application": ("change", *of("a", "ask", "touch_old", "touch_rest")),
            "worker": of("a", "refresh"),
        },
    ),
    "a row is moved while it is refreshed, changed and asked for": (
        CACHED + of("a", "foreign_due"),
        {
            "mover": ("begin", *of("a", "see", "give_and_take", "leave")),
            "old": REFRESH,
            "application": ("change", *of("a", "ask", "touch_old", "touch_rest")),
        },
    ),
    "a row is moved by two movers while it is put": (
        CACHED,
        {
            "mover": ("begin", *of("a", "see", "give_and_take", "leave")),
            "application": of("a", "ask", "put_2_old", "see", "give_and_take", "leave", "put_2_rest"),
            "worker": of("a", "refresh"),
        },
    ),
    "two rows are moved while they are put and dropped": (
        (*CACHED, *of("b", "put_1_all")),
        {
            "mover": ("begin", *of("a", "see", "give_and_take", "leave"), *of("b", "see", "give_and_take", "leave")),
            "application": of("b", "drop_2_all") + of("a", "put_2_all"),
            "worker": REFRESH,
        },
    ),
}
