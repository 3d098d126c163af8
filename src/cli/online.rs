//! `countersign check --online`: whether the targets can be reached and the credentials get tokens.
//!
//! Everything is tried once and at the same time, and no listener is opened. A token that an
//! endpoint gave is good; one that nobody has looked at yet is shown to the target.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Collected, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

use super::check::{self, count};
use super::trouble::{self, Trouble};
use crate::app::Config;
use crate::clock::Clock;
use crate::config::preset::Guide;
use crate::config::{self, Loaded};
use crate::credential::answer::{harmless, said};
use crate::credential::call::{Reply, Tools};
use crate::credential::{Credential, Minted};
use crate::dial::{Endpoint, dial, resolver};
use crate::outgoing::Place;
use crate::secret::store::Store;

/// How long one trial may take. The whole is done in little more, as they run side by side.
const PATIENCE: Duration = Duration::from_secs(12);

/// How long a target may take to tell the time, which is of no great matter.
const GLANCE: Duration = Duration::from_secs(3);

/// How much of a refusal is read.
const READ: usize = 64 * 1024;

/// Clocks that differ by no more are taken to agree: `Date` counts whole seconds and has its way to
/// go.
const AGREES: i64 = 2;

/// From here on the other side's clock is not believed, and ours is probably wrong.
const BELIEVED: i64 = 600;

/// What came of a trial.
struct Report {
    about: String,
    outcome: Result<String, Trouble>,
}

/// Tries everything and says what came of it.
pub(super) fn run(path: &Path) -> ExitCode {
    let loaded = match config::load(path, &Store::Disk) {
        Ok(loaded) => loaded,
        Err(problems) => return check::refuse(&problems, path),
    };
    eprint!("{}", loaded.warnings);
    let reports = match trouble::block_on(try_all(loaded)) {
        Ok(reports) => reports,
        Err(error) => return super::fail(error),
    };
    let text: String = reports.iter().map(ToString::to_string).collect();
    let wrong = reports.iter().filter(|it| it.outcome.is_err()).count();
    let written = super::say(&text);
    if wrong > 0 {
        let all = count(reports.len(), "trial");
        return super::fail(format!("{wrong} of {all} failed"));
    }
    written
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.outcome {
            Ok(text) => writeln!(f, "ok     {}: {text}", self.about),
            Err(Trouble { what, notes, help }) => {
                writeln!(f, "WRONG  {}: {what}", self.about)?;
                let notes = notes.iter().map(|it| ("note", it));
                notes
                    .chain(help.iter().map(|it| ("help", it)))
                    .try_for_each(|(label, it)| writeln!(f, "       {label}: {it}"))
            }
        }
    }
}

async fn try_all(loaded: Loaded) -> Vec<Report> {
    let Loaded { config, guides, .. } = loaded;
    let clock = Clock::system();
    let (resolver, lookups) = resolver::channel(config.dns.clone());
    tokio::spawn(lookups.serve());
    let tools = Tools { clock, resolver };
    let trials = trials(&config);
    let mut trying = JoinSet::new();
    let mut about = Vec::new();
    for target in config.targets {
        for endpoint in &target.endpoints {
            about.push(match target.endpoints.len() {
                1 => format!("target `{}`", target.name),
                _ => format!("target `{}` at {}", target.name, endpoint.host),
            });
            let (endpoint, tools, number) = (Arc::clone(endpoint), tools.clone(), about.len() - 1);
            trying.spawn(async move { (number, bounded(try_target(&endpoint, &tools)).await) });
        }
    }
    let credentials = config.credentials.into_iter().zip(guides).zip(trials);
    for ((config, guide), trial) in credentials {
        let credential = Arc::new(Credential::new(config, tools.clock.clone()));
        about.push(format!("credential `{}`", credential.name()));
        let (tools, number) = (tools.clone(), about.len() - 1);
        trying.spawn(async move {
            let trying = try_credential(&credential, &guide, trial.as_ref(), &tools);
            (number, bounded(trying).await)
        });
    }
    let mut outcomes = trying.join_all().await;
    outcomes.sort_by_key(|(number, _)| *number);
    let outcomes = outcomes.into_iter().map(|(_, outcome)| outcome);
    let reports = about.into_iter().zip(outcomes);
    reports
        .map(|(about, outcome)| Report { about, outcome })
        .collect()
}

