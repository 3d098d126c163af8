//! One request to an endpoint that gives tokens, on a connection of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::clock::{Clock, Moment};
use crate::dial::race::Tried;
use crate::dial::resolver::Resolver;
use crate::dial::via::Via;
use crate::dial::{self, DialError, Endpoint, Keep, Protocol};
use crate::tls::Verification;
use crate::url::Url;

/// The largest answer. Tokens are a few kilobytes; what is larger is no answer to this question.
const LARGEST: usize = 64 * 1024;

/// How an endpoint is reached.
#[derive(Debug)]
pub struct Line {
    /// How its certificate is verified.
    pub verification: Arc<Verification>,
    /// Where to connect in place of the addresses of its name.
    pub connect: Option<SocketAddr>,
    /// A parent proxy on the way, if there is one.
    pub via: Option<Via>,
    /// How long looking up and connecting may take.
    pub connect_timeout: Duration,
    /// How long the handshake may take.
    pub tls_timeout: Duration,
    /// How long everything may take together, to the last byte of the answer.
    pub total: Duration,
}

/// What a call needs beside the line.
#[derive(Clone, Debug)]
pub struct Tools {
    /// Tells the time.
    pub clock: Clock,
    /// Looks names up.
    pub resolver: Resolver,
}

/// The URLs of one service, several for a cluster. Whichever answered last is asked first.
#[derive(Debug)]
pub struct Urls {
    all: Vec<Url>,
    first: AtomicUsize,
}

impl Urls {
    /// Some URLs; there must be one.
    #[must_use]
    pub fn new(all: Vec<Url>) -> Self {
        Self {
            all,
            first: AtomicUsize::new(0),
        }
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Url] {
        &self.all
    }
}

/// An answer, whatever it says.
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Bytes,
    /// When the request for it was sent: a token's life is counted from then.
    pub sent: Moment,
    /// How many seconds the endpoint's clock is ahead of ours, where its answer tells.
    pub offset: Option<i64>,
}

impl std::fmt::Debug for Reply {
    /// Shows the status alone: headers and body are where the token is.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Reply");
        shown.field("status", &self.status).finish_non_exhaustive()
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection broke, or what came over it is not HTTP.
    #[error("`{host}` gave no answer in HTTP")]
    Http {
        /// The endpoint's host.
        host: String,
        /// What went wrong.
        #[source]
        source: hyper::Error,
    },
    /// It took too long.
    #[error("`{host}` did not answer within {after:?}")]
    TooSlow {
        /// The endpoint's host.
        host: String,
        /// The deadline.
        after: Duration,
    },
    /// The answer is larger than any answer with a token.
    #[error("the answer of `{host}` is larger than {LARGEST} bytes")]
    TooLarge {
        /// The endpoint's host.
        host: String,
    },
}

impl CallError {
    /// Whether the endpoint could not be reached at all, so that trying again costs it nothing.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self {
            // A proxy may lock an account after some refusals.
            Self::Dial(DialError::Tunnel { source, .. }) if source.is_about_login() => false,
            Self::Dial(DialError::Roots(_) | DialError::Tls { .. }) | Self::TooLarge { .. } => {
                false
            }
            Self::Dial(_) => true,
            Self::Http { .. } | Self::TooSlow { .. } => false,
        }
    }
}

/// Sends a request to the first of the URLs that can be reached, and reads the whole answer.
/// `Host` and `Content-Length` are set here.
///
/// # Errors
///
/// [`CallError`] of the last that was tried.
pub async fn call(
    urls: &Urls,
    request: &Request<Bytes>,
    line: &Line,
    tools: &Tools,
) -> Result<Reply, CallError> {
    let first = urls.first.load(Ordering::Relaxed);
    let mut last = None;
    for step in 0..urls.all.len() {
        let index = (first + step) % urls.all.len();
        match call_one(&urls.all[index], request, line, tools).await {
            Err(error) if error.is_unreachable() => last = Some(error),
            answered => {
                // One that takes calls and does not serve them is not to be the first again.
                let is_served = matches!(&answered, Ok(reply) if !reply.status.is_server_error());
                let first = index + usize::from(!is_served);
                urls.first.store(first % urls.all.len(), Ordering::Relaxed);
                return answered;
            }
        }
    }
    Err(last.expect("there is a URL"))
}

async fn call_one(
    url: &Url,
    request: &Request<Bytes>,
    line: &Line,
    tools: &Tools,
) -> Result<Reply, CallError> {
    let is_connected = AtomicBool::new(false);
    let conversation = converse(url, request, line, tools, &is_connected);
    let (host, after) = (url.host.clone(), line.total);
    match tokio::time::timeout(line.total, conversation).await {
        Ok(answered) => answered,
        Err(_) if is_connected.load(Ordering::Relaxed) => Err(CallError::TooSlow { host, after }),
        Err(_) => {
            let tried = Tried::default();
            Err(DialError::ConnectTimeout { host, after, tried }.into())
        }
    }
}

/// How long after a try to connect the next one is made beside it. What was lost while an endpoint
/// was away is sent again by the system ever more rarely, by kernels before 6.5 after 1, 3 and 7
/// seconds; it is to be found back sooner.
const ANOTHER: Duration = Duration::from_millis(1500);

