#!/usr/bin/env python3
"""What a request costs in countersign, beside what it costs in nginx and HAProxy.

Every proxy takes plain HTTP on loopback, adds a bearer token and passes the request on to one
upstream over TLS 1.3. They are driven in turn, in rounds, within one run, by the same wrk; the cost
is what the kernel accounts to the proxy's processes, divided by the requests that wrk saw answered.
`benches/README.md` says how to read the table. Needs openssl, nginx and wrk; Python 3.11, nothing
from outside its standard library.
"""

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
SIZES = {"1k": 1024, "1m": 1024 * 1024}
# How long countersign's token is when it does not run beside the others: ES512 and a few claims.
USUAL_TOKEN_LENGTH = 420


class Failure(Exception):
    """Ends the run with its message and without a traceback."""


# --- Processes ------------------------------------------------------------------------------------


class Process:
    """A program on the given CPUs, and the children it starts. It runs until the stack unwinds."""

    def __init__(self, name, argv, cpus, folder, stack):
        self.name = name
        self.log = folder / f"{name}.log"
        with on_cpus(cpus), open(self.log, "wb") as log:
            self.popen = subprocess.Popen(
                argv,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A group of its own: what it starts is stopped with it, and Ctrl-C reaches only us.
                start_new_session=True,
            )
        stack.callback(self.stop)

    def pids(self):
        """Its own pid and those of its descendants."""
        parents = {}
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    # The name stands in parentheses and may hold anything, spaces included.
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    parents.setdefault(int(fields[1]), []).append(int(entry.name))
        found = [self.popen.pid]
        for pid in found:
            found.extend(parents.get(pid, ()))
        return found

    def cpu_seconds(self):
        """Time on a CPU so far, user and kernel, over all threads, those that ended too."""
        # What clock_getcpuclockid(3) makes of a pid; the 2 asks for the scheduler's own nanoseconds
        # rather than for ticks.
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in self.pids())

    def peak_kib(self):
        """The most memory that its largest process ever had resident."""
        peaks = [0]
        for pid in self.pids():
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            peaks += [int(peak) for peak in re.findall(r"^VmHWM:\s+(\d+) kB", status, re.M)]
        return max(peaks)

    def stop(self):
        if self.popen.poll() is None:
            self.popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()

    def failed(self, what):
        said = self.log.read_text(errors="replace")[-4000:]
        return Failure(f"{self.name} {what}; it said:\n{said}")


@contextlib.contextmanager
def on_cpus(cpus):
    """What is started inside inherits these CPUs, and so do all its threads."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(*argv):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"{' '.join(map(str, argv))} left with {done.returncode}:\n{done.stderr}")
    return done.stdout


def get(port, path, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


# --- The upstream ---------------------------------------------------------------------------------


class Upstream:
    """nginx behind TLS 1.3. It answers 401 to whoever has no bearer token, which wrk reports."""

    def __init__(self, folder, cpus, stack):
        self.port = free_port()
        self.status_port = free_port()
        make_certificates(folder)
        documents = folder / "documents"
        documents.mkdir()
        for name, size in SIZES.items():
            (documents / name).write_bytes(b"x" * size)
        (folder / "upstream.conf").write_text(
            nginx_main(folder, "upstream")
            + f"""
http {{
    {nginx_temporaries(folder, "upstream")}
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    open_file_cache max=16;
    server {{
        listen 127.0.0.1:{self.port} ssl backlog=4096;
        ssl_certificate {folder}/upstream.pem;
        ssl_certificate_key {folder}/upstream.key;
        ssl_protocols TLSv1.3;
        ssl_session_cache shared:tls:4m;
        root {documents};
        if ($http_authorization !~ "^Bearer .") {{ return 401; }}
        location = /echo {{
            return 200 "$http_authorization|$ssl_protocol|$server_protocol|$http_host";
        }}
    }}
    server {{
        listen 127.0.0.1:{self.status_port};
        location = /status {{ stub_status; }}
    }}
}}
"""
        )
        process = Process("upstream", nginx_argv(folder, "upstream"), cpus, folder, stack)
        wait_until(process, lambda: get(self.status_port, "/status")[0] == 200)

    def connections_accepted(self):
        # "accepts handled requests" on one line, the three numbers on the next. It counts the
        # connection that asks, too.
        body = get(self.status_port, "/status")[1].decode()
        return int(re.search(r"^ (\d+) \d+ \d+", body, re.M).group(1))


def make_certificates(folder):
    """A certificate authority for this run, and the upstream's certificate."""
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes", "-days", "2", "-subj", "/CN=countersign bench CA",
        "-addext", "basicConstraints=critical,CA:TRUE",
        "-addext", "keyUsage=critical,keyCertSign",
        "-keyout", folder / "ca.key", "-out", folder / "ca.pem")
    run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes", "-subj", "/CN=localhost",
        "-keyout", folder / "upstream.key", "-out", folder / "upstream.csr")
    (folder / "upstream.ext").write_text(
        "basicConstraints=CA:FALSE\n"
        "keyUsage=critical,digitalSignature\n"
        "extendedKeyUsage=serverAuth\n"
        "subjectAltName=DNS:localhost,IP:127.0.0.1\n"
    )
    run("openssl", "x509", "-req", "-days", "2", "-in", folder / "upstream.csr",
        "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-CAcreateserial",
        "-extfile", folder / "upstream.ext", "-out", folder / "upstream.pem")


