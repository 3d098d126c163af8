//! `[credentials.NAME.login]`

use http::Method;

use super::calls::{encoding, headers, line, needs, places, urls};
use crate::config::Context;
use crate::config::credentials::claims::object;
use crate::config::credentials::secrets;
use crate::config::read::Reader;
use crate::credential::answer::Places;
use crate::credential::call::Urls;
use crate::credential::login::Login;
use crate::credential::step::{Authorization, Encoding, Step};
use crate::credential::template::Blank;

/// Reads it.
pub(super) fn login(reader: &Reader<'_>, context: &Context<'_>) -> Option<Login> {
    let urls = urls(reader);
    let line = line(reader, context);
    let password = secrets::text(reader, "password", context);
    let places = places(reader);
    let parameters = object(reader, "parameters", Blank::LOGIN);
    let refresh = if reader.has("refresh") {
        reader
            .table("refresh", |it| refresh(it, reader, places.as_ref()))?
            .map(Some)
    } else {
        Some(None)
    };
    let step = Step {
        method: Method::POST,
        encoding: encoding(reader)?,
        parameters: parameters?,
        headers: headers(reader),
        authorization: Authorization::Nothing,
        places: places?,
    };
    Some(Login {
        urls: urls?,
        step,
        refresh: refresh?,
        line: line?,
        password: password?,
    })
}

fn refresh(
    reader: &Reader<'_>,
    above: &Reader<'_>,
    places: Option<&Places>,
) -> Option<(Urls, Step)> {
    let urls = urls(reader);
    let parameters = object(reader, "parameters", Blank::REFRESH);
    if let Some(parameters) = &parameters
        && parameters.has(Blank::RefreshToken)
    {
        needs(above, "refresh-token", "`${refresh-token}`");
    }
    let encoding = encoding(reader)?;
    if encoding == Encoding::Nothing && reader.has("parameters") && !reader.is_empty("parameters") {
        let message = format!("`parameters` in {} are not sent", reader.place());
        let help = "write send = \"form\" or send = \"json\"";
        reader.problems().fault(reader.at(), message, help);
    }
    let step = Step {
        method: Method::POST,
        encoding,
        parameters: parameters?,
        headers: headers(above),
        authorization: if reader.boolean("bearer") {
            Authorization::Live
        } else {
            Authorization::Nothing
        },
        places: places?.clone(),
    };
    Some((urls?, step))
}
