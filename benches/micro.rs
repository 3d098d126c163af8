//! What each step of a request costs by itself, without sockets and without TLS.
//!
//! `cargo bench` prints one line a step, `cargo bench -- sign` those with `sign` in their name. A
//! request that the pipeline consumes has to be made anew each time: that is the first line, and the
//! steps after it have it taken off.

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign::clock::Clock;
use countersign::config;
use countersign::credential::cell::View;
use countersign::credential::{Credential, call, renewal};
use countersign::dial::resolver;
use countersign::jws::{Algorithm, KeyKind, SigningKey, generate};
use countersign::normalize::{Normalized, normalize};
use countersign::outgoing::prepare;
use countersign::plan::Route;
use countersign::router::Table;
use countersign::secret::Secret;
use countersign::secret::store::Store;
use http::Request;
use http_body_util::Full;

/// How long a measurement takes, and how many there are of each step: the least one is printed, for
/// whatever disturbs makes it longer.
const SPAN: Duration = Duration::from_millis(100);
const TIMES: usize = 7;

fn main() {
    // Cargo says `--bench`; what is left names steps.
    let wanted = std::env::args().skip(1).find(|it| !it.starts_with('-'));
    let wanted = wanted.unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .expect("a runtime");
    let print = |name: &str, nanoseconds: f64| println!("{name:44} {nanoseconds:>10.0} ns");
    let is_wanted = |name: &str| name.contains(&wanted);

    if is_wanted("pipeline") {
        pipeline(&runtime, &print);
    }
    if is_wanted("sign") {
        sign(&print);
    }
}

/// The least time of a call, in nanoseconds.
#[expect(
    clippy::disallowed_methods,
    reason = "only `clock` reads a clock, but here it is what is asked for"
)]
fn time(mut call: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..TIMES {
        let (began, mut calls) = (Instant::now(), 0_u32);
        while began.elapsed() < SPAN {
            for _ in 0..64 {
                call();
            }
            calls += 64;
        }
        best = best.min(began.elapsed().as_nanos() as f64 / f64::from(calls));
    }
    best
}

type Body = Full<Bytes>;

/// What a script sends.
fn request(path: &str) -> Request<Body> {
    Request::get(path)
        .header("host", "localhost:8080")
        .header("user-agent", "curl/8.14.1")
        .header("accept", "*/*")
        .header("accept-encoding", "gzip, br")
        .header("x-request-id", "8c2f3d5e-6a7b-4c1d-9e0f-1a2b3c4d5e6f")
        .header("connection", "keep-alive")
        .body(Body::default())
        .expect("a request")
}

/// A plan's parts, of a configuration with so many targets.
struct Parts {
    normalize: countersign::normalize::Config,
    routes: Table<Route>,
    credential: Arc<Credential>,
}

fn parts(targets: usize, sign: &str) -> Parts {
    let key = generate(KeyKind::EcP521).private_pem;
    let mut text = format!(
        r#"
[listeners.local]
address = "127.0.0.1:8080"

[credentials.acme.vdr]
instance = "acme"
user = 123
issuer = "an.issuer.text"
client-id = "a-client"
key = {{ file = "key.pem" }}
sign = "{sign}"

[targets.acme]
"#
    );
    for number in 1..targets {
        text += &format!(
            "[targets.t{number}]\nurl = \"https://t{number}.example\"\ncredential = \"acme\"\n"
        );
    }
    let key = String::from_utf8(key.expose().to_vec()).expect("PEM");
    let store = Store::Memory([(PathBuf::from("key.pem"), key)].into());
    let loaded = config::parse("micro", &text, &PathBuf::new(), &store)
        .unwrap_or_else(|problems| panic!("{problems}"));
    let config = loaded.config;
    let credential = config.credentials.into_iter().next().expect("one");
    Parts {
        normalize: config.normalize,
        routes: config.routes,
        credential: Arc::new(Credential::new(credential, Clock::system())),
    }
}

fn normalized(path: &str, parts: &Parts) -> Normalized<Body> {
    normalize(request(path), &parts.normalize).expect("it has one meaning")
}

/// The stages one after the other, each with all before it taken off.
fn pipeline(runtime: &tokio::runtime::LocalRuntime, print: &impl Fn(&str, f64)) {
    let cached = parts(1, "ahead");
    let path = "/acme/api/v2/vulnerabilities?page=2";
    let made = time(|| drop(black_box(request(path))));
    print("pipeline: a request, made", made);
    let normal = time(|| drop(black_box(normalized(path, &cached))));
    print("pipeline: normalize", normal - made);
    for count in [1, 100] {
        let parts = parts(count, "ahead");
        let request = normalized(path, &parts);
        let chosen = time(|| drop(black_box(parts.routes.select(0, &request))));
        print(&format!("pipeline: choose of {count} routes"), chosen);
    }
    let route = cached
        .routes
        .select(0, &normalized(path, &cached))
        .expect("a route");
    let ready = || prepare(normalized(path, &cached), &route.outgoing).expect("it may leave");
    let prepared = time(|| drop(black_box(ready())));
    print("pipeline: prepare", prepared - normal);

    let view = minted(runtime, &cached.credential);
    let place = |credential: &Credential, view: &std::cell::RefCell<View>| {
        let placed = credential.place(ready(), view, Duration::from_secs(5));
        // Ready at once: nothing has to be waited for.
        drop(black_box(runtime.block_on(placed)));
    };
    let idle = time(|| runtime.block_on(async { drop(black_box(ready())) }));
    let placed = time(|| place(&cached.credential, &view));
    print("pipeline: place a token that is there", placed - idle);
    let each = parts(1, "each-request");
    let view = each.credential.view();
    let signed = time(|| place(&each.credential, &view));
    print("pipeline: place one signed for it (ES512)", signed - idle);
}

/// Waits for the first token.
fn minted(
    runtime: &tokio::runtime::LocalRuntime,
    credential: &Arc<Credential>,
) -> std::cell::RefCell<View> {
    let (resolver, _lookups) = resolver::channel(resolver::Config::default());
    let tools = call::Tools {
        clock: Clock::system(),
        resolver,
    };
    runtime.block_on(async {
        let keeping = tokio::task::spawn_local(renewal::keep(Arc::clone(credential), tools));
        while credential.state().token.is_none() {
            tokio::task::yield_now().await;
        }
        keeping.abort();
    });
    credential.view()
}

/// One signature of each kind over what is signed of an ordinary token.
fn sign(print: &impl Fn(&str, f64)) {
    let input = vec![b'x'; 280];
    let kinds = [
        (Algorithm::Es512, Some(KeyKind::EcP521)),
        (Algorithm::Es256, Some(KeyKind::EcP256)),
        (Algorithm::EdDsa, Some(KeyKind::Ed25519)),
        (Algorithm::Rs256, Some(KeyKind::Rsa2048)),
        (Algorithm::Hs256, None),
    ];
    for (algorithm, kind) in kinds {
        let secret = kind.map_or_else(
            || Secret::from("a shared secret of more than 32 bytes".to_owned()),
            |kind| generate(kind).private_pem,
        );
        let key = SigningKey::parse(algorithm, &secret).expect("a key");
        let took = time(|| drop(black_box(key.sign(&input))));
        print(&format!("sign: {algorithm}"), took);
    }
}
