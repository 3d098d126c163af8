//! respond: what the answer to a request needs to know of it.

use http::Method;
use http::header::{self, HeaderValue};

use crate::body::RequestBody;
use crate::metrics;
use crate::normalize::Normalized;
use crate::plan::{Route, Target};
use crate::respond::{self, echo, redirects};
use crate::upstream::Sent;

/// What the answer to a request is made fit for the caller with.
pub(super) struct Exchange<'a> {
    target: &'a Target,
    method: Method,
    redirects: Option<redirects::Map<'a>>,
}

impl<'a> Exchange<'a> {
    /// Notes what the answer will need of the request.
    pub(super) fn begin(
        target: &'a Target,
        route: &'a Route,
        request: &Normalized<RequestBody>,
    ) -> Self {
        let redirects = target.respond.redirects.then(|| redirects::Map {
            endpoints: &target.endpoints,
            base: &route.outgoing.base,
            prefix: request
                .path()
                .get(..route.outgoing.strip)
                .unwrap_or_default()
                .to_owned(),
            scheme: "http",
            host: request.headers().get(header::HOST).cloned(),
        });
        Self {
            target,
            method: request.method().clone(),
            redirects,
        }
    }

    /// Makes the answer fit. `ours` is the credential that the request was sent with.
    pub(super) fn finish(
        &self,
        sent: Sent,
        ours: Option<&HeaderValue>,
        counts: &metrics::Target,
    ) -> Sent {
        sent.map(|answer| {
            let mut answer = respond::pass(answer, &self.method, &self.target.respond);
            if let Some(ours) = ours
                && echo::redact(answer.headers_mut(), ours)
            {
                counts.echoes.up();
                self.target.echoes.say(&self.target.name);
            }
            if let Some(ours) = ours {
                answer.body_mut().hide(ours, echo::redact);
            }
            if let Some(redirects) = &self.redirects {
                redirects.rewrite(answer.headers_mut());
            }
            answer
        })
    }
}
