"""What is asked of the proxies: one workload a run, the same for all of them."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Workload:
    """One kind of load."""

    name: str
    says: str
    path: str = "/1k"
    connections: int = 64
    # So many bytes are posted; a GET without a body if none.
    upload: int = 0
    # What the proxies speak to the upstream: nothing for HTTP/1.1, or nginx's word for HTTP/2.
    upstream: str = ""
    # Whether each request is logged.
    log: bool = False
    # Whether countersign runs once more with a token signed for each request.
    signs: bool = False
    # Whether clients only hold their connections, and memory is what counts.
    idle: bool = False

    @property
    def protocol(self):
        """What the upstream calls the protocol that it is spoken to in."""
        return "HTTP/2.0" if self.upstream else "HTTP/1.1"


WORKLOADS = {
    it.name: it
    for it in (
        Workload("small", "1 KiB replies, 64 clients"),
        Workload("one", "1 KiB replies, 1 client", connections=1),
        Workload("thousand", "1 KiB replies, 1,000 clients", connections=1000),
        Workload("large", "1 MiB replies, 64 clients", path="/1m"),
        Workload("upload", "64 KiB uploads, 64 clients", path="/upload", upload=64 * 1024),
        Workload("signed", "1 KiB replies, 64 clients, ES512 for each request", signs=True),
        Workload("http2", "1 KiB replies, 64 clients, HTTP/2 to the upstream", upstream="http2"),
        Workload("logged", "1 KiB replies, 64 clients, every request logged", log=True),
        Workload("idle", "clients that hold a connection and ask nothing", connections=4000, idle=True),
    )
}