async fn bounded(trying: impl Future<Output = Result<String, Trouble>>) -> Result<String, Trouble> {
    let ended = tokio::time::timeout(PATIENCE, trying).await;
    ended.unwrap_or_else(|_| {
        Err(Trouble::new(
            format!("no answer within {PATIENCE:?}"),
            "the other side, or something on the way to it, is very slow",
        ))
    })
}

/// Where a token can be shown.
struct Trial {
    endpoint: Arc<Endpoint>,
    base: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// For each credential, the first target that it is for.
fn trials(config: &Config) -> Vec<Option<Trial>> {
    let trial = |credential: usize| {
        let mut routes = config.routes.iter().map(|(_, route)| route);
        let route = routes.find(|route| route.credential == Some(credential))?;
        Some(Trial {
            endpoint: Arc::clone(config.targets[route.target].endpoints.first()?),
            base: route.outgoing.base.clone(),
            headers: route.outgoing.set.clone(),
        })
    };
    (0..config.credentials.len()).map(trial).collect()
}

async fn try_target(endpoint: &Endpoint, tools: &Tools) -> Result<String, Trouble> {
    let stream = dial(endpoint, &tools.resolver)
        .await
        .map_err(|error| trouble::with_connection(&error, &tools.resolver))?;
    let (socket, session) = stream.get_ref();
    let address = match socket.peer_addr() {
        Ok(address) => address.to_string(),
        Err(_) => "an address".to_owned(),
    };
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS 1.3",
    };
    let mut text = format!(
        "{address} speaks {version}, its certificate is verified for {}",
        endpoint.host
    );
    // Without a token, for the sake of the answer's date; whatever else it says is beside the point.
    let asked = ask(stream, Method::HEAD, "/", &[], endpoint);
    let asked = tokio::time::timeout(GLANCE, asked).await.ok().flatten();
    let ahead = asked.and_then(|reply| ahead(&reply.headers, &tools.clock));
    match ahead {
        Some(ahead) if ahead.abs() > BELIEVED => Err(clock_is_off(&endpoint.host, ahead)),
        Some(ahead) if ahead.abs() > AGREES => {
            text.push_str("; ");
            text.push_str(&apart(ahead));
            Ok(text)
        }
        _ => Ok(text),
    }
}

async fn try_credential(
    credential: &Arc<Credential>,
    guide: &Guide,
    trial: Option<&Trial>,
    tools: &Tools,
) -> Result<String, Trouble> {
    let once = credential.mint_once(tools).await;
    let minted = match once.outcome {
        Ok(minted) => minted,
        Err(error) => {
            let mut trouble =
                trouble::with_token(&error, &credential.hosts(), guide, &tools.resolver);
            if once.offset.abs() > AGREES {
                trouble.notes.push(apart(once.offset));
            }
            return Err(trouble);
        }
    };
    let life = minted.end.left(minted.from).as_secs();
    let mut text = format!("a token that lives {life} s");
    let hosts = credential.hosts();
    if !hosts.is_empty() {
        text.push_str(&format!(", from {}", hosts.join(" or ")));
    }
    if once.offset.abs() > AGREES {
        text.push_str(&format!("; {}, which is allowed for", apart(once.offset)));
    }
    match trial {
        Some(trial) if credential.is_unproven() => {
            let shown = show(credential, &minted, guide, trial, tools).await?;
            Ok(format!("{text}; {shown}"))
        }
        _ => Ok(text),
    }
}

