#!/usr/bin/env python3
"""What a request costs in countersign, beside what it costs in other proxies.

Every proxy takes plain HTTP on loopback, adds a bearer token and passes the request on to one
upstream over TLS 1.3. They are driven in turn, in rounds, within one run, by the same wrk; the cost
is what the kernel accounts to the proxy's processes, divided by the requests that wrk saw answered.
`benches/README.md` says how to read the table. Needs openssl, nginx and wrk; Python 3.11, nothing
from outside its standard library. Proxies that are not installed are left out.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from rig import proxies
from rig.load import hold, wrk
from rig.process import Failure, Process, free_port, get, wait_until
from rig.upstream import Upstream
from rig.workload import WORKLOADS

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
# How long countersign's token is when it does not run beside the others: ES512 and a few claims.
USUAL_TOKEN_LENGTH = 420

# What a proxy gives back of a client that asks nothing, it gives back by then.
SETTLING = 10


# --- One run --------------------------------------------------------------------------------------


@dataclasses.dataclass
class Running:
    """A proxy that has been started."""

    proxy: object
    process: Process
    port: int

    @property
    def name(self):
        return self.proxy.name


def start(proxy, token, upstream, workload, cpus, folder, stack):
    """Starts the proxy, and looks once at what reaches the upstream through it."""
    port = free_port()
    argv = proxy.argv(folder, port, upstream, token, workload)
    process = Process(proxy.name, argv, cpus, folder, stack, proxy.environment())
    headers = {} if proxy.adds_token else {"Authorization": f"Bearer {token}"}
    wait_until(process, lambda: get(port, f"{proxy.prefix}/echo", headers)[0] == 200)
    seen = get(port, f"{proxy.prefix}/echo", headers)[1].decode().split("|")
    if seen[1:3] != ["TLSv1.3", workload.protocol] or not seen[0].startswith("Bearer "):
        raise process.failed(f"sent the upstream {seen[1:]}, which is not what is compared")
    return Running(proxy, process, port), seen[0].removeprefix("Bearer ")


def measure(running, token, upstream, workload, options, folder, load_cpus):
    """One proxy's part of a round."""
    proxy, process = running.proxy, running.process
    header = None if proxy.adds_token else token
    drive = (running.port, workload, proxy.prefix, header)
    wrk(*drive, options.warm_up, folder, load_cpus)
    accepted = upstream.connections_accepted()
    before = process.cpu_seconds()
    result = wrk(*drive, options.seconds, folder, load_cpus)
    result["cpu_us"] = (process.cpu_seconds() - before) * 1e6 / result["requests"]
    # Less the connection of this very question.
    result["upstream_connections"] = upstream.connections_accepted() - accepted - 1
    result["busy"] = result["cpu_us"] * result["rate"] / 1e6
    return result


def idle(running, token, workload):
    """How much memory a client costs that holds its connection and asks nothing."""
    proxy, process = running.proxy, running.process
    before = process.resident_kib()
    clients = hold(running.port, workload, proxy.prefix, None if proxy.adds_token else token)
    time.sleep(SETTLING)
    held = process.resident_kib()
    for client in clients:
        client.close()
    return {"idle_kib": (held - before) / len(clients)}


def compare(chosen, workload, options, folder):
    """All rounds of one workload."""
    cpus = sorted(os.sched_getaffinity(0))
    pinned = options.pin and len(cpus) >= 2
    proxy_cpus = set(cpus[-1:] if pinned else cpus)
    load_cpus = set(cpus[:-1] if pinned else cpus)

    with contextlib.ExitStack() as stack:
        upstream = Upstream(folder, workload, load_cpus, stack)
        token = "t" * USUAL_TOKEN_LENGTH
        started = []
        for proxy in chosen:
            running, seen = start(proxy, token, upstream, workload, proxy_cpus, folder, stack)
            started.append(running)
            token = "t" * len(seen)

        rounds = []
        for number in range(1 if workload.idle else options.rounds):
            # Everybody is first once: whatever drifts during a round then favours nobody.
            turn = number % len(started)
            results = {}
            for running in started[turn:] + started[:turn]:
                results[running.name] = (
                    idle(running, token, workload)
                    if workload.idle
                    else measure(running, token, upstream, workload, options, folder, load_cpus)
                )
                shown = " ".join(f"{key} {value:.2f}" for key, value in results[running.name].items())
                print(f"{workload.name} {number + 1} {running.name:18} {shown}", file=sys.stderr)
            rounds.append(results)
        peaks = {running.name: running.process.peak_kib() for running in started}
    return {
        "workload": workload.name,
        "says": workload.says,
        "seconds": options.seconds,
        "pinned": pinned,
        "token_length": len(token),
        "peak_kib": peaks,
        "rounds": rounds,
    }


# --- The table ------------------------------------------------------------------------------------


def spread(values, digits):
    """Median, and the least and the most."""
    median, least, most = statistics.median(values), min(values), max(values)
    return f"{median:.{digits}f} ({least:.{digits}f}-{most:.{digits}f})"


