"""The server that all proxies forward to, and its certificates."""

import os
import re

from .process import Process, free_port, get, run, wait_until

SIZES = {"1k": 1024, "1m": 1024 * 1024}


class Upstream:
    """nginx behind TLS 1.3. It answers 401 to whoever has no bearer token, which wrk reports."""

    def __init__(self, folder, workload, cpus, stack):
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
        listen 127.0.0.1:{self.port} ssl {workload.upstream} backlog=4096;
        ssl_certificate {folder}/upstream.pem;
        ssl_certificate_key {folder}/upstream.key;
        ssl_protocols TLSv1.3;
        ssl_session_cache shared:tls:4m;
        root {documents};
        client_max_body_size 0;
        http2_max_concurrent_streams 1000;
        if ($http_authorization !~ "^Bearer .") {{ return 401; }}
        # Reads the body and keeps none of it.
        location = /upload {{ return 200 "got it"; }}
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
