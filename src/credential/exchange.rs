//! A source that trades something for a token: an assertion that we sign, a client's secret, a
//! password or a refresh token, at a token endpoint (RFC 6749, RFC 7521, RFC 7523).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use tokio::task::spawn_blocking;

use super::call::{Line, Tools, Urls};
use super::discovery::Discovery;
use super::memory::Memory;
use super::self_signed::SelfSigned;
use super::step::{Authorization, Step, form_encode};
use super::template::{Blank, Filling};
use super::{MintError, Minted};
use crate::secret::Secret;
use crate::secret::kept::Kept;
use crate::secret::material::Material;

/// What is traded, and where.
#[derive(Debug)]
pub struct Exchange {
    /// Where the token endpoint is.
    pub endpoint: TokenEndpoint,
    /// How it is reached.
    pub line: Line,
    /// The request and its answer.
    pub step: Step,
    /// What is signed for each attempt, if anything.
    pub assertion: Option<SelfSigned>,
    /// The client's id, for `Basic`.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: Option<Material<Secret>>,
    /// The user's password.
    pub password: Option<Material<Secret>>,
    /// A refresh token to begin with.
    pub refresh_token: Option<Material<Secret>>,
    /// Where those are kept that come after it, if they outlive the process.
    pub kept: Option<Kept>,
}

/// Where a token endpoint is.
#[derive(Debug)]
pub enum TokenEndpoint {
    /// At these URLs.
    At(Urls),
    /// Where an OpenID provider's discovery document says.
    Discovered(Discovery),
}

impl Exchange {
    /// Makes one attempt. The assertion is signed anew for each: its `jti` can be used once.
    ///
    /// # Errors
    ///
    /// A [`MintError`] that says who is to blame and how to go on.
    pub(super) async fn mint(
        &self,
        memory: &mut Memory,
        tools: &Tools,
    ) -> Result<Minted, MintError> {
        let discovered = match &self.endpoint {
            TokenEndpoint::At(_) => None,
            TokenEndpoint::Discovered(discovery) => Some(discovery.get(&self.line, tools).await?),
        };
        let (urls, issuer) = match (&self.endpoint, &discovered) {
            (_, Some(found)) => (&found.endpoint, found.issuer.as_str()),
            (TokenEndpoint::At(urls), None) => (urls, ""),
            (TokenEndpoint::Discovered(_), None) => unreachable!("discovered just above"),
        };
        let assertion = self.assert(urls, issuer, memory, tools)?;
        let secret = text(self.client_secret.as_ref())?;
        let password = text(self.password.as_ref())?;
        let given = text(self.refresh_token.as_ref())?;
        let refresh_token = memory.refresh_token(given.clone(), |given| self.recall(given));
        let texts = [
            (Blank::Assertion, assertion.as_str()),
            (Blank::ClientSecret, secret.as_deref().unwrap_or_default()),
            (Blank::Password, password.as_deref().unwrap_or_default()),
            (
                Blank::RefreshToken,
                refresh_token.as_deref().unwrap_or_default(),
            ),
        ];
        let now = tools.clock.now().unix();
        let filling = Filling {
            now,
            expires: now,
            texts: &texts,
        };
        let secret_text = secret.as_deref().unwrap_or_default();
        let basic = match self.step.authorization {
            Authorization::Basic => Some(basic(
                &form_encode(&self.client_id),
                &form_encode(secret_text),
            )),
            Authorization::BasicUnencoded => Some(basic(&self.client_id, secret_text)),
            Authorization::Nothing | Authorization::Live => None,
        };
        match self
            .step
            .take(urls, &filling, basic, &self.line, tools)
            .await
        {
            Ok((brought, reply)) => {
                self.keep(given, brought.refresh_token.clone()).await;
                Ok(memory.keep(brought, &reply))
            }
            Err((error, offset)) => {
                memory.learn(offset);
                // RFC 6749 section 5.2. Any other refusal says nothing about it.
                if matches!(&error, MintError::Refused { said, .. } if said.contains("invalid_grant"))
                {
                    memory.forget_refresh_token();
                }
                if let TokenEndpoint::Discovered(discovery) = &self.endpoint {
                    // The endpoint may have moved.
                    discovery.forget();
                }
                Err(error)
            }
        }
    }

    /// The refresh token that came last, as it was kept.
    fn recall(&self, given: &str) -> Option<String> {
        let loaded = self.kept.as_ref()?.load(given);
        loaded.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot read the refresh token that was kept; the one given is used");
            None
        })
    }

    /// Keeps the refresh token that came, before anything is done that uses it up.
    async fn keep(&self, given: Option<String>, came: Option<String>) {
        let (Some(kept), Some(given), Some(came)) = (self.kept.clone(), given, came) else {
            return;
        };
        let stored = spawn_blocking(move || kept.store(given, came)).await;
        if let Ok(Err(error)) = stored {
            tracing::error!(%error, "cannot keep the refresh token; it is lost when the process ends");
        }
    }

    fn assert(
        &self,
        urls: &Urls,
        issuer: &str,
        memory: &Memory,
        tools: &Tools,
    ) -> Result<String, MintError> {
        let Some(assertion) = &self.assertion else {
            return Ok(String::new());
        };
        let url = urls.all().first().map(|url| {
            let authority = url.authority.to_str().unwrap_or_default();
            format!("https://{authority}{}", url.target)
        });
        let texts = [
            (Blank::Issuer, issuer),
            (Blank::Endpoint, url.as_deref().unwrap_or_default()),
        ];
        Ok(assertion
            .sign(tools.clock.now(), memory.offset, &texts)?
            .token)
    }

    /// The secrets that are in use, for whoever watches their files.
    pub fn secrets(&self) -> impl Iterator<Item = &Material<Secret>> {
        self.client_secret
            .iter()
            .chain(&self.password)
            .chain(&self.refresh_token)
    }
}

/// A secret as text.
pub(super) fn text(material: Option<&Material<Secret>>) -> Result<Option<String>, MintError> {
    let Some(material) = material else {
        return Ok(None);
    };
    let no_secret = || MintError::NoSecret(material.reference().to_string());
    let secret = material.get().ok_or_else(no_secret)?;
    secret
        .expose_str()
        .map(|text| Some(text.to_owned()))
        .ok_or_else(no_secret)
}

/// Client id and secret in one header, each encoded before they are joined where that is asked for
/// (RFC 6749 section 2.3.1).
fn basic(id: &str, secret: &str) -> HeaderValue {
    let pair = format!("{id}:{secret}");
    HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).expect("base64 is ASCII")
}
