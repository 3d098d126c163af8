//! Node's own WebSocket client.

use std::process::Command;

use super::wrote;
use crate::support::{Upstream, proxy_to};
use crate::upgrades::echo;

const SCRIPT: &str = "
const socket = new WebSocket(process.argv[1], ['chat', 'talk']);
const large = 'x'.repeat(1 << 20);
const said = ['hello', large, '', 'bye'];
let at = 0;
socket.onopen = () => socket.send(said[0]);
socket.onmessage = (event) => {
    if (event.data !== said[at]) throw new Error('not what was sent');
    at += 1;
    if (at < said.length) socket.send(said[at]);
};
socket.onerror = (event) => { console.log('error', event.message); process.exit(1); };
socket.onclose = () => console.log('heard', at, socket.protocol);
";

#[test]
#[ignore = "needs Node 22, or 20.10 with its experimental client"]
fn nodes_websocket_client_is_echoed() {
    let upstream = Upstream::with(echo);
    let (proxy, _folder) = proxy_to(&upstream, "");
    let url = format!("ws://{}/acme/live", proxy.address);
    let version = wrote(Command::new("node").arg("--version"));
    let mut node = Command::new("node");
    if version.starts_with("v20.") {
        node.arg("--experimental-websocket");
    }
    // The server closes in answer to `bye`, without a closing frame: some clients call that an error.
    node.args(["-e", SCRIPT, &url]);
    let output = node.output().expect("node");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("heard 4 chat"), "{said}{wrong}");
}
