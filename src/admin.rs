//! What an operator sees of the running process, on a listener of its own and on the control
//! thread, so that no request ever waits for it.
//!
//! | endpoint | what it says or does |
//! |---|---|
//! | `GET /livez` | 200: the process is there |
//! | `GET /readyz` | 200 once every credential has had its first attempt; 503 with the reasons before, and while the process ends |
//! | `GET /metrics` | Prometheus' text format, version 0.0.4 |
//! | `GET /status` | JSON: version, listeners, and how each target's members and each credential are doing |
//! | `POST /reload` | reads the configuration again |
//! | `POST /renew/NAME` | gets the credential's next token now, whatever the wait; 200 with how it went |
//!
//! It is held to what listeners are held to: the Host must be one of ours, and a browser's
//! cross-site request is refused. No token, key or secret is in any answer.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Method, Request, header};
use hyper::body::Incoming;
use serde_json::json;
use tokio::task::{spawn_local, yield_now};
use tokio::time::{sleep, timeout};

use crate::clock::{Clock, Moment};
use crate::credential::Credential;
use crate::host::{self, Pattern};
use crate::listener::bind::Acceptor;
use crate::listener::{self, Address, BindError, Bound};
use crate::metrics::Metrics;
use crate::plan::Plan;
use crate::shutdown::Drain;
use crate::unwind;

mod answer;
mod exposition;
mod process;
mod readiness;
mod status;
mod visits;

use answer::{Answer, json, problem, text};
use visits::Visits;

pub use readiness::Ready;

/// Where the admin pages are, and what they ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where they listen.
    pub address: Address,
    /// The names that a `Host` may have.
    pub hosts: Vec<Pattern>,
    /// What readiness asks of each credential.
    pub ready: Ready,
}

/// What has the configuration read again.
pub trait Reload: Send {
    /// Reads it, and says what has changed or what is wrong.
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<String, String>>>>;

    /// How many reloads took effect, and how many changed nothing because of a fault.
    fn counts(&self) -> (u64, u64);

    /// Whether the last one was refused: what is in force is not what the file says.
    fn is_refused(&self) -> bool;
}

/// What the pages look at.
pub struct Admin {
    /// What is asked for.
    pub config: Config,
    /// The plan in force.
    pub plans: Arc<ArcSwap<Plan>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub clock: Clock,
    /// When the process started.
    pub started: Moment,
    /// Knows of the end.
    pub drain: Drain,
    /// What reloads.
    pub reload: Box<dyn Reload>,
}

/// How long an operator waits for a renewal; a token endpoint has 5 s to answer, as a rule.
const RENEWAL: Duration = Duration::from_secs(10);

/// How long to wait after a connection could not be accepted. Out of descriptors, as a rule: they come
/// back when connections end.
const RETRY: Duration = Duration::from_millis(50);

/// Listens where the pages are to be. A runtime with I/O must be around.
///
/// # Errors
///
/// [`BindError`] with the address.
pub fn bind(config: &Config) -> Result<Bound, BindError> {
    listener::bind(&listener::Config::at("admin", config.address.clone()), 1)
}

/// Serves the pages for as long as the control thread runs.
///
/// # Errors
///
/// If the runtime does not take the socket.
pub async fn serve(bound: Bound, admin: Rc<Admin>) -> io::Result<Infallible> {
    // The socket's file goes with it.
    let Bound {
        mut sockets,
        file: _file,
        ..
    } = bound;
    let acceptor = Acceptor::new(sockets.pop().expect("one was asked for"))?;
    let visits = Visits::default();
    unwind::again("the admin pages", || receive(&acceptor, &visits, &admin)).await
}

async fn receive(
    acceptor: &Acceptor,
    visits: &Visits,
    admin: &Rc<Admin>,
) -> io::Result<Infallible> {
    loop {
        let Ok(socket) = acceptor.accept().await else {
            sleep(RETRY).await;
            continue;
        };
        // Whoever is gone already has no address any more, and asks for nothing.
        let Ok(local) = socket.local() else { continue };
        let admin = Rc::clone(admin);
        visits.begin(socket, move |request| {
            let admin = Rc::clone(&admin);
            async move { admin.answer(&request, local).await }
        });
        // Whatever has been asked already is answered before others come who may need the room.
        yield_now().await;
    }
}

