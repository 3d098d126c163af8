//! Every key of the configuration, declared once: its kind, its default and what it is for.
//!
//! The reader takes kinds and defaults from here, messages take the nearest name from here, and a
//! test holds `proxy.toml.example` against it.
//!
//! The sections are a table, which reads best with one key a line however long that is: this is why
//! `rustfmt` skips them.

mod declaration;

pub use declaration::{Key, Kind, Presence, Section};
use declaration::{default, optional, required};

/// The whole file.
#[rustfmt::skip]
pub static ROOT: Section = Section {
    path: "the file",
    keys: &[
        optional("workers", Kind::Integer(1, 256), "threads that serve requests; as many as there are cores, at most 8, if left out; a change takes a restart"),
        default("drain", Kind::Duration, r#""30s""#, "how long requests under way may still take after SIGTERM or Ctrl-C, and at listeners that a reload closes or changes"),
        optional("presets", Kind::Text, "a folder with presets of your own, one TOML file each, beside the built-in ones"),
        default("log", Kind::Table(&LOG), "{}", "what is logged"),
        optional("admin", Kind::Table(&ADMIN), "where health, metrics and status are; nowhere if left out"),
        default("limits", Kind::Table(&LIMITS), "{}", "how large a request may be, and how many may be under way"),
        default("timeouts", Kind::Table(&CLIENT_TIMEOUTS), "{}", "how slow a caller may be"),
        default("dns", Kind::Table(&DNS), "{}", "whom names are asked of"),
        default("secrets", Kind::Table(&SECRETS), "{}", "how files with secrets are judged"),
        default("confine", Kind::Table(&CONFINE), "{}", "what `serve` denies itself"),
        required("listeners", Kind::Named(&LISTENER), "where requests come in"),
        optional("credentials", Kind::Free, "what is put on requests, as [credentials.NAME.KIND]; KIND is a preset or a source"),
        required("targets", Kind::Named(&TARGET), "where requests go"),
    ],
};

/// `[log]`
#[rustfmt::skip]
pub static LOG: Section = Section {
    path: "log",
    keys: &[
        default("level", Kind::Word(&["error", "warn", "info", "debug", "trace"]), r#""info""#, "the least important messages that are still written"),
        default("format", Kind::Word(&["text", "json"]), r#""text""#, "how lines are written: for people, or as a JSON object each"),
        default("requests", Kind::Boolean, "false", "one line for each request, when its answer is over"),
    ],
};

/// `[admin]`
#[rustfmt::skip]
pub static ADMIN: Section = Section {
    path: "admin",
    keys: &[
        required("address", Kind::Text, "`127.0.0.1:9901`, or `unix:PATH` for a socket that only this user can connect to"),
        optional("hosts", Kind::Texts, "names that the Host header may have, beside IP literals of the address itself; `localhost` if left out"),
        default("ready", Kind::Word(&["attempts", "all"]), r#""attempts""#, "what `/readyz` asks of each credential: a first attempt, or a token"),
    ],
};

/// `[limits]`
#[rustfmt::skip]
pub static LIMITS: Section = Section {
    path: "limits",
    keys: &[
        default("head", Kind::Size, r#""64KiB""#, "a request's line and headers together; 431 above it"),
        default("headers", Kind::Integer(8, 1000), "100", "headers of a request; 431 above it"),
        default("target", Kind::Size, r#""8KiB""#, "a request's path and query; 414 above it"),
        optional("body", Kind::Size, "a request's body; 413 above it; unlimited if left out, for bodies are streamed"),
        optional("connections", Kind::Integer(1, 1_000_000), "callers at once; whoever comes beyond that gets 503; if left out, half of the descriptors that the system allows, for each may need one upstream"),
        optional("requests", Kind::Integer(1, 1_000_000), "requests under way at once, to all targets together; 503 above it; unlimited if left out, but for the connections that they come on, and half of the descriptors where listeners speak HTTP/2"),
    ],
};

/// `[timeouts]`
#[rustfmt::skip]
pub static CLIENT_TIMEOUTS: Section = Section {
    path: "timeouts",
    keys: &[
        default("head", Kind::Timeout, r#""10s""#, "from the first byte of a request's head to its last; 408 after it"),
        default("keep-alive", Kind::Timeout, r#""60s""#, "from an answer's end, or the connection's beginning, to the first byte of the next request; closed after it"),
        default("body", Kind::Timeout, r#""30s""#, "without a byte of a request's body; 408 after it"),
        default("send", Kind::Timeout, r#""60s""#, "without a byte of an answer being taken; broken off after it"),
    ],
};

/// `[dns]`
#[rustfmt::skip]
pub static DNS: Section = Section {
    path: "dns",
    keys: &[
        default("servers", Kind::Texts, "[]", "DNS servers that are asked in place of the system's resolver, as `10.0.0.53` or `10.0.0.53:5353`; `/etc/hosts` is read first all the same"),
    ],
};

/// `[secrets]`
#[rustfmt::skip]
pub static SECRETS: Section = Section {
    path: "secrets",
    keys: &[
        default("modes", Kind::Word(&["refuse", "warn"]), r#""refuse""#, "what happens to a secret's file that others may read or write: `warn` is for mounts whose mode cannot be set"),
        optional("state", Kind::Text, "a folder where refresh tokens are kept that endpoints replace, so that they outlive the process; in memory alone if left out"),
    ],
};

/// `[confine]`
#[rustfmt::skip]
pub static CONFINE: Section = Section {
    path: "confine",
    keys: &[
        default("landlock", Kind::Word(&["auto", "off", "required"]), r#""auto""#, "whether the process reads only folders that are named here and connects only to ports that are: `auto` as far as the kernel can do that, `required` or it does not start; off where a secret comes from a `command`"),
        default("ports", Kind::Integers(1, 65_535), "[]", "further TCP ports that may be connected to after the start, for targets to come and endpoints that are discovered"),
        default("read", Kind::Texts, "[]", "further folders that may be read after the start"),
        default("dumpable", Kind::Boolean, "false", "whether the process may be debugged and leaves core files, keys and all"),
    ],
};

/// `[listeners.NAME]`
#[rustfmt::skip]
pub static LISTENER: Section = Section {
    path: "listeners.NAME",
    keys: &[
        required("address", Kind::Text, "`127.0.0.1:8080` or `[::1]:8080`; port 0 takes any free one; `unix:PATH` for a socket in the file system; `systemd:NAME` for one that systemd hands over, by its FileDescriptorName="),
        optional("hosts", Kind::Texts, "names that the Host header may have, beside IP literals of the address itself; if left out: localhost and the names that routes use"),
        default("protocols", Kind::Texts, r#"["http1"]"#, "what callers may speak: `http1`, `http2`, or both; HTTP/2 is agreed on by TLS, or spoken with prior knowledge"),
        default("half-close", Kind::Word(&["abort", "serve"]), r#""abort""#, "what a caller means that closes its side before it has its answer: it is gone, or it waits, as `nc -N` does"),
        optional("connections", Kind::Integer(1, 1_000_000), "callers at once at this listener; whoever comes beyond that gets 503"),
        optional("allow", Kind::Texts, "addresses and ranges that callers may have, such as `10.0.0.0/8`; any other connection is closed; everybody if left out"),
        default("forward", Kind::Boolean, "false", "whether requests for a whole URL, which tools send to an `http_proxy`, go to the target whose URL has that host and port, path unchanged; without a port, to the one at 443, or to the only one"),
        optional("require-header", Kind::Any, "a header that every request must have and that does not leave: its name for any value, or `{ NAME = … }` with the value or, better, a reference to it"),
        optional("tls", Kind::Table(&LISTENER_TLS), "TLS towards callers; without it they speak plain HTTP"),
        optional("proxy-protocol", Kind::Texts, "addresses and ranges of load balancers, or `unix`: each connection must begin with a PROXY header (version 1 or 2), and is the caller's whom it names; from anybody else it is closed"),
        optional("mode", Kind::Text, "the mode of a Unix socket's file; `0600` if left out"),
        optional("peer-uids", Kind::Integers(0, 4_294_967_294), "the users whose processes may connect to a Unix socket; whoever its mode lets if left out"),
    ],
};

/// `[listeners.NAME.tls]`
#[rustfmt::skip]
pub static LISTENER_TLS: Section = Section {
    path: "listeners.NAME.tls",
    keys: &[
        required("certificates", Kind::Tables(&CERTIFICATE), "the certificates, of which the caller is shown the one with the name it asks for, else the first; read again when their files change"),
        optional("client-ca", Kind::Texts, "PEM files with the authorities that vouch for callers; if left out, callers show no certificates"),
        default("client-certificate", Kind::Word(&["required", "optional"]), r#""required""#, "with `client-ca`: whether a caller without a certificate is refused at once, or only by routes with `callers`"),
    ],
};

/// `certificates` of a listener's TLS.
#[rustfmt::skip]
pub static CERTIFICATE: Section = Section {
    path: "listeners.NAME.tls.certificates",
    keys: &[
        required("certificate", Kind::Text, "a PEM file with the certificate, followed by those of the authorities between it and the root"),
        required("key", Kind::Secret, "its private key: PEM as PKCS#8, SEC1 or PKCS#1"),
    ],
};

/// `[targets.NAME]`
#[rustfmt::skip]
pub static TARGET: Section = Section {
    path: "targets.NAME",
    keys: &[
        required("url", Kind::Texts, "the https URL that requests go to; a path in it is put before each request's path; several for a cluster, see `spread`; often given by the preset"),
        default("spread", Kind::Word(&["round-robin", "first"]), r#""round-robin""#, "which of several URLs requests go to: each in its turn, or the first while it can be connected to; one that cannot is left alone for a while"),
        optional("credential", Kind::Text, "which credential goes on requests: a name, or `none`; if left out, the target's own name"),
        optional("routes", Kind::Tables(&ROUTE), "which requests go here; if left out: `[{ path = \"/NAME\" }]`"),
        default("refuse", Kind::Texts, "[]", "paths that are never forwarded, whatever their spelling; added to the preset's"),
        optional("connect", Kind::Text, "an address to connect to in place of the URL's name, `10.0.0.7:443`; the certificate is still verified for the name"),
        shared::VIA,
        default("protocol", Kind::Word(&["http1", "http2", "auto"]), r#""http1""#, "what is spoken to the target: `http2` is needed for gRPC and nothing else is spoken then; `auto` takes HTTP/2 where the target offers it; HTTP/1.1 costs less for small answers"),
        default("header-case", Kind::Word(&["lower", "title"]), r#""lower""#, "how header names are written over HTTP/1.1: `title` is `Content-Type`, for servers that do not take `content-type`"),
        default("pool", Kind::Table(&POOL), "{}", "how connections to the target are kept"),
        default("client-authorization", Kind::Word(&["replace", "reject", "pass"]), r#""replace""#, "what happens to a caller's own credential: `replace` drops it, `reject` answers 400, `pass` sends it in place of ours"),
        default("redirects", Kind::Word(&["pass", "rewrite"]), r#""pass""#, "what happens to the target's own URL in `Location` and `Content-Location`, and to its cookies' `Domain`, `Path` and `Secure`: `rewrite` makes them the proxy's, as the caller called it; none is followed"),
        default("upgrades", Kind::Texts, r#"["websocket"]"#, "protocols that a request may ask to go on with on its connection; `[]` for none, and never `h2c` or another HTTP"),
        default("tls", Kind::Table(&TARGET_TLS), "{}", "how the target's certificate is verified, and what is shown to it"),
        default("timeouts", Kind::Table(&TARGET_TIMEOUTS), "{}", "how slow the target may be"),
        default("limits", Kind::Table(&TARGET_LIMITS), "{}", "how many requests it takes at once"),
        optional("rate", Kind::Table(&RATE), "how many requests it takes in a time; 429 above it"),
        default("headers", Kind::Table(&HEADERS), "{}", "changes to requests"),
        default("response-headers", Kind::Table(&HEADERS), "{}", "changes to answers"),
    ],
};

/// `via` of a target or a credential.
#[rustfmt::skip]
pub static VIA: Section = Section {
    path: "targets.NAME.via",
    keys: &[
        required("url", Kind::Text, "the proxy: `http://proxy.corp.example:3128`"),
        optional("user", Kind::Identifier, "who we are to it (Basic)"),
        optional("password", Kind::Secret, "the user's password; read at the start"),
    ],
};

/// `[targets.NAME.tls]`
#[rustfmt::skip]
pub static TARGET_TLS: Section = Section {
    path: "targets.NAME.tls",
    keys: &[
        default("ca", Kind::Texts, r#"["system"]"#, "PEM files with the authorities to trust, or `system` for the machine's own; what is listed here is trusted and nothing else; files are read again when they change"),
        default("pin", Kind::Texts, "[]", "hashes of the public keys that the server may have, beside all else that is asked of its certificate: `sha256/` and base64; two of them make room for the next key"),
        optional("certificate", Kind::Text, "a PEM file with the certificate that is shown to the server, and those between it and its authority; read again when it changes"),
        optional("key", Kind::Secret, "the certificate's private key in PEM; read again when it changes"),
    ],
};

/// `[targets.NAME.pool]`
#[rustfmt::skip]
pub static POOL: Section = Section {
    path: "targets.NAME.pool",
    keys: &[
        default("idle", Kind::Duration, r#""30s""#, "how long a free connection is kept; most servers close theirs after 60 s, and one that announces less is believed"),
        default("most-idle", Kind::Integer(0, 100_000), "256", "free connections that each worker keeps"),
        default("age", Kind::Timeout, r#""5m""#, "how old a connection becomes before it carries no further request, so that a name that has moved is followed; each is spared up to a fifth of it"),
    ],
};

/// `[targets.NAME.timeouts]`
#[rustfmt::skip]
pub static TARGET_TIMEOUTS: Section = Section {
    path: "targets.NAME.timeouts",
    keys: &[
        default("connect", Kind::Timeout, r#""5s""#, "to look up the name and open a connection"),
        default("tls", Kind::Timeout, r#""5s""#, "to shake hands"),
        default("credential", Kind::Timeout, r#""5s""#, "to wait for a token that is on its way"),
        default("first-byte", Kind::Timeout, r#""60s""#, "from the end of the request to the head of the answer"),
        default("idle", Kind::Timeout, r#""60s""#, "without a byte of the answer's body"),
        default("stream", Kind::Timeout, r#""10m""#, "the same in a stream of events (`text/event-stream`), and without a byte either way after an upgrade"),
        optional("total", Kind::Timeout, "from the head of the request to the last byte of the answer, which is broken off then; without end if left out"),
    ],
};

/// `timeouts` of a route.
#[rustfmt::skip]
pub static ROUTE_TIMEOUTS: Section = Section {
    path: "targets.NAME.routes.timeouts",
    keys: &[
        optional("credential", Kind::Timeout, "as the target's, for this route"),
        optional("first-byte", Kind::Timeout, "as the target's, for this route"),
        optional("idle", Kind::Timeout, "as the target's, for this route"),
        optional("stream", Kind::Timeout, "as the target's, for this route"),
        optional("total", Kind::Timeout, "as the target's, for this route"),
    ],
};

/// `[targets.NAME.limits]`
#[rustfmt::skip]
pub static TARGET_LIMITS: Section = Section {
    path: "targets.NAME.limits",
    keys: &[
        optional("requests", Kind::Integer(1, 1_000_000), "requests under way at once, those included that wait for a token; 503 above it; unlimited if left out"),
    ],
};

/// `[targets.NAME.rate]`
#[rustfmt::skip]
pub static RATE: Section = Section {
    path: "targets.NAME.rate",
    keys: &[
        required("requests", Kind::Integer(1, 1_000_000), "so many requests …"),
        default("per", Kind::Timeout, r#""1s""#, "… in so much time"),
        optional("burst", Kind::Integer(1, 1_000_000), "how many may come at once after a silence; if left out, as many as `requests`"),
    ],
};

/// `[targets.NAME.headers]` and `[targets.NAME.response-headers]`
#[rustfmt::skip]
pub static HEADERS: Section = Section {
    path: "targets.NAME.headers",
    keys: &[
        default("remove", Kind::Texts, "[]", "names of headers to remove; added to the preset's"),
        default("set", Kind::TextTable, "{}", "headers to set, in place of any of that name"),
    ],
};

/// `[[targets.NAME.routes]]`
#[rustfmt::skip]
pub static ROUTE: Section = Section {
    path: "targets.NAME.routes",
    keys: &[
        optional("listener", Kind::Text, "only requests that come in at this listener"),
        optional("host", Kind::Text, "only requests with this Host: a name, or `*.suffix`"),
        default("path", Kind::Text, r#""/""#, "only requests whose path starts with these segments"),
        optional("methods", Kind::Texts, "only these methods, and no request that asks for another one in a header (`X-HTTP-Method-Override`) or in the query (`_method`)"),
        default("headers", Kind::TextTable, "{}", "only requests with these headers: exactly this value, or `*` for any"),
        default("strip", Kind::Boolean, "true", "whether `path` is cut off before the request goes out"),
        optional("with", Kind::Free, "inputs of the target's credential that are other ones for this route, such as `{ user = 456, scopes = [\"read_only\"] }`"),
        optional("callers", Kind::Texts, "only for callers with one of these names in their certificates: DNS names, `*.suffix`, URIs; others get 403; needs a listener with `tls.client-ca`"),
        default("timeouts", Kind::Table(&ROUTE_TIMEOUTS), "{}", "how slow the target may be on this route, where that is not as the target's `timeouts` say"),
        default("encoded-slash", Kind::Word(&["refuse", "pass"]), r#""refuse""#, "what happens to `%2F` in a path: two servers may read it differently"),
    ],
};

/// Keys that several sections have: most are about how a credential's token is got, and where it goes.
#[rustfmt::skip]
mod shared {
    use super::{Key, Kind, default, optional};

    pub(super) const SEND: Key = default("send", Kind::Word(&["form", "json"]), r#""form""#, "how parameters are written");
    pub(super) const HEADERS: Key = default("headers", Kind::TextTable, "{}", "further headers");
    pub(super) const TOKEN_HEADER: Key = optional("token-header", Kind::Text, "a header that has the token, looked at first");
    pub(super) const LIFETIME: Key = default("lifetime", Kind::Timeout, r#""5m""#, "how long a token lives of which neither the answer nor the token itself says it");
    pub(super) const RENEW_AT: Key = default("renew-at", Kind::Integer(10, 95), "75", "after how many percent of its life a token is renewed");
    pub(super) const PLACEMENT: Key = default("placement", Kind::Table(&super::PLACEMENT), "{}", "where the token goes");
    pub(super) const REQUIRED: Key = default("required", Kind::Boolean, "false", "whether `/readyz` asks for a token of this one, and not only for a first attempt");
    pub(super) const TLS: Key = default("tls", Kind::Table(&super::TARGET_TLS), "{}", "how the endpoint's certificate is verified");
    pub(super) const CONNECT: Key = optional("connect", Kind::Text, "an address to connect to in place of the URL's name; the certificate is still verified for the name");
    pub(super) const VIA: Key = optional("via", Kind::TextOrTable(&super::VIA), "a parent proxy on the way, `http://proxy.corp.example:3128`, or a table with `url`, `user` and `password`; it is asked for a tunnel, and TLS goes through that to the other side");
    pub(super) const TIMEOUTS: Key = default("timeouts", Kind::Table(&super::CALL_TIMEOUTS), "{}", "how slow the endpoint may be");
}

/// The keys that every credential takes, whatever its kind: those of its source that are about its
/// life and its way and not about the vendor.
pub static CREDENTIAL: &[&str] = &[
    "lifetime",
    "renew-at",
    "sign",
    "placement",
    "next-key",
    "tls",
    "connect",
    "via",
    "timeouts",
    "required",
];

/// The section of a source.
#[must_use]
pub fn source(name: &str) -> &'static Section {
    match name {
        "self-signed" => &SELF_SIGNED,
        "exchange" => &EXCHANGE,
        "login" => &LOGIN,
        _ => &STATIC,
    }
}

/// `[credentials.NAME.self-signed]`
#[rustfmt::skip]
pub static SELF_SIGNED: Section = Section {
    path: "credentials.NAME.self-signed",
    keys: &[
        required("algorithm", Kind::Text, "how the token is signed: HS, RS, PS or ES with 256, 384 or 512, or EdDSA"),
        required("key", Kind::Secret, "the key that signs: PEM as SEC1, PKCS#1 or PKCS#8, DER, JWK, or for HS the shared secret"),
        optional("next-key", Kind::Secret, "the key that follows: it signs once the other side refuses what the first has signed"),
        required("claims", Kind::Free, "the token's claims; `${now}`, `${expires}` and `${uuid}` are filled in for each token"),
        optional("kid", Kind::Identifier, "the key's id for the token's header"),
        default("typ", Kind::Text, r#""JWT""#, "the `typ` of the token's header; empty for none"),
        default("lifetime", Kind::Duration, r#""60s""#, "from a token's `${now}` to its `${expires}`"),
        default("backdate", Kind::Duration, r#""0s""#, "how far `${now}` lies in the past, for a target whose clock is behind"),
        shared::RENEW_AT,
        default("sign", Kind::Word(&["ahead", "each-request"]), r#""ahead""#, "one token for all requests of its life, or a new one for each"),
        shared::PLACEMENT,
        shared::REQUIRED,
    ],
};

/// `[credentials.NAME.exchange]`
#[rustfmt::skip]
pub static EXCHANGE: Section = Section {
    path: "credentials.NAME.exchange",
    keys: &[
        optional("url", Kind::Texts, "the token endpoint's https URL; several for a cluster"),
        optional("discovery", Kind::Text, "in place of `url`: the issuer of an OpenID provider, or the URL of its discovery document"),
        default("grant", Kind::Word(&["none", "client-credentials", "jwt-bearer", "password", "refresh-token"]), r#""client-credentials""#, "what is traded (RFC 6749, RFC 7523); `none` for an endpoint that is not OAuth"),
        default("client-authentication", Kind::Word(&["none", "basic", "basic-unencoded", "post", "private-key-jwt"]), r#""none""#, "how the client shows who it is; `basic` encodes id and secret as RFC 6749 asks for, `basic-unencoded` sends them as they are; `private-key-jwt` sends the assertion, whatever it is signed with"),
        optional("client-id", Kind::Identifier, "the client's id"),
        optional("client-secret", Kind::Secret, "the client's secret"),
        optional("user", Kind::Identifier, "the user's name, for the grant `password`"),
        optional("password", Kind::Secret, "the user's password"),
        optional("refresh-token", Kind::Secret, "a refresh token to begin with; one that an answer brings follows it"),
        optional("scopes", Kind::Texts, "what is asked for, joined with spaces"),
        optional("assertion", Kind::Table(&ASSERTION), "what is signed anew for each attempt"),
        shared::SEND,
        default("parameters", Kind::Free, "{}", "further parameters; `${assertion}` is filled in"),
        shared::HEADERS,
        default("token", Kind::Text, r#""/access_token""#, "where the token is in the answer: a JSON pointer"),
        shared::TOKEN_HEADER,
        default("expires-in", Kind::Text, r#""/expires_in""#, "where the token's life in seconds is in the answer: a JSON pointer"),
        shared::LIFETIME,
        shared::RENEW_AT,
        shared::PLACEMENT,
        shared::REQUIRED,
        shared::TLS,
        shared::CONNECT,
        shared::VIA,
        shared::TIMEOUTS,
        optional("next-key", Kind::Secret, "the assertion's key that follows: it signs once the endpoint refuses what the first has signed"),
    ],
};

/// `assertion` of an exchange.
#[rustfmt::skip]
pub static ASSERTION: Section = Section {
    path: "credentials.NAME.exchange.assertion",
    keys: &[
        required("algorithm", Kind::Text, "how it is signed, as for self-signed tokens"),
        required("key", Kind::Secret, "the key that signs, as for self-signed tokens"),
        required("claims", Kind::Free, "its claims; with `discovery`, `${issuer-url}` and `${endpoint-url}` are filled in too"),
        optional("kid", Kind::Identifier, "the key's id for its header"),
        default("typ", Kind::Text, r#""JWT""#, "the `typ` of its header; empty for none"),
        default("lifetime", Kind::Duration, r#""60s""#, "from its `${now}` to its `${expires}`"),
        default("backdate", Kind::Duration, r#""5s""#, "how far its `${now}` lies in the past, for an endpoint whose clock is behind"),
    ],
};

/// `[credentials.NAME.login]`
#[rustfmt::skip]
pub static LOGIN: Section = Section {
    path: "credentials.NAME.login",
    keys: &[
        required("url", Kind::Texts, "the https URL that takes the login; several for a cluster"),
        shared::SEND,
        required("parameters", Kind::Free, "the parameters; `${secret-of-user}` is the password"),
        required("password", Kind::Secret, "the user's password"),
        shared::HEADERS,
        optional("token", Kind::Text, "where the token is in the answer: a JSON pointer; empty for a body that is the token"),
        shared::TOKEN_HEADER,
        optional("token-cookie", Kind::Text, "a cookie that has the token, looked at second"),
        optional("expires-in", Kind::Text, "where the token's life in seconds is in the answer: a JSON pointer"),
        optional("refresh-token", Kind::Text, "where a refresh token is in the answer: a JSON pointer"),
        optional("refresh", Kind::Table(&REFRESH), "how to get the next token while the last one lives; if left out, by another login"),
        shared::LIFETIME,
        shared::RENEW_AT,
        shared::PLACEMENT,
        shared::REQUIRED,
        shared::TLS,
        shared::CONNECT,
        shared::VIA,
        shared::TIMEOUTS,
    ],
};

/// `refresh` of a login.
#[rustfmt::skip]
pub static REFRESH: Section = Section {
    path: "credentials.NAME.login.refresh",
    keys: &[
        required("url", Kind::Texts, "the https URL that takes the refresh; several for a cluster"),
        default("send", Kind::Word(&["nothing", "form", "json"]), r#""nothing""#, "how parameters are written"),
        default("parameters", Kind::Free, "{}", "the parameters; `${refresh-token}` and `${live-token}` are filled in"),
        default("bearer", Kind::Boolean, "true", "whether the live token stands in `Authorization`"),
    ],
};

/// `[credentials.NAME.static]`
#[rustfmt::skip]
pub static STATIC: Section = Section {
    path: "credentials.NAME.static",
    keys: &[
        required("token", Kind::Secret, "the token"),
        default("lifetime", Kind::Timeout, r#""1h""#, "how long one is used before a command is run again; a new file is noticed at once"),
        default("renew-at", Kind::Integer(10, 95), "75", "after how many percent of that time"),
        shared::PLACEMENT,
        shared::REQUIRED,
    ],
};

/// `timeouts` of a credential.
#[rustfmt::skip]
pub static CALL_TIMEOUTS: Section = Section {
    path: "credentials.NAME.KIND.timeouts",
    keys: &[
        default("connect", Kind::Timeout, r#""5s""#, "to look up the name and open a connection"),
        default("tls", Kind::Timeout, r#""5s""#, "to shake hands"),
        default("total", Kind::Timeout, r#""5s""#, "for everything at one URL, to the last byte of the answer"),
    ],
};

/// `placement` of a credential.
#[rustfmt::skip]
pub static PLACEMENT: Section = Section {
    path: "credentials.NAME.KIND.placement",
    keys: &[
        default("header", Kind::Text, r#""Authorization""#, "the header that carries the token"),
        default("scheme", Kind::Text, r#""Bearer""#, "the word before the token in the header; empty for none"),
        optional("query", Kind::Text, "in place of a header: the parameter of the query that is the token; servers log queries, so only for an API that takes nothing else"),
        optional("cookie", Kind::Text, "in place of a header: the cookie that is the token"),
    ],
};

/// A reference to a secret or an identifier.
#[rustfmt::skip]
pub static REFERENCE: Section = Section {
    path: "reference",
    keys: &[
        optional("file", Kind::Text, "the content of a file, less one newline at its end"),
        optional("env", Kind::Text, "the value of an environment variable"),
        optional("credential", Kind::Text, "a credential that systemd hands over (LoadCredential=)"),
        optional("command", Kind::Texts, "what a program writes to its standard output; only for secrets"),
        optional("pointer", Kind::Texts, "with `file`: where in it, if it is JSON; of several JSON pointers the first that leads to a text"),
    ],
};

/// A preset.
#[rustfmt::skip]
pub static PRESET: Section = Section {
    path: "the preset",
    keys: &[
        required("about", Kind::Text, "the system and its API, in a few words"),
        required("reference", Kind::Text, "the vendor's page that this follows"),
        required("checked", Kind::Text, "when the page was last read, as year-month-day"),
        default("inputs", Kind::Named(&INPUT), "{}", "what the operator gives"),
        required("credential", Kind::Free, "the source, as [credential.SOURCE] with the source's own keys"),
        optional("target", Kind::Free, "defaults for the target's keys"),
        optional("key", Kind::Table(&PRESET_KEY), "the key pair that `keygen` makes"),
        optional("lint", Kind::Tables(&LINT), "what is probably a mistake"),
        optional("hint", Kind::Tables(&HINT), "what a refusal probably means, for `check --online`"),
        optional("probe", Kind::Table(&PROBE), "what `check --online` tries a token on"),
    ],
};

/// `[inputs.NAME]` of a preset.
#[rustfmt::skip]
pub static INPUT: Section = Section {
    path: "inputs.NAME",
    keys: &[
        required("type", Kind::Word(&["text", "label", "url", "integer", "texts", "duration", "secret", "claims"]), "what the input takes; `label` is one part of a host name, `claims` a table whose texts may name the other inputs"),
        default("required", Kind::Boolean, "true", "whether it must be given"),
        optional("default", Kind::Any, "what holds if it is left out; it may name the inputs before it"),
        optional("choices", Kind::TextTable, "words that may be given, each with what it stands for"),
        optional("join", Kind::Text, "a list is put in as one text, joined with this"),
        default("lower", Kind::Boolean, "false", "whether it is put in in lower case"),
        optional("in", Kind::Text, "another input, a JSON file that has this one in it"),
        optional("from", Kind::Texts, "with `in`: where in the file; of several JSON pointers the first that leads to a text"),
        required("doc", Kind::Text, "what it is and where the operator finds it"),
    ],
};

/// `[key]` of a preset.
#[rustfmt::skip]
pub static PRESET_KEY: Section = Section {
    path: "key",
    keys: &[
        required("kind", Kind::Text, "the kind of key, as `keygen` names it"),
        required("private", Kind::Text, "the file for the private key"),
        required("public", Kind::Text, "the file for the public key"),
        required("next", Kind::Text, "what to do with the public key"),
    ],
};

/// `[[lint]]` of a preset.
#[rustfmt::skip]
pub static LINT: Section = Section {
    path: "lint",
    keys: &[
        required("input", Kind::Text, "the input that is looked at"),
        optional("shorter-than", Kind::Text, "speaks up if the input is shorter than this other one"),
        optional("lacks", Kind::Text, "speaks up if the input does not contain this other one"),
        optional("contains", Kind::Text, "speaks up if the input, or one of its items, contains this"),
        optional("without", Kind::Text, "with `contains`: only if no item is this"),
        optional("longer-than", Kind::Text, "speaks up if the duration is longer than this"),
        default("level", Kind::Word(&["warning", "fault"]), r#""warning""#, "how bad it is"),
        required("say", Kind::Text, "what is wrong"),
        required("help", Kind::Text, "the way out"),
    ],
};

/// `[[hint]]` of a preset.
#[rustfmt::skip]
pub static HINT: Section = Section {
    path: "hint",
    keys: &[
        required("status", Kind::Any, "a list of the statuses of refusals that it is about"),
        optional("contains", Kind::Texts, "only if what was said with the status contains one of these"),
        required("say", Kind::Text, "what the refusal probably means"),
        required("help", Kind::Text, "the way out"),
    ],
};

/// `[probe]` of a preset.
#[rustfmt::skip]
pub static PROBE: Section = Section {
    path: "probe",
    keys: &[
        required("path", Kind::Text, "a path of the target that any good token can GET, at little cost"),
    ],
};
