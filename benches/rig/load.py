"""Who asks: wrk, or clients that hold a connection and ask nothing."""

import re
import resource
import socket

from .process import Failure, on_cpus, run


def wrk(port, workload, prefix, token, seconds, folder, cpus):
    """Loads a proxy for so many seconds."""
    argv = ["wrk", "-t1", f"-c{workload.connections}", f"-d{seconds}s", "--latency"]
    argv += ["--timeout", "10s"]
    if token:
        argv += ["-H", f"Authorization: Bearer {token}"]
    if workload.upload:
        script = folder / "upload.lua"
        script.write_text(
            f'wrk.method = "POST"\nwrk.body = string.rep("x", {workload.upload})\n'
        )
        argv += ["-s", script]
    with on_cpus(cpus):
        said = run(*argv, f"http://127.0.0.1:{port}{prefix}{workload.path}")
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


def hold(port, workload, prefix, token):
    """Clients that each had one answer and keep their connection."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < workload.connections + 100:
        raise Failure(f"{workload.connections} connections, and only {most} descriptors")
    request = f"GET {prefix}/1k HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    request += f"Authorization: Bearer {token}\r\n\r\n" if token else "\r\n"
    clients = []
    for _ in range(workload.connections):
        client = socket.create_connection(("127.0.0.1", port), timeout=5)
        client.sendall(request.encode())
        read = b""
        while b"\r\n\r\n" not in read or len(read.partition(b"\r\n\r\n")[2]) < 1024:
            piece = client.recv(65536)
            if not piece:
                raise Failure("a client was hung up on")
            read += piece
        if not read.startswith(b"HTTP/1.1 200"):
            raise Failure(f"a client was answered {read[:80]!r}")
        clients.append(client)
    return clients
