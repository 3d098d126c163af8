"""countersign, with a token that is renewed ahead of time, and with one signed for each request."""

from ..process import run


class Countersign:
    name = "countersign"
    prefix = "/acme"
    adds_token = True
    sign = "ahead"

    def __init__(self, binary):
        self.binary = binary

    def missing(self):
        return None if self.binary.exists() else f"{self.binary} does not exist"

    def argv(self, folder, port, upstream, _token, workload):
        key = folder / f"{self.name}-key.pem"
        run("openssl", "ecparam", "-name", "secp521r1", "-genkey", "-noout", "-out", key)
        key.chmod(0o600)
        config = folder / f"{self.name}.toml"
        config.write_text(
            f"""
workers = 1
log = {{ requests = {"true" if workload.log else "false"} }}

[listeners.local]
address = "127.0.0.1:{port}"

[credentials.acme.vdr]
instance  = "acme"
user      = 123
issuer    = "countersign-bench-issuer"
client-id = "countersign-bench-client"
key       = {{ file = "{key.name}" }}
sign      = "{self.sign}"

[targets.acme]
url = "https://localhost:{upstream.port}"
routes = [{{ path = "/acme" }}]
{'protocol = "http2"' if workload.upstream else ""}

[targets.acme.tls]
ca = "ca.pem"
"""
        )
        return [str(self.binary), "serve", "--config", str(config)]

    def environment(self):
        return {}


class CountersignSigning(Countersign):
    """A signature of its own for each request."""

    name = "countersign-es512"
    sign = "each-request"
