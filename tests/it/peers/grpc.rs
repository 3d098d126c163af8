//! gRPC's own Python client and server, with the proxy between: plain HTTP/2 comes in, HTTP/2 over
//! TLS goes out, and a call's status comes back in the trailers.

use std::process::{Child, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign::emulator::Authority;

use super::{python, run};
use crate::support::upstream::NAME;
use crate::support::{Folder, Proxy, acme};

const SERVER: &str = r#"
import sys, grpc
from concurrent import futures
folder = sys.argv[1]
def token_of(context):
    found = [value for name, value in context.invocation_metadata() if name == "authorization"]
    if len(found) != 1 or not found[0].startswith("Bearer ey"):
        context.abort(grpc.StatusCode.UNAUTHENTICATED, f"{len(found)} credentials")
def unary(request, context):
    token_of(context)
    context.set_trailing_metadata((("x-after", "all"),))
    return b"hello " + request
def refuse(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "there is none")
def down(request, context):
    token_of(context)
    for number in range(int(request)):
        yield b"%d" % number
def both(requests, context):
    token_of(context)
    for request in requests:
        yield request[::-1]
def up(requests, context):
    token_of(context)
    return b"%d" % sum(len(request) for request in requests)
handlers = grpc.method_handlers_generic_handler("t.T", {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
    "Down": grpc.unary_stream_rpc_method_handler(down),
    "Both": grpc.stream_stream_rpc_method_handler(both),
    "Up": grpc.stream_unary_rpc_method_handler(up),
})
server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((handlers,))
read = lambda name: open(f"{folder}/{name}", "rb").read()
credentials = grpc.ssl_server_credentials([(read("server.key"), read("server.pem"))])
print(server.add_secure_port("127.0.0.1:0", credentials), flush=True)
server.start()
server.wait_for_termination()
"#;

const CLIENT: &str = r#"
import sys, grpc
channel = grpc.insecure_channel(sys.argv[1], options=[("grpc.enable_http_proxy", 0)])
assert channel.unary_unary("/t.T/Unary")(b"you", timeout=20) == b"hello you"
answer, call = channel.unary_unary("/t.T/Unary").with_call(b"x" * 1000000, timeout=20)
assert len(answer) == 1000006 and ("x-after", "all") in call.trailing_metadata()
try:
    channel.unary_unary("/t.T/Refuse")(b"", timeout=20)
    raise AssertionError("it was not refused")
except grpc.RpcError as error:
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "there is none"), error
assert [int(it) for it in channel.unary_stream("/t.T/Down")(b"1000", timeout=20)] == list(range(1000))
def words():
    for number in range(100):
        yield b"word%d" % number
assert list(channel.stream_stream("/t.T/Both")(words(), timeout=20)) == [it[::-1] for it in words()]
assert int(channel.stream_unary("/t.T/Up")((b"x" * 10000 for _ in range(100)), timeout=20)) == 10**6
futures = [channel.unary_unary("/t.T/Unary").future(b"%d" % n, timeout=20) for n in range(200)]
assert [it.result() for it in futures] == [b"hello %d" % n for n in range(200)]
"#;

/// Ends the server with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The server, and its port.
fn serve(folder: &Folder) -> (Server, u16) {
    let mut child = python()
        .args(["-c", SERVER])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python");
    let mut line = String::new();
    let mut output = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
    std::io::BufRead::read_line(&mut output, &mut line).expect("a port");
    (Server(child), line.trim().parse().expect("a port"))
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

#[test]
#[ignore = "needs Python's grpcio"]
fn a_grpc_client_calls_a_grpc_server_in_every_way_there_is() {
    let (folder, authority) = (Folder::new(), Authority::new().expect("an authority"));
    let (certificate, key) = authority
        .server_certificate(vec![NAME.to_owned()])
        .expect("a certificate");
    folder.write("server.pem", pem("CERTIFICATE", &certificate));
    folder.write("server.key", pem("PRIVATE KEY", key.secret_der()));
    let (_server, port) = serve(&folder);
    let text = acme(
        &folder,
        ([127, 0, 0, 1], port).into(),
        &authority.pem(),
        "protocol = \"http2\"\nroutes = [{ path = \"/\" }]",
    );
    let text = text.replace(
        "[listeners.local]",
        "[listeners.local]\nprotocols = [\"http2\"]",
    );
    let proxy = Proxy::start(&folder, &text);
    run(python().args(["-c", CLIENT, &proxy.address.to_string()]));
}
