//! Where an OpenID provider's token endpoint is (OpenID Connect Discovery 1.0 section 4).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use serde_json::Value;

use super::MintError;
use super::call::{Line, Tools, Urls, call};
use super::step::retry_after;
use crate::clock::Moment;
use crate::url::Url;

const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// How long a document is used again. Endpoints move rarely, and when one does, the attempt that
/// fails has the document forgotten.
const KEEP: Duration = Duration::from_secs(3600);

/// A provider, and what it said last.
#[derive(Debug)]
pub struct Discovery {
    /// Where the document is.
    document: Urls,
    /// Whom it must be about (section 4.3).
    issuer: String,
    found: Mutex<Option<(Arc<Found>, Moment)>>,
}

/// What a document says.
#[derive(Debug)]
pub struct Found {
    /// The token endpoint.
    pub endpoint: Urls,
    /// The issuer, as it calls itself.
    pub issuer: String,
}

impl Discovery {
    /// A provider by its issuer's URL, or by that of the document.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with the URL.
    pub fn new(text: &str) -> Result<Self, String> {
        // What is wrong is said of the text as it is, not of what is made of it.
        Url::parse(text)?;
        let issuer = text.strip_suffix(WELL_KNOWN).unwrap_or(text).to_owned();
        let document = format!("{}{WELL_KNOWN}", issuer.trim_end_matches('/'));
        let document = Urls::new(vec![Url::parse(&document)?]);
        Ok(Self {
            document,
            issuer,
            found: Mutex::default(),
        })
    }

    /// What the provider says, or said within the hour.
    ///
    /// # Errors
    ///
    /// [`MintError`] if it says nothing, or nothing that makes sense.
    pub(super) async fn get(&self, line: &Line, tools: &Tools) -> Result<Arc<Found>, MintError> {
        if let Some((found, until)) = &*self.lock()
            && !until.reached(tools.clock.now())
        {
            return Ok(Arc::clone(found));
        }
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = Method::GET;
        let reply = call(&self.document, &request, line, tools).await?;
        if !reply.status.is_success() {
            return Err(MintError::Status {
                status: reply.status,
                said: " for the discovery document".into(),
                after: retry_after(&reply.headers),
            });
        }
        let found = Arc::new(self.read(&reply.body).map_err(MintError::Discovery)?);
        *self.lock() = Some((Arc::clone(&found), tools.clock.now().after(KEEP)));
        Ok(found)
    }

    fn read(&self, body: &[u8]) -> Result<Found, String> {
        let json: Value = serde_json::from_slice(body).map_err(|_| "it is not JSON".to_owned())?;
        let text = |name: &str| {
            json.get(name)
                .and_then(Value::as_str)
                .ok_or_else(|| format!("it has no `{name}`"))
        };
        let issuer = text("issuer")?;
        if issuer.trim_end_matches('/') != self.issuer.trim_end_matches('/') {
            return Err("it is about another issuer".into());
        }
        let endpoint = Url::parse(text("token_endpoint")?)?;
        Ok(Found {
            endpoint: Urls::new(vec![endpoint]),
            issuer: issuer.to_owned(),
        })
    }

    /// Where the document is.
    #[must_use]
    pub fn document(&self) -> &Urls {
        &self.document
    }

    /// Has the document read again.
    pub(super) fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Arc<Found>, Moment)>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
