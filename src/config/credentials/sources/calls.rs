//! What exchanges and logins have in common: where they ask, how, and what the answer has.

use http::{HeaderName, HeaderValue};

use crate::config::read::{Given, Reader};
use crate::config::{Context, connections, headers, reference};
use crate::credential::answer::Places;
use crate::credential::call::{Line, Urls};
use crate::credential::step::Encoding;
use crate::url::Url;

pub(super) fn urls(reader: &Reader<'_>) -> Option<Urls> {
    let parsed = reader.parsed_texts("url", Url::parse);
    if parsed.is_empty() && reader.is_empty_list("url") {
        let message = format!("`url` in {} lists none", reader.place());
        let help = "give at least one https URL";
        reader.problems().fault(reader.at(), message, help);
    }
    let urls: Vec<Url> = parsed.into_iter().map(|given| given.value).collect();
    (!urls.is_empty()).then(|| Urls::new(urls))
}

pub(super) fn line(reader: &Reader<'_>, context: &Context<'_>) -> Option<Line> {
    let verification = connections::verification(reader, context);
    let connect = reader.parsed("connect", |text| connections::address(text, 443));
    if connect.is_some() && reader.texts("url").len() > 1 {
        let message = format!(
            "`connect` in {} leads all of its URLs to one address",
            reader.place()
        );
        let help = "keep one URL, or leave `connect` out";
        reader.problems().warn(reader.at(), message, help);
    }
    let timeouts = reader.table("timeouts", |it| {
        ["connect", "tls", "total"].map(|name| it.duration(name).value)
    })?;
    let via = connections::via(reader, context);
    if reader.has("connect") && connect.is_none() {
        return None;
    }
    Some(Line {
        verification: verification?,
        connect: connect.map(|given| given.value),
        via: via.ok()?,
        connect_timeout: timeouts[0],
        tls_timeout: timeouts[1],
        total: timeouts[2],
    })
}

pub(super) fn encoding(reader: &Reader<'_>) -> Option<Encoding> {
    Some(match reader.word("send")?.value.as_str() {
        "form" => Encoding::Form,
        "json" => Encoding::Json,
        _ => Encoding::Nothing,
    })
}

pub(super) fn headers(reader: &Reader<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let pairs = reader.text_table("headers");
    let parse = |(name, value): &(Given<String>, Given<String>)| {
        let header = HeaderName::try_from(name.value.as_str()).ok();
        let parsed = HeaderValue::try_from(value.value.as_str()).ok();
        let is_ours = header.as_ref().is_some_and(headers::is_ours);
        match (header, parsed) {
            (Some(header), Some(value)) if !is_ours => Some((header, value)),
            _ => {
                let message = format!(
                    "`{}` cannot be a header here, or not with this value",
                    name.value
                );
                reader.problems().fault(&name.at, message, "");
                None
            }
        }
    };
    pairs.iter().filter_map(parse).collect()
}

/// Where the answer has what. Keys that a source does not declare are left out.
pub(super) fn places(reader: &Reader<'_>) -> Option<Places> {
    let found = |name: &str, parse: fn(&str) -> Result<String, String>| {
        let given = reader.declares(name).then(|| reader.parsed(name, parse));
        given.flatten().map(|given| given.value)
    };
    let pointer = |name: &str| {
        found(name, |text| match text {
            "" => Ok(String::new()),
            _ => reference::pointer(text),
        })
    };
    let header = reader.declares("token-header").then(|| {
        reader.parsed("token-header", |text| {
            HeaderName::try_from(text).map_err(|_| format!("`{text}` is no header name"))
        })
    });
    let places = Places {
        token_header: header.flatten().map(|given| given.value),
        token_cookie: found("token-cookie", cookie_name),
        token: pointer("token"),
        lifetime: pointer("expires-in"),
        // What an exchange brings stands where RFC 6749 says.
        refresh_token: if reader.declares("grant") {
            Some("/refresh_token".into())
        } else {
            pointer("refresh-token")
        },
        default_lifetime: reader.duration("lifetime").value,
    };
    let is_told = |name: &str| reader.declares(name) && reader.node(name).is_some();
    if !["token", "token-header", "token-cookie"]
        .into_iter()
        .any(is_told)
    {
        let message = format!(
            "{} does not say where in the answer the token is",
            reader.place()
        );
        let help = "give `token`, `token-header` or `token-cookie`";
        reader.problems().fault(reader.at(), message, help);
        return None;
    }
    Some(places)
}

/// RFC 6265 section 4.1.1.
fn cookie_name(text: &str) -> Result<String, String> {
    let is_fine = |byte: u8| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_fine) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is no name of a cookie"))
    }
}

/// Notes a key that is missing because of what another one says.
pub(super) fn needs(reader: &Reader<'_>, key: &str, what: &str) {
    if !reader.has(key) {
        let message = format!("`{key}` is missing in {}", reader.place());
        reader
            .problems()
            .fault(reader.at(), message, format!("{what} needs it"));
    }
}