impl Admin {
    async fn answer(&self, request: &Request<Incoming>, local: Option<IpAddr>) -> Answer {
        if let Err(refusal) = self.admit(request, local) {
            return refusal;
        }
        let path = request.uri().path();
        let renewed = path.strip_prefix("/renew/");
        let is_change = path == "/reload" || renewed.is_some();
        match *request.method() {
            Method::POST if is_change => {}
            Method::GET | Method::HEAD if !is_change => {}
            _ if !is_change => return answer::method_refused("GET, HEAD"),
            _ => return answer::method_refused("POST"),
        }
        match path {
            "/livez" => text(200, "ok\n"),
            "/readyz" => self.ready(),
            "/metrics" => answer::exposition(exposition::of(self)),
            "/status" => json(200, &status::of(self)),
            "/reload" => self.reload().await,
            _ => match renewed {
                Some(name) => self.renew(&decoded(name)).await,
                None => problem(
                    404,
                    "no-page",
                    "there are /livez, /readyz, /metrics, /status, /reload and /renew/NAME",
                ),
            },
        }
    }

    /// The same that listeners ask for. Nobody but this user's processes can connect to a Unix
    /// socket, and no browser.
    fn admit(&self, request: &Request<Incoming>, local: Option<IpAddr>) -> Result<(), Answer> {
        let headers = request.headers();
        let mut hosts = headers.get_all(header::HOST).iter();
        let name = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().ok().and_then(host::name_of),
            // HTTP/1.0 comes from no browser.
            (None, _) if request.version() == http::Version::HTTP_10 => Some(""),
            _ => None,
        };
        let Some(name) = name.filter(|_| request.uri().authority().is_none()) else {
            let detail = "a request here names one host, in its Host header";
            return Err(problem(400, "bad-request", detail));
        };
        if let Some(local) = local
            && !name.is_empty()
            && !self.is_known(name, local)
        {
            let detail = format!(
                "`{name}` is not a name of these pages; if it should be, list it in admin.hosts"
            );
            return Err(problem(403, "forbidden-host", &detail));
        }
        if !listener::is_same_site(headers) {
            let detail = "a browser sent this for another site's page";
            return Err(problem(403, "cross-site", detail));
        }
        Ok(())
    }

    fn is_known(&self, name: &str, local: IpAddr) -> bool {
        self.config.hosts.iter().any(|it| it.matches(name))
            || host::literal(name).is_some_and(|it| it.to_canonical() == local.to_canonical())
    }

    fn ready(&self) -> Answer {
        let readiness = readiness::of(self);
        json(if readiness.is_ready { 200 } else { 503 }, &readiness.shown)
    }

    async fn reload(&self) -> Answer {
        match self.reload.reload().await {
            Ok(report) => json(200, &json!({ "reloaded": true, "report": report })),
            Err(faults) => problem(422, "reload-refused", &faults),
        }
    }

    /// Renews every credential of that name: a route's variants have the same.
    async fn renew(&self, name: &str) -> Answer {
        let plan = self.plans.load_full();
        let named: Vec<&Arc<Credential>> = plan
            .credentials
            .iter()
            .filter(|it| it.name() == name)
            .collect();
        if named.is_empty() {
            let detail = format!("there is no credential `{name}`");
            return problem(404, "no-credential", &detail);
        }
        tracing::info!(credential = name, "an operator has it renewed");
        let attempts: Vec<_> = named
            .iter()
            .map(|credential| {
                let credential = Arc::clone(credential);
                spawn_local(async move { timeout(RENEWAL, credential.renew_now()).await.is_ok() })
            })
            .collect();
        let mut is_over = true;
        for attempt in attempts {
            is_over &= attempt.await.unwrap_or(false);
        }
        let reports: Vec<_> = named.iter().map(|it| it.report()).collect();
        let status = match (is_over, reports.iter().all(|it| it.error.is_none())) {
            (false, _) => 202,
            (true, true) => 200,
            (true, false) => 503,
        };
        let shown: Vec<_> = reports
            .iter()
            .map(|it| status::credential(it, self))
            .collect();
        json(status, &json!({ "credentials": shown }))
    }
}

/// Undoes percent-encoding, as far as it is one.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let pair = tail.get(..2).and_then(|it| std::str::from_utf8(it).ok());
        match pair.and_then(|it| u8::from_str_radix(it, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
