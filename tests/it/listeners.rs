//! Where callers come in, and who of them is let in at all.

mod admission;
mod inherited;
mod proxy_protocol;
mod strangers;
mod tls;
mod unix;

use std::net::SocketAddr;

use crate::support::{Caller, Folder, Proxy, Upstream, acme};

const REQUEST: &str = "GET /acme HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A configuration with the target `acme` whose listener has these keys.
fn configuration(folder: &Folder, upstream: &Upstream, listener: &str, target: &str) -> String {
    acme(folder, upstream.address, &upstream.ca_pem, target)
        .replace("address = \"127.0.0.1:0\"", listener)
}

/// A proxy whose listener has these keys besides an address, and its upstream.
fn proxy_with(listener: &str, target: &str) -> (Proxy, Upstream, Folder) {
    let folder = Folder::new();
    start(
        folder,
        &format!("address = \"127.0.0.1:0\"\n{listener}"),
        target,
    )
}

fn start(folder: Folder, listener: &str, target: &str) -> (Proxy, Upstream, Folder) {
    let upstream = Upstream::saying("hello");
    let text = configuration(&folder, &upstream, listener, target);
    (Proxy::start(&folder, &text), upstream, folder)
}

/// Whether a connection is closed without a word, whatever is sent over it.
fn is_closed_to(address: SocketAddr, bytes: impl AsRef<[u8]>) -> bool {
    use std::io::Write;
    let mut caller = Caller::connect(address);
    // It may be closed before this.
    let mut stream = caller.stream();
    let _ = stream.write_all(bytes.as_ref());
    caller.is_closed()
}
