//! The life of a token that somebody else gives out, seen from the token endpoint and the target.
//!
//! Minutes pass by a manual clock. What a test waits for it looks for until it is there.

mod answers;
mod assertions;
mod outages;
mod refused;
mod renewal;
mod secrets;
mod vendors;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use countersign::clock::{Clock, Hand, Moment};
use countersign::credential::Credential;
use countersign::credential::cell::{Failure, State, Token};
use countersign::emulator::Authority;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::support::{Folder, Proxy, Upstream, get};

const START: Moment = Moment {
    wall: Duration::from_secs(1_900_000_000),
    boot: Duration::from_secs(1000),
};

/// What a token endpoint does with a call.
enum Say {
    /// Writes this and closes.
    This(Vec<u8>),
    /// Says nothing and keeps the connection.
    Nothing,
    /// Writes this, a byte every so often.
    Slowly(Vec<u8>),
    /// Writes the first, then the second again and again.
    Forever(Vec<u8>, Vec<u8>),
    /// Closes without a word.
    Hangup,
}

type Script = Box<dyn FnMut(usize, &str) -> Say + Send>;

/// A token endpoint that does what a test says.
struct Endpoint {
    upstream: Upstream,
    script: Arc<Mutex<Script>>,
}

impl Endpoint {
    /// One that is told the number of the call, from 0, and the request.
    fn with(script: impl FnMut(usize, &str) -> Say + Send + 'static) -> Self {
        Self::named(crate::support::upstream::NAME, script)
    }

    /// The same with another name in its certificate.
    fn named(name: &str, script: impl FnMut(usize, &str) -> Say + Send + 'static) -> Self {
        let authority = Authority::new().expect("an authority");
        let (certificate, key) = authority
            .server_certificate(vec![name.to_owned()])
            .expect("a certificate");
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(script)));
        let (held, count) = (Arc::clone(&script), Mutex::new(0));
        let chain = vec![certificate];
        let upstream =
            Upstream::with_certificate(authority.pem(), chain, key, move |conversation| {
                let Some(request) = conversation.read_request() else {
                    return;
                };
                let number = {
                    let mut count = lock(&count);
                    *count += 1;
                    *count - 1
                };
                let say = lock(&held)(number, &request);
                match say {
                    Say::This(bytes) => {
                        conversation.write(bytes);
                        conversation.close();
                    }
                    Say::Nothing => drop(conversation.read_request()),
                    Say::Slowly(bytes) => {
                        for byte in bytes {
                            if !conversation.write([byte]) {
                                return;
                            }
                            pause(Duration::from_millis(100));
                        }
                    }
                    Say::Forever(first, then) => {
                        let mut goes_on = conversation.write(first);
                        while goes_on {
                            goes_on = conversation.write(&then);
                        }
                    }
                    Say::Hangup => {}
                }
            });
        Self { upstream, script }
    }

    /// One that gives out `token-0`, `token-1` and so on, for this many seconds each.
    fn giving(seconds: u64) -> Self {
        Self::with(move |number, _| token(number, seconds))
    }

    /// Does something else from now on.
    fn now(&self, script: impl FnMut(usize, &str) -> Say + Send + 'static) {
        *lock(&self.script) = Box::new(script);
    }

    fn calls(&self) -> usize {
        self.upstream.requests().len()
    }

    /// The parameters of a call.
    fn form(&self, call: usize) -> Vec<(String, String)> {
        let request = self.upstream.requests().remove(call);
        let (_, body) = request.split_once("\r\n\r\n").expect("a body");
        body.split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn token(number: usize, seconds: u64) -> Say {
    let body = format!(
        r#"{{"access_token":"token-{number}","token_type":"Bearer","expires_in":{seconds}}}"#
    );
    Say::This(ok(body))
}

fn ok(body: impl AsRef<[u8]>) -> Vec<u8> {
    answer("200 OK", "", body)
}

fn answer(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend(body);
    bytes
}

/// A target that takes some tokens and refuses the others with 401.
fn target(is_good: impl Fn(&str) -> bool + Send + Sync + 'static) -> Upstream {
    Upstream::with(move |conversation| {
        while let Some(request) = conversation.read_request() {
            let reply = if is_good(bearer(&request)) {
                answer("200 OK", "", "here you are")
            } else {
                answer("401 Unauthorized", "WWW-Authenticate: Bearer\r\n", "who?")
            };
            if !conversation.write(reply) {
                return;
            }
        }
    })
}

/// The token on a request.
fn bearer(request: &str) -> &str {
    let (_, rest) = request
        .split_once("\r\nauthorization: Bearer ")
        .expect("a token");
    rest.split("\r\n").next().expect("a line")
}

/// The tokens that a target saw, in order.
fn seen(target: &Upstream) -> Vec<String> {
    let requests = target.requests();
    requests.iter().map(|it| bearer(it).to_owned()).collect()
}

/// A proxy whose target `api` gets its tokens from an endpoint. `extra` goes into the credential.
fn exchange(
    endpoint: SocketAddr,
    endpoint_ca: &str,
    target: &Upstream,
    extra: &str,
) -> (Folder, String) {
    let folder = Folder::new();
    folder.write("idp.pem", endpoint_ca);
    folder.write("ca.pem", &target.ca_pem);
    folder.write("client-secret", "what the client knows");
    let text = format!(
        r#"
[listeners.local]
address = "127.0.0.1:0"

[credentials.api.exchange]
url = "https://upstream.example/token"
connect = "{endpoint}"
tls.ca = "idp.pem"
client-id = "a-client"
client-secret = {{ file = "client-secret" }}
client-authentication = "post"
{extra}

[targets.api]
url = "https://upstream.example"
connect = "{}"
tls.ca = "ca.pem"
timeouts.connect = "1m"
timeouts.tls = "1m"
timeouts.credential = "1m"
"#,
        target.address
    );
    (folder, text)
}

/// A proxy, and all that a test looks at or moves.
struct Setting {
    proxy: Proxy,
    credential: Arc<Credential>,
    hand: Hand,
    folder: Folder,
}

impl Setting {
    fn new(endpoint: &Endpoint, target: &Upstream, extra: &str) -> Self {
        let upstream = &endpoint.upstream;
        let (folder, text) = exchange(upstream.address, &upstream.ca_pem, target, extra);
        Self::of(folder, &text)
    }

    fn of(folder: Folder, text: &str) -> Self {
        let (clock, hand) = Clock::manual(START);
        let proxy = Proxy::start_with(&folder, text, clock);
        Self {
            credential: proxy.credential("api"),
            proxy,
            hand,
            folder,
        }
    }

    fn get(&self) -> crate::support::caller::Answer {
        get(self.proxy.address, "/api/x")
    }

    fn pass(&self, seconds: f64) {
        self.hand.advance(Duration::from_secs_f64(seconds));
    }

    /// Waits until the credential's state is as wanted, and gives what was looked for in it.
    fn wait<T>(&self, what: &str, look: impl Fn(&State) -> Option<T>) -> T {
        wait_for(what, || look(&self.credential.state()))
    }

    fn token(&self) -> Arc<Token> {
        self.wait("a token", |it| it.token.clone())
    }

    fn failure(&self) -> Failure {
        self.wait("a failure", |it| it.failure.clone())
    }

    /// Has a token renewed that this one is not.
    fn next_token(&self, known: &Arc<Token>) -> Arc<Token> {
        self.wait("another token", |it| {
            it.token.clone().filter(|it| !Arc::ptr_eq(it, known))
        })
    }

    /// Lets the time pass until the next attempt is due, and waits for what comes of it: whether
    /// it brought a token.
    fn next_attempt(&self, failure: &Failure, now: Moment) -> (Moment, bool) {
        let wait = failure.until.left(now);
        self.hand.advance(wait);
        let succeeded = self.wait("the next attempt", |it| match &it.failure {
            None if it.token.is_some() => Some(true),
            Some(next) if next.until != failure.until => Some(false),
            _ => None,
        });
        (now.after(wait), succeeded)
    }
}

/// Looks until there is something to see.
fn wait_for<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            start.elapsed() < crate::support::caller::PATIENCE,
            "there never was {what}"
        );
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// Waits until something is so.
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    wait_for(what, || is_so().then_some(()));
}

