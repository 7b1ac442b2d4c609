"""Programs small enough to run all their interleavings, one for each fault."""

REFRESH = ("claim", "read", "commit")
HELD = ("claim_long", "read", "commit")
LOOK = ("claim_long", "look", "read", "commit")
BY_HAND = ("lease", "read", "commit")
PUT = ("put",)
KNOWN = ("put", "refresh", "touch")
DELETED = ("put", "delete")
CACHED = ("put", "refresh", "due_now")
FILL = ("fill_begin", "fill_read", "fill_end")
FILL_OLD = ("fill_begin_old", "fill_read", "fill_end")
TAKEN = ("claim_and_read", "commit")
FILL_TAKEN = ("fill_begin_and_read", "fill_end")
CLOCK = ("clock_back", "touch", "clock_forward")
"""A step back that is over before what is in flight ends."""
TWICE = {"twin": ("deliver_twice", "read", "commit"), "database": ("change",)}
CHECKED = ("check_position", "commit")
SCHEDULING = ("fill_begin", "fill_read", "fill_end_scheduling")

SMALL = {
    "two refreshes, a change and a request": (
        PUT,
        {"one": REFRESH, "two": REFRESH, "database": ("change",), "application": ("touch",)},
    ),
    "two refreshes of a cached row, a change and a request": (
        CACHED,
        {"one": REFRESH, "two": REFRESH, "database": ("change",), "application": ("touch",)},
    ),
    "a lease that lasts, a change and a request": (
        CACHED,
        {"one": HELD, "two": HELD, "database": ("change",), "application": ("touch",)},
    ),
    "a lease that lasts, a change and a request that lets it wait": (
        CACHED,
        {"one": HELD, "two": REFRESH, "database": ("change",), "application": ("touch_later",)},
    ),
    "a message that is delivered twice, and a lease as long as the delay": (
        PUT,
        {"one": ("claim_delay", "read", "commit"), **TWICE},
    ),
    "a refresh by hand that is delivered twice, and a lease as long as the delay": (
        PUT,
        {"one": ("lease_delay", "read", "commit"), **TWICE},
    ),
    "a row that is deleted and asked for": (
        CACHED,
        {"one": ("claim_long", "read_and_commit"), "two": HELD, "database": ("delete",), "application": ("touch",)},
    ),
    "a drop and a put while refreshes are in flight": (
        PUT,
        {"one": REFRESH, "two": REFRESH, "application": ("drop", "put")},
    ),
    "a drop and a put between the read of an absence and its commit": (
        DELETED,
        {"one": REFRESH, "two": ("refresh",), "application": ("drop", "put"), "database": ("change",)},
    ),
    "a drop and a put between a read and its commit": (
        PUT,
        {"one": REFRESH, "two": ("refresh",), "application": ("drop", "put"), "database": ("change",)},
    ),
    "a foreign client drops and puts": (
        PUT,
        {"one": REFRESH, "two": ("claim",), "client": ("delay_off", "due_now", "delay_on", "due_now")},
    ),
    "a foreign client removes the delay": (PUT, {"one": ("claim_long", "read", "commit"), "client": ("delay_gone",)}),
    "a row with the version of its cached value": (
        KNOWN,
        {"one": LOOK, "two": ("refresh",), "database": ("change",), "application": ("touch",), "server": ("evict",)},
    ),
    "a row with the version of its cached value, and a fill": (
        KNOWN,
        {"one": LOOK, "reader": FILL_OLD, "database": ("change",)},
    ),
    "a row that cannot be read": (
        PUT,
        {"one": ("claim_long", "fail"), "two": REFRESH, "application": ("touch",), "client": ("delay_off",)},
    ),
    "a batch that is handed back": (
        PUT,
        {"one": ("claim_long", "give_back"), "two": HELD, "application": ("touch",), "database": ("change",)},
    ),
    "a row that is deleted and comes back": (
        CACHED,
        {"one": REFRESH, "two": REFRESH, "database": ("delete", "change")},
    ),
    "a row that is not there and asked for": (DELETED, {"one": HELD, "two": HELD, "application": ("touch",)}),
    "a row that is not there for the second time": (
        (*DELETED, "refresh"),
        {"one": HELD, "application": ("touch", "touch")},
    ),
    "a foreign client removes the delay of a row that is not there": (
        DELETED,
        {"one": HELD, "client": ("delay_gone",)},
    ),
    "changes of the schedule that arrive in any order": (
        (),
        {"a": ("put_1",), "b": ("drop_2",), "c": ("put_3",), "d": ("drop_2",), "one": ("claim_long", "read", "commit")},
    ),
    "changes of the schedule, the last one a drop": (
        (),
        {"a": ("put_1",), "b": ("put_2",), "c": ("drop_3",), "d": ("put_1",), "one": ("claim", "read", "commit")},
    ),
    "the clock steps back": (
        PUT,
        {"one": REFRESH, "two": ("refresh",), "clock": ("clock_back", "touch"), "database": ("change",)},
    ),
    "requests after a step back": (
        (*PUT, "refresh"),
        {"one": REFRESH, "clock": ("clock_back", "touch", "touch")},
    ),
    "the clock steps back while a row is away": (
        DELETED,
        {"one": REFRESH, "two": ("refresh",), "clock": ("clock_back", "touch"), "database": ("change",)},
    ),
    "the clock steps back over changes of the schedule": (
        PUT,
        {"one": HELD, "application": ("drop", "put"), "clock": ("clock_back",)},
    ),
    "a refresh outlasts a step back": (
        PUT,
        {"one": TAKEN, "two": ("refresh",), "clock": CLOCK, "database": ("change",)},
    ),
    "two refreshes outlast a step back": (
        PUT,
        {"one": TAKEN, "two": ("claim", "read_and_commit"), "clock": CLOCK[::2], "database": ("change",)},
    ),
    "two refreshes of a row that is away outlast a step back": (
        PUT,
        {"one": TAKEN, "two": ("claim", "read_and_commit"), "clock": CLOCK[::2], "database": ("delete",)},
    ),
    "a refresh by hand outlasts a step back": (
        PUT,
        {"one": ("lease_and_read", "commit"), "two": ("refresh",), "clock": CLOCK, "database": ("change",)},
    ),
    "a refresh outlasts a step back, and one by hand": (
        PUT,
        {"one": TAKEN, "hand": ("lease_and_read", "commit"), "clock": CLOCK[::2], "database": ("change",)},
    ),
    "a refresh outlasts a step back that a dispatcher notes": (
        PUT,
        {"one": TAKEN, "two": ("refresh",), "clock": ("clock_back", "check", *CLOCK[1:]), "database": ("change",)},
    ),
    "a fill outlasts a step back": (
        PUT,
        {
            "reader": FILL_TAKEN,
            "one": ("refresh",),
            "clock": ("clock_back", "due_now", "clock_forward"),
            "database": ("change",),
        },
    ),
    "a refresh outlasts a step back, and a fill": (
        PUT,
        {"one": TAKEN, "reader": ("fill_begin_old", "fill_read_and_end"), "clock": CLOCK[::2], "database": ("change",)},
    ),
    "the clock steps forward": (
        PUT,
        {"one": REFRESH, "two": HELD, "clock": ("clock_forward",), "database": ("change",)},
    ),
    "a refresh by hand": (
        CACHED,
        {"one": REFRESH, "hand": BY_HAND, "database": ("change",)},
    ),
    "a refresh by hand after a step back": (
        (*PUT, "refresh"),
        {"hand": BY_HAND, "clock": ("clock_back", "touch", "touch")},
    ),
    "a refresh by hand of a row that was dropped": (
        PUT,
        {"hand": BY_HAND, "application": ("drop",)},
    ),
    "a request for a row that was dropped": (
        PUT,
        {"one": ("claim", "read", "commit"), "application": ("drop", "touch")},
    ),
    "a fill while the row is refreshed for the first time": (PUT, {"reader": FILL, "one": REFRESH}),
    "a fill of a value that is too old": (
        CACHED,
        {"reader": FILL_OLD, "one": HELD, "database": ("change",)},
    ),
    "two fills of a row that is not scheduled": ((), {"reader": FILL, "other": FILL, "application": ("touch",)}),
    "a fill that takes too long": ((), {"reader": FILL, "other": FILL_OLD, "time": ("fill_expires",)}),
    "a fill that schedules, a drop and a put": (
        (),
        {"reader": SCHEDULING, "application": ("drop", "put"), "database": ("change",)},
    ),
    "a fill that schedules, and changes enqueued before": (
        (),
        {"reader": SCHEDULING, "a": ("put_1",), "b": ("drop_2",)},
    ),
    "a fill while a foreign client drops and puts": (
        (*PUT, "refresh"),
        {"reader": FILL_OLD, "client": ("delay_off", "due_now", "delay_on"), "one": ("claim",)},
    ),
    "a fill while a foreign client puts the row": ((), {"reader": FILL, "client": ("delay_on", "due_now")}),
    "a fill while a foreign client removes the delay": (
        (*PUT, "refresh"),
        {"reader": FILL_OLD, "client": ("delay_gone", "due_now"), "one": ("refresh",)},
    ),
    "a fill of a row that is not there": (
        DELETED,
        {"reader": FILL, "one": ("refresh",), "late": ("fill_begin_old",), "database": ("change",)},
    ),
    "a fill of a row that was deleted, while it is refreshed": (
        CACHED,
        {"reader": FILL_OLD, "one": REFRESH, "database": ("delete",)},
    ),
    "a fill of a row that comes back, while it is refreshed": (
        CACHED,
        {"reader": ("fill_begin_old", "fill_read_and_end"), "one": HELD, "database": ("delete", "change")},
    ),
    "a fill of a row that cannot be refreshed": (PUT, {"reader": FILL, "one": ("claim_long", "fail")}),
    "a fill while the clock steps back": (
        (*PUT, "refresh"),
        {"reader": FILL_OLD, "one": ("change", "refresh"), "clock": ("clock_back", "due_now")},
    ),
    "a fill of a row that comes back, and the state of the table is lost": (
        CACHED,
        {"reader": ("fill_at_once",), "one": TAKEN, "database": ("delete", "change"), "client": ("forget", "check")},
    ),
    "a row is read from two replicas, one of which is behind": (
        (*PUT, "change_and_replay_a"),
        {"one": ("claim_and_read_a", *CHECKED), "two": ("claim_and_read_b", *CHECKED), "time": ("fall_due",)},
    ),
    "a row that has changed is asked for while the replica is behind": (
        CACHED,
        {"one": ("claim_and_read_b", *CHECKED), "application": ("change", "need", "touch"), "log": ("replay_b",)},
    ),
    "a fill from a replica that is behind": (
        CACHED,
        {
            "reader": ("fill_begin_old", "fill_read_b", "fill_check", "fill_end"),
            "one": ("refresh_from_a",),
            "database": ("change_and_replay_a",),
        },
    ),
    "a drop of a row that cannot be read": (PUT, {"one": ("claim_long", "fail"), "application": ("drop",)}),
}
"""Name -> steps made before, and actor -> its steps. Some thousands of interleavings together."""