/// Opens a connection, by several tries if the first one hangs. The first that comes to an end
/// decides.
async fn connect(endpoint: &Endpoint, tools: &Tools) -> Result<TcpStream, DialError> {
    let mut tries = Vec::new();
    loop {
        tries.push(Box::pin(dial::connect(endpoint, &tools.resolver)));
        let first = std::future::poll_fn(|context| {
            let mut ready = tries.iter_mut().map(|it| it.as_mut().poll(context));
            ready.find(Poll::is_ready).unwrap_or(Poll::Pending)
        });
        if let Ok(connected) = tokio::time::timeout(ANOTHER, first).await {
            return connected;
        }
    }
}

async fn converse(
    url: &Url,
    request: &Request<Bytes>,
    line: &Line,
    tools: &Tools,
    is_connected: &AtomicBool,
) -> Result<Reply, CallError> {
    let endpoint = Endpoint {
        host: url.host.clone(),
        authority: url.authority.clone(),
        server_name: url.server_name.clone(),
        port: url.port,
        connect: line.connect,
        via: line.via.clone(),
        verification: Arc::clone(&line.verification),
        protocol: Protocol::Http1,
        keep: Keep::default(),
        connect_timeout: line.connect_timeout,
        tls_timeout: line.tls_timeout,
    };
    let stream = connect(&endpoint, tools).await?;
    is_connected.store(true, Ordering::Relaxed);
    let stream = dial::secure(&endpoint, stream).await?;
    let failed = |source| CallError::Http {
        host: url.host.clone(),
        source,
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    // It is polled beside the exchange and ends with it: this connection serves no other request.
    let exchange = async {
        let sent = tools.clock.now();
        let answer = sender
            .send_request(addressed(url, request))
            .await
            .map_err(failed)?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, LARGEST).collect().await;
        let body = body.map_err(|error| body_error(error, url))?.to_bytes();
        let offset = offset(&parts.headers, sent, tools.clock.now());
        Ok(Reply {
            status: parts.status,
            headers: parts.headers,
            body,
            sent,
            offset,
        })
    };
    tokio::pin!(exchange);
    tokio::pin!(connection);
    tokio::select! {
        biased;
        answered = &mut exchange => answered,
        _ = &mut connection => exchange.await,
    }
}

fn addressed(url: &Url, request: &Request<Bytes>) -> Request<Full<Bytes>> {
    let mut copy = Request::new(Full::new(request.body().clone()));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = url.target.clone().into();
    *copy.headers_mut() = request.headers().clone();
    copy.headers_mut()
        .insert(header::HOST, url.authority.clone());
    copy.headers_mut()
        .insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    copy.headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    copy
}

fn body_error(error: Box<dyn std::error::Error + Send + Sync>, url: &Url) -> CallError {
    let host = url.host.clone();
    match error.downcast::<hyper::Error>() {
        Ok(source) => CallError::Http {
            host,
            source: *source,
        },
        Err(error) => {
            debug_assert!(error.is::<LengthLimitError>());
            CallError::TooLarge { host }
        }
    }
}

/// The largest difference between two clocks that is believed.
const BELIEVED: i64 = 600;

/// How far the other side's clock is ahead of ours, from its `Date` (RFC 9110 section 6.6.1). An
/// answer with `Age` was made at another time than it says. A second or two are the header's own
/// coarseness and the answer's way.
fn offset(headers: &HeaderMap, sent: Moment, received: Moment) -> Option<i64> {
    if headers.contains_key(header::AGE) {
        return None;
    }
    let date = httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()?;
    let theirs = date.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    let theirs = i64::try_from(theirs).ok()?;
    let (sent, received) = (
        i64::try_from(sent.unix()).ok()?,
        i64::try_from(received.unix()).ok()?,
    );
    let ahead = match theirs {
        _ if theirs < sent - 1 => theirs - sent,
        _ if theirs > received + 1 => theirs - received,
        _ => 0,
    };
    (ahead.abs() <= BELIEVED).then_some(ahead)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(unix: u64) -> Moment {
        Moment {
            wall: Duration::from_secs(unix),
            boot: Duration::from_secs(1),
        }
    }

    fn learnt(date: u64, age: bool) -> Option<i64> {
        let mut headers = HeaderMap::new();
        let date = std::time::UNIX_EPOCH + Duration::from_secs(date);
        let date = HeaderValue::try_from(httpdate::fmt_http_date(date)).expect("a date");
        headers.insert(header::DATE, date);
        if age {
            headers.insert(header::AGE, HeaderValue::from_static("1"));
        }
        offset(&headers, at(1_900_000_000), at(1_900_000_002))
    }

    #[test]
    fn a_clock_that_is_off_is_told_by_the_date() {
        assert_eq!(learnt(1_900_000_001, false), Some(0));
        assert_eq!(learnt(1_900_000_003, false), Some(0));
        assert_eq!(learnt(1_900_000_096, false), Some(94));
        assert_eq!(learnt(1_899_999_906, false), Some(-94));
    }

    #[test]
    fn what_cannot_be_right_is_not_learnt() {
        assert_eq!(learnt(1_900_000_096, true), None, "an answer from a cache");
        assert_eq!(learnt(1_900_003_600, false), None, "an hour");
        assert_eq!(learnt(0, false), None);
    }
}