/// Sends a request on many connections at once, and gives the answers' status lines.
fn flood(address: SocketAddr, count: usize, request: &str) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..count {
            let request = request.to_owned();
            callers.spawn(async move {
                let mut stream = tokio::net::TcpStream::connect(address).await?;
                stream.write_all(request.as_bytes()).await?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await?;
                Ok::<_, std::io::Error>(answer.lines().next().unwrap_or_default().to_owned())
            });
        }
        let answers = callers.join_all().await;
        answers
            .into_iter()
            .map(|it| it.expect("an answer"))
            .collect()
    })
}

/// A part of a JWT.
fn part(token: &str, index: usize) -> Value {
    use base64::Engine as _;
    let part = token.split('.').nth(index).expect("three parts");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(part)
        .expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// A JWT that nobody signed, with these claims.
fn unsigned(claims: &Value) -> String {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    format!(
        "{}.{}.{}",
        encode(r#"{"alg":"none"}"#),
        encode(&claims.to_string()),
        encode("no signature")
    )
}

/// A time as `Date` has it, without its zone.
fn http_date(unix: u64) -> String {
    let time = std::time::UNIX_EPOCH + Duration::from_secs(unix);
    let text = httpdate::fmt_http_date(time);
    text.trim_end_matches(" GMT").to_owned()
}

/// Whether a token is signed by the private half of this key on P-521.
pub fn is_signed_by(token: &str, public_pem: &str) -> bool {
    use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED, UnparsedPublicKey};
    use base64::Engine as _;
    let Some((signed, signature)) = token.rsplit_once('.') else {
        return false;
    };
    let signature = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(signature);
    let der: String = public_pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let key = base64::engine::general_purpose::STANDARD.decode(der);
    UnparsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, key.expect("base64"))
        .verify(signed.as_bytes(), &signature.expect("base64url"))
        .is_ok()
}

/// Lets real time pass, where nothing happens that could be waited for.
fn pause(span: Duration) {
    let start = Instant::now();
    while start.elapsed() < span {
        thread::park_timeout(span.saturating_sub(start.elapsed()));
    }
}