LARGE = {
    "three refreshes, a change and a request": (
        PUT,
        {"one": REFRESH, "two": REFRESH, "three": REFRESH, "database": ("change",), "application": ("touch",)},
    ),
    "a drop, a put and changes while refreshes are in flight": (
        PUT,
        {"one": REFRESH, "two": REFRESH, "database": ("change", "change"), "application": ("drop", "put")},
    ),
    "a foreign client drops and puts while refreshes are in flight": (
        PUT,
        {"one": REFRESH, "two": REFRESH, "client": ("delay_off", "due_now", "delay_on", "due_now")},
    ),
    "a row that is deleted, comes back and is asked for": (
        PUT,
        {"one": REFRESH, "two": REFRESH, "database": ("delete", "change"), "application": ("touch",)},
    ),
    "the clock steps back and forward": (
        PUT,
        {"one": REFRESH, "two": HELD, "clock": ("clock_back", "clock_forward"), "database": ("change",)},
    ),
    "two refreshes outlast a step back, step by step": (
        PUT,
        {"one": REFRESH, "two": REFRESH, "clock": CLOCK[::2], "database": ("change",)},
    ),
    "a refresh and a fill outlast a step back, step by step": (
        CACHED,
        {"reader": FILL_OLD, "one": REFRESH, "clock": CLOCK[::2], "database": ("change",)},
    ),
    "two fills outlast a step back": (
        (),
        {"reader": FILL, "other": FILL_OLD, "clock": CLOCK[::2], "database": ("change",)},
    ),
    "two fills while the row is refreshed and changed": (
        PUT,
        {"reader": FILL_OLD, "other": FILL, "one": HELD, "database": ("change",)},
    ),
    "two fills while the row is refreshed and asked for": (
        PUT,
        {"reader": FILL_OLD, "other": FILL, "one": HELD, "application": ("touch",)},
    ),
    "a fill while the row is refreshed, changed and asked for": (
        PUT,
        {"reader": FILL, "one": REFRESH, "database": ("change",), "application": ("touch",)},
    ),
    "two fills of a row that changes and is asked for": (
        (),
        {"reader": FILL, "other": FILL, "database": ("change",), "application": ("touch",)},
    ),
    "a fill that takes too long, of a row that changes": (
        (),
        {"reader": FILL, "other": FILL_OLD, "time": ("fill_expires",), "database": ("change",)},
    ),
    "a fill that schedules, a drop, a put and a refresh": (
        (),
        {"reader": SCHEDULING, "application": ("drop", "put"), "database": ("change",), "one": REFRESH},
    ),
    "a fill that schedules, and one that does not, a drop and a put": (
        (),
        {"reader": SCHEDULING, "other": FILL, "application": ("drop", "put"), "database": ("change",)},
    ),
    "a fill and a refresh while a foreign client drops and puts": (
        (*PUT, "refresh"),
        {"reader": FILL_OLD, "one": REFRESH, "client": ("delay_off", "due_now", "delay_on", "due_now")},
    ),
    "a fill of a value that is too old while the clock steps back": (
        (*PUT, "refresh"),
        {"reader": FILL_OLD, "one": HELD, "clock": ("clock_back", "due_now"), "database": ("change",)},
    ),
    "a fill while the clock steps forward": (
        PUT,
        {"reader": FILL_OLD, "one": HELD, "clock": ("clock_forward",), "database": ("change",)},
    ),
    "a row is read from two replicas, is changed and asked for": (
        PUT,
        {
            "one": ("claim", "read_a", *CHECKED),
            "two": ("claim_and_read_b", *CHECKED),
            "application": ("change_and_replay_a", "need", "touch"),
            "time": ("fall_due",),
        },
    ),
    "fills of a row that is not there and comes": (
        ("delete",),
        {"reader": FILL, "other": FILL_OLD, "one": ("refresh",), "application": ("put",), "database": ("change",)},
    ),
}
"""Hundreds of thousands of interleavings together."""
