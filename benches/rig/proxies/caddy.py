"""Caddy, `reverse_proxy` with a fixed header."""

import shutil


class Caddy:
    name = "caddy"
    prefix = "/acme"
    adds_token = True

    def missing(self):
        return None if shutil.which("caddy") else "caddy is not installed"

    def argv(self, folder, port, upstream, token, workload):
        log = "log {\n        output stdout\n    }" if workload.log else ""
        versions = "2" if workload.upstream else "1.1"
        path = folder / "Caddyfile"
        path.write_text(
            f"""
{{
    admin off
    auto_https off
}}
http://127.0.0.1:{port} {{
    {log}
    handle_path /acme/* {{
        reverse_proxy https://127.0.0.1:{upstream.port} {{
            header_up Host localhost:{upstream.port}
            header_up Authorization "Bearer {token}"
            transport http {{
                tls_server_name localhost
                tls_trusted_ca_certs {folder}/ca.pem
                versions {versions}
                keepalive 1h
                keepalive_idle_conns_per_host {max(64, 2 * workload.connections)}
                compression off
            }}
        }}
    }}
}}
"""
        )
        return ["caddy", "run", "--adapter", "caddyfile", "--config", str(path)]

    def environment(self):
        # One thread for Go's scheduler, as the others have one worker.
        return {"GOMAXPROCS": "1", "HOME": "/tmp"}
