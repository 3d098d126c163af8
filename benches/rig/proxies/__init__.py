"""The proxies, each with settings as equal as their configuration allows.

Each takes plain HTTP on loopback, cuts `/acme` off the path, puts a bearer token on, and forwards to
the upstream over TLS, verified, on kept connections; one worker, no compression, no cache.
"""

from .caddy import Caddy
from .countersign import Countersign, CountersignSigning
from .envoy import Envoy
from .haproxy import Haproxy, HaproxyTcp
from .nginx import Nginx


def every(binary, workload):
    """Those that can do the workload. countersign is the first: the others get a token as long."""
    proxies = [Countersign(binary)]
    if workload.signs:
        proxies.append(CountersignSigning(binary))
    # nginx speaks HTTP/1 alone to upstreams, and bytes that nobody looks at have no version.
    if not workload.upstream:
        proxies += [Nginx(), Haproxy(), HaproxyTcp()]
    else:
        proxies.append(Haproxy())
    return [*proxies, Envoy(), Caddy()]
