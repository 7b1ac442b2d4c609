"""How late rows get while all workers are restarted, one after another, under load.

    PYTHONPATH=tests python -m stress.rolling_restart [--rows 1500] [--laps 5]

Two workers of two processes refresh each row once a second. In each lap both are replaced: a new worker is started, and
when it is ready the old one gets SIGTERM. Prints for each stop how long the worker took to end and how late the latest
row was since the stop before.
"""

import argparse
import signal
import time

from stress.observer import Observer
from stress.setup import open_deployment
from support.waiting import wait_until

DELAY_S = 1.0
SETTLE_S = 4.0


def start_worker(deployment, name):
    worker = deployment.start_worker(name, "--without-gossip", "--without-mingle")
    wait_until(lambda: "ready." in deployment.log(name), f"{name} is ready", timeout_s=60, pause_s=0.02)
    return worker


def replace(deployment, workers, number):
    """Replace the oldest worker; returns for how long the old one was stopping; seconds."""
    workers.append((f"worker{number}", start_worker(deployment, f"worker{number}")))
    name, old = workers.pop(0)
    started = time.monotonic()
    old.stop(signal.SIGTERM, timeout=60)
    assert old.poll() == 0, f"{name} ended with {old.poll()}:\n{old.log_tail()}"
    return time.monotonic() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--laps", type=int, default=5)
    parser.add_argument("--lease", default="5")
    options = parser.parse_args()
    rows = {str(n): DELAY_S for n in range(1, options.rows + 1)}
    with open_deployment(options.rows) as (deployment, _):
        deployment.env["ROWCACHE_LEASE"] = options.lease
        deployment.start_beat()
        workers = [(f"worker{n}", start_worker(deployment, f"worker{n}")) for n in (1, 2)]
        deployment.schedule.put_rows({row_id: (DELAY_S, int(row_id) / len(rows)) for row_id in rows})
        with Observer(deployment, rows) as observer:
            wait_until(lambda: not observer.missing(), "all rows are cached")
            time.sleep(SETTLE_S)
            observer.reset()
            time.sleep(SETTLE_S)
            _, late_s = observer.reset()
            print(f"at rest: the latest row was {1000 * late_s:5.0f} ms late", flush=True)
            for number in range(3, 3 + 2 * options.laps):
                stopped_s = replace(deployment, workers, number)
                time.sleep(SETTLE_S)
                _, late_s = observer.reset()
                print(
                    f"stop {number - 2}: ended in {stopped_s:.2f} s, the latest row was {1000 * late_s:5.0f} ms late",
                    flush=True,
                )
            assert not observer.missing()
        print({name: deployment.stat(name) for name in ("claimed", "refreshed", "unchanged", "superseded", "failed")})


if __name__ == "__main__":
    main()
