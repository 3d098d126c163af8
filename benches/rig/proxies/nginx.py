"""nginx, `proxy_pass` with a fixed header."""

import shutil

from ..upstream import nginx_argv, nginx_main, nginx_temporaries


class Nginx:
    name = "nginx"
    prefix = "/acme"
    adds_token = True

    def missing(self):
        return None if shutil.which("nginx") else "nginx is not installed"

    def argv(self, folder, port, upstream, token, workload):
        log = f"{folder}/nginx-access.log" if workload.log else "off"
        (folder / "nginx.conf").write_text(
            nginx_main(folder, "nginx")
            + f"""
http {{
    {nginx_temporaries(folder, "nginx")}
    access_log {log};
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    # Passed on while it comes, as the others do.
    proxy_request_buffering off;
    upstream target {{
        server 127.0.0.1:{upstream.port};
        keepalive {max(64, 2 * workload.connections)};
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

    def environment(self):
        return {}