def nginx_argv(folder, name):
    return ["nginx", "-p", str(folder), "-c", str(folder / f"{name}.conf"), "-e", "stderr"]


def nginx_main(folder, name):
    # As root nginx would make its worker somebody else, who cannot read the run's folder.
    user = "user root;" if os.geteuid() == 0 else ""
    return f"""
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {folder}/{name}.pid;
error_log stderr warn;
events {{ worker_connections 8192; }}
"""


def nginx_temporaries(folder, name):
    # Debian compiles in /var/lib/nginx, which only root can write.
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "\n    ".join(f"{kind}_temp_path {folder}/{name}-{kind};" for kind in kinds)


def wait_until(process, ready, seconds=15):
    deadline = time.monotonic() + seconds
    last = "nothing"
    while time.monotonic() < deadline:
        if process.popen.poll() is not None:
            raise process.failed(f"ended with {process.popen.returncode}")
        try:
            if ready():
                return
            last = "an answer, and not the right one"
        except (OSError, http.client.HTTPException) as error:
            last = str(error)
        time.sleep(0.05)
    raise process.failed(f"did not become ready within {seconds} s (last seen: {last})")


# --- The proxies ----------------------------------------------------------------------------------


class Countersign:
    name = "countersign"
    prefix = "/acme"
    adds_token = True

    def __init__(self, binary):
        self.binary = binary

    def missing(self):
        return None if self.binary.exists() else f"{self.binary} does not exist"

    def argv(self, folder, port, upstream, _token, _connections):
        key = folder / "key.pem"
        run("openssl", "ecparam", "-name", "secp521r1", "-genkey", "-noout", "-out", key)
        key.chmod(0o600)
        (folder / "proxy.toml").write_text(
            f"""
workers = 1

[listeners.local]
address = "127.0.0.1:{port}"

[credentials.acme.vdr]
instance  = "acme"
user      = 123
issuer    = "countersign-bench-issuer"
client-id = "countersign-bench-client"
key       = {{ file = "key.pem" }}

[targets.acme]
url = "https://localhost:{upstream.port}"
routes = [{{ path = "/acme" }}]

[targets.acme.tls]
ca = "ca.pem"
"""
        )
        return [str(self.binary), "serve", "--config", str(folder / "proxy.toml")]


class Nginx:
    name = "nginx"
    prefix = "/acme"
    adds_token = True

    def missing(self):
        return None if shutil.which("nginx") else "nginx is not installed"

    def argv(self, folder, port, upstream, token, connections):
        (folder / "nginx.conf").write_text(
            nginx_main(folder, "nginx")
            + f"""
http {{
    {nginx_temporaries(folder, "nginx")}
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    upstream target {{
        server 127.0.0.1:{upstream.port};
        keepalive {max(64, 2 * connections)};
        keepalive_requests 1000000000;
        keepalive_time 1d;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location /acme/ {{
            proxy_pass https://target/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host localhost:{upstream.port};
            proxy_set_header Authorization "Bearer {token}";
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate {folder}/ca.pem;
            proxy_ssl_server_name on;
            proxy_ssl_name localhost;
            proxy_ssl_protocols TLSv1.3;
            proxy_ssl_session_reuse on;
        }}
    }}
}}
"""
        )
        return nginx_argv(folder, "nginx")


