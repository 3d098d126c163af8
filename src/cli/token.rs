//! `countersign token`: one token from a credential, for scripts. The token is all that goes to
//! standard output.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::{check, trouble};
use crate::app::Config;
use crate::clock::Clock;
use crate::config::problem::did_you_mean;
use crate::config::{self, Loaded};
use crate::credential::call::Tools;
use crate::credential::placement::Placement;
use crate::credential::{Credential, Minted};
use crate::dial::resolver;
use crate::outgoing::Place;
use crate::secret::store::Store;
use crate::telemetry;

/// How the token is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The token alone.
    Bare,
    /// The header that carries it.
    Header,
    /// What is in it, and not the token.
    Claims,
}

/// Gets one token by the credential's own source.
pub(super) fn run(path: &Path, name: &str, form: Form) -> ExitCode {
    let Loaded {
        config, warnings, ..
    } = match config::load(path, &Store::Disk) {
        Ok(loaded) => loaded,
        Err(problems) => return check::refuse(&problems, path),
    };
    eprint!("{warnings}");
    telemetry::start(config.log);
    let Config {
        credentials, dns, ..
    } = config;
    let names: Vec<String> = credentials.iter().map(|it| it.name.clone()).collect();
    // A route's variant has the same name and comes behind.
    let Some(wanted) = credentials.into_iter().find(|it| it.name == name) else {
        let help = match names.is_empty() {
            true => "the configuration has none".to_owned(),
            false => did_you_mean(name, names.iter().map(String::as_str)),
        };
        return super::misused(format!("there is no credential `{name}`"), help);
    };
    let clock = Clock::system();
    let credential = Arc::new(Credential::new(wanted, clock.clone()));
    let minting = async {
        let (resolver, lookups) = resolver::channel(dns);
        tokio::spawn(lookups.serve());
        credential.mint_once(&Tools { clock, resolver }).await
    };
    let once = match trouble::block_on(minting) {
        Ok(once) => once,
        Err(error) => return super::fail(error),
    };
    match once.outcome {
        Ok(minted) => super::say(&show(&minted, credential.placement(), form)),
        Err(error) => {
            let chain = crate::credential::chain(&error);
            super::fail(format!("credential `{name}` has no token: {chain}"))
        }
    }
}

fn show(minted: &Minted, placement: &Placement, form: Form) -> String {
    match form {
        Form::Bare => format!("{}\n", minted.token),
        Form::Header => {
            let name = match &placement.place {
                Place::Header(name) => title_case(name.as_str()),
                Place::Cookie(name) => return format!("Cookie: {name}={}\n", minted.token),
                // No header at all: what goes behind the URL.
                Place::Query(name) => return format!("{name}={}\n", minted.token),
            };
            match placement.scheme.as_str() {
                "" => format!("{name}: {}\n", minted.token),
                scheme => format!("{name}: {scheme} {}\n", minted.token),
            }
        }
        Form::Claims => format!("{:#}\n", claims(minted)),
    }
}

/// `x-api-key` as people write it.
fn title_case(name: &str) -> String {
    let word = |word: &str| match word.split_at_checked(1) {
        Some((first, rest)) => first.to_ascii_uppercase() + rest,
        None => String::new(),
    };
    name.split('-').map(word).collect::<Vec<_>>().join("-")
}

/// What can be told of a token without giving it away: its signature is left out.
fn claims(minted: &Minted) -> Value {
    let mut told = Map::new();
    match decoded(&minted.token) {
        Some((header, claims)) => {
            let times: Map<String, Value> = ["iat", "nbf", "auth_time", "exp"]
                .into_iter()
                .filter_map(|name| Some((name.to_owned(), utc(claims.get(name)?)?.into())))
                .collect();
            told.insert("header".into(), header);
            told.insert("claims".into(), claims);
            told.insert("times".into(), times.into());
        }
        None => {
            let length = minted.token.len();
            let opaque =
                format!("{length} characters that are no JWT, so only their maker can read them");
            told.insert("opaque".into(), opaque.into());
        }
    }
    let life = minted.end.left(minted.from).as_secs();
    told.insert("used-until".into(), utc(&json!(minted.end.unix())).into());
    told.insert("life-in-seconds".into(), life.into());
    Value::Object(told)
}

fn decoded(token: &str) -> Option<(Value, Value)> {
    let mut parts = token.split('.');
    let (header, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    let object = |part: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?;
        let value: Value = serde_json::from_slice(&bytes).ok()?;
        value.is_object().then_some(value)
    };
    parts.next().is_none().then_some(())?;
    Some((object(header)?, object(claims)?))
}

/// A `NumericDate` (RFC 7519 section 2) as people read it, in UTC.
fn utc(seconds: &Value) -> Option<String> {
    /// The last second of the year 9999, beyond which the format has no room.
    const LAST: u64 = 253_402_300_799;
    let seconds = match seconds.as_u64() {
        Some(whole) => whole,
        None => Duration::try_from_secs_f64(seconds.as_f64()?)
            .ok()?
            .as_secs(),
    };
    if seconds > LAST {
        return None;
    }
    let date = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
    // The format is that of HTTP, where UTC goes by its old name.
    Some(httpdate::fmt_http_date(date).replace("GMT", "UTC"))
}