/// Shows a token to the target.
async fn show(
    credential: &Credential,
    minted: &Minted,
    guide: &Guide,
    trial: &Trial,
    tools: &Tools,
) -> Result<String, Trouble> {
    let host = &trial.endpoint.host;
    let path = format!("{}{}", trial.base, guide.probe.as_deref().unwrap_or("/"));
    let placement = credential.placement();
    let Ok(value) = placement.value(&minted.token) else {
        return Ok("no header can carry it".to_owned());
    };
    let mut headers = trial.headers.clone();
    let mut target = path.clone();
    match &placement.place {
        Place::Header(name) => headers.push((name.clone(), value)),
        Place::Cookie(name) => {
            let cookie = [name.as_bytes(), b"=", value.as_bytes()].concat();
            headers.extend(HeaderValue::try_from(cookie).map(|it| (header::COOKIE, it)));
        }
        Place::Query(name) => {
            let separator = if path.contains('?') { '&' } else { '?' };
            let value = value.to_str().unwrap_or_default();
            target = format!("{path}{separator}{name}={value}");
        }
    }
    // What is wrong with the connection is the target's own line.
    let Ok(stream) = dial(&trial.endpoint, &tools.resolver).await else {
        return Ok(format!("not shown to {host}, which cannot be reached"));
    };
    let Some(reply) = ask(stream, Method::GET, &target, &headers, &trial.endpoint).await else {
        return Ok(format!("{host} gave no answer in HTTP to GET {path}"));
    };
    let status = reply.status;
    if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        let verdict = if status.is_success() {
            "takes it"
        } else {
            "does not refuse it"
        };
        return Ok(format!("{host} {verdict} (GET {path}: {status})"));
    }
    // A service that repeats what it was sent would have the token on this very screen.
    let reason = reason(&reply, &minted.token);
    let what = format!("`{host}` refuses the token with {status}{reason} (GET {path})");
    let mut trouble = trouble::refused(&what, status.as_u16(), &reason, guide);
    if let Some(ahead) = ahead(&reply.headers, &tools.clock)
        && ahead.abs() > AGREES
    {
        trouble.notes.insert(0, apart(ahead));
    }
    Err(trouble)
}

/// Why a target refused, in its own words: those of the body, or else those of the challenge.
fn reason(reply: &Reply, token: &str) -> String {
    let words = said(reply, &[token]);
    let challenge = || {
        let value = reply.headers.get(header::WWW_AUTHENTICATE)?.to_str().ok()?;
        Some(harmless(value).replace(token, "…"))
    };
    let words = if words.is_empty() {
        challenge().unwrap_or_default()
    } else {
        words
    };
    if words.is_empty() {
        words
    } else {
        format!(": {words}")
    }
}

/// Sends one request over a connection of its own, and reads the answer's body if it is a refusal.
async fn ask(
    stream: TlsStream<TcpStream>,
    method: Method,
    path: &str,
    headers: &[(HeaderName, HeaderValue)],
    endpoint: &Endpoint,
) -> Option<Reply> {
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().ok()?;
    let fields = request.headers_mut();
    fields.insert(header::HOST, endpoint.authority.clone());
    fields.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    for (name, value) in headers {
        fields.insert(name.clone(), value.clone());
    }
    let sent = Clock::system().now();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    // It ends with this set, whatever is left of the answer.
    let mut driving = JoinSet::new();
    driving.spawn(connection);
    let (parts, body) = sender.send_request(request).await.ok()?.into_parts();
    let body = match parts.status.is_client_error() {
        true => Limited::new(body, READ).collect().await.ok(),
        false => None,
    };
    Some(Reply {
        status: parts.status,
        headers: parts.headers,
        body: body.map(Collected::to_bytes).unwrap_or_default(),
        sent,
        offset: None,
    })
}

/// How many seconds the other side's clock is ahead of ours.
fn ahead(headers: &HeaderMap, clock: &Clock) -> Option<i64> {
    if headers.contains_key(header::AGE) {
        return None;
    }
    let date = httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()?;
    let theirs = date.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    let ours = clock.now().unix();
    i64::try_from(theirs)
        .ok()?
        .checked_sub(i64::try_from(ours).ok()?)
}

fn apart(ahead: i64) -> String {
    let direction = if ahead > 0 { "behind" } else { "ahead of" };
    format!(
        "this machine's clock is {} s {direction} the other side's",
        ahead.unsigned_abs()
    )
}

fn clock_is_off(host: &str, ahead: i64) -> Trouble {
    Trouble::new(
        format!("{} (`{host}`)", apart(ahead)),
        "set the clock (NTP): tokens are dated by it, and one that is dated wrong is refused",
    )
}