class Haproxy:
    name = "haproxy"
    prefix = "/acme"
    adds_token = True

    def missing(self):
        return None if shutil.which("haproxy") else "haproxy is not installed"

    def argv(self, folder, port, upstream, token, _connections):
        return haproxy_argv(
            folder,
            self.name,
            f"""
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 60s
    timeout http-request 10s
    http-reuse always

frontend local
    bind 127.0.0.1:{port} backlog 4096
    use_backend acme if {{ path_beg /acme/ }}

backend acme
    http-request set-path %[path,bytes(5)]
    http-request set-header Host localhost:{upstream.port}
    http-request set-header Authorization "Bearer {token}"
    server target {haproxy_server(folder, upstream)}
""",
        )


class HaproxyTcp:
    """The floor: sockets and TLS, and not one byte of HTTP looked at."""

    name = "haproxy-tcp"
    prefix = ""
    adds_token = False

    def missing(self):
        return Haproxy().missing()

    def argv(self, folder, port, upstream, _token, _connections):
        return haproxy_argv(
            folder,
            self.name,
            f"""
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h

listen local
    bind 127.0.0.1:{port} backlog 4096
    server target {haproxy_server(folder, upstream)}
""",
        )


def haproxy_argv(folder, name, rest):
    path = folder / f"{name}.cfg"
    path.write_text(f"global\n    nbthread 1\n    maxconn 8000\n{rest}")
    return ["haproxy", "-db", "-f", str(path)]


def haproxy_server(folder, upstream):
    return (
        f"127.0.0.1:{upstream.port} ssl verify required ca-file {folder}/ca.pem "
        "sni str(localhost) verifyhost localhost ssl-min-ver TLSv1.3"
    )


def start(proxy, token, upstream, connections, cpus, folder, stack):
    """Starts the proxy, and looks once at what reaches the upstream through it."""
    port = free_port()
    argv = proxy.argv(folder, port, upstream, token, connections)
    process = Process(proxy.name, argv, cpus, folder, stack)
    headers = {} if proxy.adds_token else {"Authorization": f"Bearer {token}"}
    wait_until(process, lambda: get(port, f"{proxy.prefix}/echo", headers)[0] == 200)
    seen = get(port, f"{proxy.prefix}/echo", headers)[1].decode().split("|")
    if seen[1:3] != ["TLSv1.3", "HTTP/1.1"] or not seen[0].startswith("Bearer "):
        raise process.failed(f"sent the upstream {seen[1:]}, which is not what is compared")
    return process, port, seen[0].removeprefix("Bearer ")


# --- Driving and measuring ------------------------------------------------------------------------


def wrk(port, path, token, connections, seconds, cpus):
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "10s"]
    if token:
        argv += ["-H", f"Authorization: Bearer {token}"]
    with on_cpus(cpus):
        said = run(*argv, f"http://127.0.0.1:{port}{path}")
    for bad in ("Non-2xx or 3xx responses", "Socket errors"):
        if bad in said:
            raise Failure(f"not every request was answered well:\n{said}")
    # At the start of a line: the lines above end in a percentage that may be 50% too.
    p50, p99 = (re.search(rf"^ +{n}% +(\S+) *$", said, re.M).group(1) for n in (50, 99))
    return {
        "requests": int(re.search(r"(\d+) requests in", said).group(1)),
        "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", said).group(1)),
        "p50_us": microseconds(p50),
        "p99_us": microseconds(p99),
    }


def microseconds(text):
    value, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(value) * {"us": 1, "ms": 1e3, "s": 1e6, "m": 60e6}[unit]


def measure(proxy, process, port, token, upstream, options, load_cpus):
    path = f"{proxy.prefix}/{options.size}"
    header = None if proxy.adds_token else token
    drive = (port, path, header, options.connections)
    wrk(*drive, options.warm_up, load_cpus)
    accepted = upstream.connections_accepted()
    before = process.cpu_seconds()
    result = wrk(*drive, options.seconds, load_cpus)
    result["cpu_us"] = (process.cpu_seconds() - before) * 1e6 / result["requests"]
    # Less the connection of this very question.
    result["upstream_connections"] = upstream.connections_accepted() - accepted - 1
    result["busy"] = result["cpu_us"] * result["rate"] / 1e6
    return result


