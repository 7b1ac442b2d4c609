"""What the services of examples/ do with the cache, and with the database alone, in one run on one machine.

    PYTHONPATH=tests python -m stress.examples [--rows 10000] [--delay 10] [--sales 200] [--rounds 5]

A dispatcher and a worker of two processes keep every item fresh while pgbench sells some. One process serves an
example, one asks it for items at random; the cache and the database take turns, so that whatever else the machine does
hits both. First as fast as 32 connections can; then at a rate that both can do, so that no question waits for others.
Prints tables for docs/figures.md; the figures are medians of the rounds.
"""

import argparse
import os
from statistics import median

import psutil
from stress.setup import open_deployment
from stress.shop import create_items, run_client, start_pgbench, start_service
from support.waiting import wait_until

SERVICES = ("fastapi", "flask")
SOURCES = ("cache", "database")
SECONDS = 4.0
RATE = 100
"""Questions a second that are answered at once by either source."""
CONNECTIONS = 32


def processor_s(service):
    used = service.cpu_times()
    return used.user + used.system


def measure(url, process, *arguments):
    """Run the client once; gives requests a second, milliseconds, and the cores that client and service used."""
    service = psutil.Process(process.pid)
    used = processor_s(service)
    found = run_client(url, f"--seconds={SECONDS}", f"--connections={CONNECTIONS}", *arguments)
    assert not found["wrong"], found["wrong"]
    latencies = sorted(found["latencies_ms"])
    service_s = processor_s(service) - used
    return {
        "rate": len(latencies) / found["seconds"],
        "cost": 1000 * service_s / len(latencies),
        "p50": latencies[len(latencies) // 2],
        "p99": latencies[len(latencies) * 99 // 100],
        "client": found["cpu_s"] / found["seconds"],
        "service": service_s / found["seconds"],
    }


def middle(rounds):
    return {name: median(one[name] for one in rounds) for name in rounds[0]}


def compare(url, process, options, *arguments):
    """Measure both sources in turn; gives source -> medians."""
    measured = {source: [] for source in SOURCES}
    for _ in range(options.rounds):
        for source in SOURCES:
            given = ("--source", source, f"--rows={options.rows}", *arguments)
            measured[source].append(measure(url, process, *given))
    return {source: middle(rounds) for source, rounds in measured.items()}


def report(service, full, easy):
    cache, database = full["cache"], full["database"]
    for source in SOURCES:
        fast, slow = full[source], easy[source]
        print(
            f"| {service}, {source} | {fast['rate']:,.0f} | {fast['p50']:.0f} ms | {fast['p99']:.0f} ms"
            f" | {slow['p50']:.1f} ms | {slow['p99']:.1f} ms"
            f" | {fast['cost']:.2f} ms | {fast['service']:.2f} | {fast['client']:.2f} |"
        )
    ratios = [cache["rate"] / database["rate"], *(database[name] / cache[name] for name in ("p50", "p99"))]
    ratios += [easy["database"][name] / easy["cache"][name] for name in ("p50", "p99")]
    ratios += [database["cost"] / cache["cost"]]
    print(f"| {service}, ratio | {' | '.join(f'{ratio:.1f}' for ratio in ratios)} | | |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--delay", type=float, default=10, help="seconds between refreshes of a row")
    parser.add_argument("--sales", type=int, default=200, help="transactions of pgbench a second")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with open_deployment(1) as (deployment, postgres):
        create_items(deployment, options.rows)
        deployment.start_beat()
        deployment.start_worker()
        share = options.delay / options.rows
        deployment.schedule.put_rows({str(n): (options.delay, n * share) for n in range(1, options.rows + 1)})
        wait_until(lambda: deployment.stat("refreshed") >= options.rows, "all items are cached", timeout_s=120)
        pgbench = start_pgbench(deployment, postgres, options.rows, rate=options.sales, seconds=3600)
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {options.rounds} rounds of {SECONDS:.0f} s")
        print(f"| | requests/s | p50 | p99 | at {RATE}/s: p50 | p99 | processor, a request | service, cores | client |")
        print("|---|---|---|---|---|---|---|---|---|")
        for service in SERVICES:
            url, process = start_service(deployment, service)
            full = compare(url, process, options)
            report(service, full, compare(url, process, options, f"--rate={RATE}"))
            process.stop()
        url, process = start_service(deployment, "fixed")
        most = middle([measure(url, process, "--rows=1") for _ in range(options.rounds)])
        print(
            f"the client, asking a server that does nothing: {most['rate']:,.0f} requests/s, {most['client']:.2f} cores"
        )
        print({name: deployment.stat(name) for name in ("refreshed", "unchanged", "superseded", "failed")})
        assert pgbench.is_running


if __name__ == "__main__":
    main()
