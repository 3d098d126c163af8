"""HAProxy, looking at HTTP, and passing bytes on without looking at them."""

import shutil


class Haproxy:
    name = "haproxy"
    prefix = "/acme"
    adds_token = True

    def missing(self):
        return None if shutil.which("haproxy") else "haproxy is not installed"

    def argv(self, folder, port, upstream, token, workload):
        log = "log stdout format raw local0\n    option httplog" if workload.log else ""
        alpn = "alpn h2" if workload.upstream else ""
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
    {log}

frontend local
    bind 127.0.0.1:{port} backlog 4096
    use_backend acme if {{ path_beg /acme/ }}

backend acme
    http-request set-path %[path,bytes(5)]
    http-request set-header Host localhost:{upstream.port}
    http-request set-header Authorization "Bearer {token}"
    server target {haproxy_server(folder, upstream)} {alpn}
""",
        )

    def environment(self):
        return {}


class HaproxyTcp(Haproxy):
    """The floor: sockets and TLS, and not one byte of HTTP looked at."""

    name = "haproxy-tcp"
    prefix = ""
    adds_token = False

    def argv(self, folder, port, upstream, _token, workload):
        log = "log stdout format raw local0\n    option tcplog" if workload.log else ""
        return haproxy_argv(
            folder,
            self.name,
            f"""
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    {log}

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