def compare(proxies, options, folder):
    cpus = sorted(os.sched_getaffinity(0))
    pinned = options.pin and len(cpus) >= 2
    proxy_cpus = set(cpus[-1:] if pinned else cpus)
    load_cpus = set(cpus[:-1] if pinned else cpus)
    os.sched_setaffinity(0, load_cpus)

    with contextlib.ExitStack() as stack:
        upstream = Upstream(folder, load_cpus, stack)
        token = "t" * USUAL_TOKEN_LENGTH
        started = []
        # countersign is the first in the list, so that the others' tokens are as long as its own.
        for proxy in proxies:
            process, port, seen = start(
                proxy, token, upstream, options.connections, proxy_cpus, folder, stack
            )
            started.append((proxy, process, port))
            token = "t" * len(seen)

        rounds = []
        for number in range(options.rounds):
            # Everybody is first once: whatever drifts during a round then favours nobody.
            turn = number % len(started)
            results = {}
            for proxy, process, port in started[turn:] + started[:turn]:
                results[proxy.name] = measure(
                    proxy, process, port, token, upstream, options, load_cpus
                )
                print(
                    f"round {number + 1}/{options.rounds} {proxy.name:12}"
                    f" {results[proxy.name]['cpu_us']:9.2f} us/request",
                    file=sys.stderr,
                )
            rounds.append(results)
        peaks = {proxy.name: process.peak_kib() for proxy, process, _ in started}
    return {
        "size": options.size,
        "connections": options.connections,
        "seconds": options.seconds,
        "pinned": pinned,
        "token_length": len(token),
        "peak_kib": peaks,
        "rounds": rounds,
    }


# --- The table ------------------------------------------------------------------------------------


def spread(values, digits):
    """Median, and the least and the most."""
    if not values:
        return "-"
    median, least, most = statistics.median(values), min(values), max(values)
    return f"{median:.{digits}f} ({least:.{digits}f}-{most:.{digits}f})"


def table(report):
    rounds = report["rounds"]
    names = list(report["peak_kib"])
    rows = [["proxy", "CPU us/request"]]
    references = [name for name in ("nginx", "haproxy", "haproxy-tcp") if name in names]
    rows[0] += [f"x {name}" for name in references]
    rows[0] += ["requests/s", "p50 us", "p99 us", "busy", "new upstream", "peak MiB"]
    for name in names:
        of = [results[name] for results in rounds]
        row = [name, spread([it["cpu_us"] for it in of], 1)]
        for reference in references:
            # Within each round, so that a machine that slows down in between slows both.
            ratios = [it[name]["cpu_us"] / it[reference]["cpu_us"] for it in rounds]
            row.append("1" if name == reference else spread(ratios, 2))
        row.append(f"{statistics.median(it['rate'] for it in of):.0f}")
        row.append(f"{statistics.median(it['p50_us'] for it in of):.0f}")
        row.append(f"{statistics.median(it['p99_us'] for it in of):.0f}")
        row.append(f"{statistics.median(it['busy'] for it in of):.0%}")
        row.append(f"{max(it['upstream_connections'] for it in of)}")
        row.append(f"{report['peak_kib'][name] / 1024:.1f}")
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


# --- The command line -----------------------------------------------------------------------------


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--only", help="names, with commas between, in place of all proxies")
    parser.add_argument("--size", choices=SIZES, default="1k", help="of the reply")
    parser.add_argument("--connections", type=int, default=64, help="keep-alive clients")
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
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} has to be at least 1")
    return parser, options


def choose(parser, options):
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    binary = options.binary.resolve() if options.binary else target / "release" / "countersign"
    every = [Countersign(binary), Nginx(), Haproxy(), HaproxyTcp()]
    names = options.only.split(",") if options.only else [proxy.name for proxy in every]
    for name in names:
        if name not in [proxy.name for proxy in every]:
            parser.error(f"no such proxy: {name} (there are {', '.join(p.name for p in every)})")
    if "countersign" in names and not options.binary:
        build = ["cargo", "build", "--release", "--locked", "--no-default-features"]
        if subprocess.run(build, cwd=REPOSITORY, stdout=sys.stderr).returncode != 0:
            raise Failure("countersign does not build")
    chosen = []
    for proxy in every:
        if proxy.name in names:
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
    try:
        for tool in ("openssl", "nginx", "wrk"):
            if shutil.which(tool) is None:
                raise Failure(f"{tool} is not installed, and nothing works without it")
        proxies = choose(parser, options)
        if not proxies:
            raise Failure("nothing to measure")
        with tempfile.TemporaryDirectory(prefix="countersign-bench-") as folder:
            report = compare(proxies, options, pathlib.Path(folder))
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if options.json:
        json.dump(report, sys.stdout, indent=2)
        print()
    else:
        print(
            f"\n{report['size']} replies, {report['connections']} connections,"
            f" {options.rounds} rounds of {report['seconds']} s,"
            f" token of {report['token_length']} characters,"
            f" {'pinned' if report['pinned'] else 'not pinned'}:"
            " median (least-most)\n"
        )
        print(table(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