def table(report):
    """The rows of a report: each proxy's cost, and countersign's as a ratio to it."""
    rounds = report["rounds"]
    names = list(report["peak_kib"])
    if WORKLOADS[report["workload"]].idle:
        rows = [["proxy", "KiB/idle client"]]
        return rows + [[name, f"{rounds[0][name]['idle_kib']:.1f}"] for name in names]
    rows = [["proxy", "CPU us/request", "countersign is", "requests/s", "p50 us", "p99 us", "busy",
             "new upstream", "peak MiB"]]
    for name in names:
        of = [results[name] for results in rounds]
        ratio = "-"
        if "countersign" in names and name != "countersign":
            # Within each round, so that a machine that slows down in between slows both.
            ratios = [it["countersign"]["cpu_us"] / it[name]["cpu_us"] for it in rounds]
            ratio = f"{spread(ratios, 2)} x"
        middle = {key: statistics.median(it[key] for it in of) for key in of[0]}
        rows.append([
            name,
            spread([it["cpu_us"] for it in of], 1),
            ratio,
            f"{middle['rate']:.0f}",
            f"{middle['p50_us']:.0f}",
            f"{middle['p99_us']:.0f}",
            f"{middle['busy']:.0%}",
            f"{max(it['upstream_connections'] for it in of)}",
            f"{report['peak_kib'][name] / 1024:.1f}",
        ])
    return rows


def printed(rows):
    """Rows as a Markdown table with columns that line up."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rows = [rows[0], ["-" * width for width in widths], *rows[1:]]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


# --- The command line -----------------------------------------------------------------------------


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "workloads",
        nargs="*",
        metavar="WORKLOAD",
        help=f"`all`, or of {', '.join(WORKLOADS)}; `small` if left out",
    )
    parser.add_argument("--only", help="names of proxies, with commas between")
    parser.add_argument("--connections", type=int, help="keep-alive clients, in place of the usual")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=8, help="measured, per proxy and round")
    parser.add_argument("--warm-up", type=int, default=1, metavar="SECONDS", help="before each")
    parser.add_argument("--json", action="store_true", help="every round's figures on stdout")
    parser.add_argument(
        "--pin",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="the proxies on the last CPU, wrk and the upstream on the others",
    )
    parser.add_argument(
        "--binary", type=pathlib.Path, help="of countersign, in place of a fresh release build"
    )
    options = parser.parse_args(arguments)
    for name in ("connections", "rounds", "seconds", "warm_up"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} has to be at least 1")
    names = list(WORKLOADS) if options.workloads == ["all"] else options.workloads or ["small"]
    for name in names:
        if name not in WORKLOADS:
            parser.error(f"no such workload: {name} (there are {', '.join(WORKLOADS)})")
    options.workloads = [WORKLOADS[name] for name in names]
    if options.connections:
        options.workloads = [
            dataclasses.replace(
                it, connections=options.connections, says=f"{it.says}, with {options.connections}"
            )
            for it in options.workloads
        ]
    return parser, options


def binary(options):
    if options.binary:
        return options.binary.resolve()
    build = ["cargo", "build", "--release", "--locked", "--no-default-features"]
    if subprocess.run(build, cwd=REPOSITORY, stdout=sys.stderr).returncode != 0:
        raise Failure("countersign does not build")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    return target / "release" / "countersign"


def choose(parser, options, workload, countersign):
    """The proxies of a workload that are wanted and installed."""
    every = proxies.every(countersign, workload)
    wanted = options.only.split(",") if options.only else [proxy.name for proxy in every]
    known = {proxy.name for it in WORKLOADS.values() for proxy in proxies.every(countersign, it)}
    for name in wanted:
        if name not in known:
            parser.error(f"no such proxy: {name} (there are {', '.join(sorted(known))})")
    chosen = []
    for proxy in every:
        if proxy.name not in wanted:
            continue
        missing = proxy.missing()
        if missing is None:
            chosen.append(proxy)
        else:
            print(f"skipped {proxy.name}: {missing}", file=sys.stderr)
    return chosen


def main():
    parser, options = parse(sys.argv[1:])
    # So that what was started is stopped, whichever way this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # Debian puts the servers where a user's path does not look.
    os.environ["PATH"] += ":/usr/sbin:/usr/local/sbin"
    cpus = os.sched_getaffinity(0)
    reports = []
    try:
        for tool in ("openssl", "nginx", "wrk"):
            if shutil.which(tool) is None:
                raise Failure(f"{tool} is not installed, and nothing works without it")
        countersign = binary(options)
        for workload in options.workloads:
            chosen = choose(parser, options, workload, countersign)
            if not chosen:
                raise Failure("nothing to measure")
            with tempfile.TemporaryDirectory(prefix="countersign-bench-") as folder:
                report = compare(chosen, workload, options, pathlib.Path(folder))
            os.sched_setaffinity(0, cpus)
            reports.append(report)
            if not options.json:
                print(f"\n**{report['says']}**\n\n{printed(table(report))}", flush=True)
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if options.json:
        json.dump(reports, sys.stdout, indent=2)
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
