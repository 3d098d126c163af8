//! Browsers as callers: whether a request was made on behalf of another site's page.
//!
//! What is looked at here no page can change. `Sec-Fetch-*`, `Origin` and `Referer` are forbidden to
//! scripts (Fetch section 2.2.2), and a `User-Agent` of a script's own, as any header that is not on
//! the short list of section 2.2.2, is asked for first across sites, by an OPTIONS with an `Origin`.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Headers that a browser sends by itself, lets any page set on another site's request (Fetch section
/// 2.2.2), or makes of a link with a user and a password in it.
const BY_ITSELF: [HeaderName; 22] = [
    header::ACCEPT,
    header::ACCEPT_CHARSET,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::DNT,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::ORIGIN,
    header::PRAGMA,
    header::RANGE,
    header::REFERER,
    header::UPGRADE_INSECURE_REQUESTS,
    header::USER_AGENT,
    HeaderName::from_static("priority"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("save-data"),
];

/// Whether a browser may send a header of this name for a page that did not ask whether it may.
#[must_use]
pub fn may_send(name: &HeaderName) -> bool {
    BY_ITSELF.contains(name) || name.as_str().starts_with("sec-")
}

/// Whether this is anything but what a browser sends on behalf of another site's page, as far as it
/// says so: to plain `http` of other machines it says no `Sec-Fetch-Site`, no `Origin` in most GETs,
/// and a page can have it keep the `Referer` back.
#[must_use]
pub fn is_same_site(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    let mut origins = headers.get_all(header::ORIGIN).iter();
    sites.all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"))
        && origins.all(|origin| is_same_origin(origin, headers))
        // A tool may say any: some services ask for their own.
        && !(is_silent_browser(headers) && refers_to(headers, false))
}

/// The same for a whole URL: what asks for one is a tool. A browser is let in where it shows that it
/// asks for a page of that very host, and nobody whose `Referer` is of another one.
#[must_use]
pub fn is_same_site_through_a_proxy(headers: &HeaderMap) -> bool {
    let is_same = is_same_site(headers) && !refers_to(headers, false);
    is_same && (!is_silent_browser(headers) || refers_to(headers, true))
}

/// Whether a browser sent this without a word on who asks. All of them begin with `Mozilla/`, as some
/// tools do; that no tool speaks of languages besides is what tells them apart.
fn is_silent_browser(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT);
    let is_browser = agent.is_some_and(|it| it.as_bytes().starts_with(b"Mozilla/"))
        && headers.contains_key(header::ACCEPT_LANGUAGE);
    is_browser && !headers.contains_key(SEC_FETCH_SITE) && !headers.contains_key(header::ORIGIN)
}

/// Whether there is a `Referer` of the same origin, or of another one.
fn refers_to(headers: &HeaderMap, same: bool) -> bool {
    let mut pages = headers.get_all(header::REFERER).iter();
    pages.any(|page| is_same_origin(page, headers) == same)
}

/// Whether an origin, or a URL, has the authority that `Host` names.
fn is_same_origin(url: &HeaderValue, headers: &HeaderMap) -> bool {
    let url = url.as_bytes();
    let rest = url
        .strip_prefix(b"http://")
        .or_else(|| url.strip_prefix(b"https://"));
    let (Some(rest), Some(host)) = (rest, headers.get(header::HOST)) else {
        return false;
    };
    let ends = |byte: &u8| matches!(byte, b'/' | b'?' | b'#');
    let end = rest.iter().position(ends).unwrap_or(rest.len());
    rest[..end].eq_ignore_ascii_case(host.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(given: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("api.example"));
        for (name, value) in given {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    const AGENT: (HeaderName, &str) = (
        header::USER_AGENT,
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    );
    const LANGUAGE: (HeaderName, &str) = (header::ACCEPT_LANGUAGE, "");
    const OTHERS: (HeaderName, &str) =
        (header::REFERER, "http://evil.example/?http://api.example/");
    const OWN: (HeaderName, &str) = (header::REFERER, "http://API.example/page?x");

    #[test]
    fn a_browser_that_does_not_say_who_asks_is_let_in_for_a_page_of_the_same_host() {
        for (given, plainly, through_a_proxy) in [
            (&[][..], true, true),
            (&[AGENT], true, true),
            (&[OWN], true, true),
            (&[OTHERS], true, false),
            (&[AGENT, LANGUAGE], true, false),
            (&[AGENT, LANGUAGE, OWN], true, true),
            (&[AGENT, LANGUAGE, OTHERS], false, false),
            (&[AGENT, LANGUAGE, OWN, OTHERS], false, false),
            (&[AGENT, LANGUAGE, (SEC_FETCH_SITE, "none")], true, true),
            (
                &[AGENT, LANGUAGE, (SEC_FETCH_SITE, "cross-site")],
                false,
                false,
            ),
            (
                &[AGENT, LANGUAGE, (header::ORIGIN, "http://api.example")],
                true,
                true,
            ),
        ] {
            let given = headers(given);
            assert_eq!(is_same_site(&given), plainly, "{given:?}");
            assert_eq!(
                is_same_site_through_a_proxy(&given),
                through_a_proxy,
                "{given:?}"
            );
        }
    }
}
