//! One credential, ours, whatever a caller sends: for every way to get one and every place to put it.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::SocketAddr;

use crate::support::upstream::{Conversation, NAME};
use crate::support::{Folder, Proxy, Upstream, send};

/// The places, each with what stands in `placement` and the header that a caller might have removed.
pub const PLACES: [(&str, &str, &str); 4] = [
    ("bearer", "{}", "Authorization"),
    (
        "key",
        r#"{ header = "X-Api-Key", scheme = "" }"#,
        "X-Api-Key",
    ),
    ("query", r#"{ query = "api_key" }"#, "Cookie"),
    ("cookie", r#"{ cookie = "sid" }"#, "Cookie"),
];

/// The ways to get one, as the kind and its table; all give tokens that begin with `ours`, or are JWTs.
const SOURCES: [(&str, &str); 4] = [
    (
        "self-signed",
        "algorithm = \"ES512\"\nkey = { file = \"key.pem\" }\nclaims = { exp = \"${expires}\" }\n",
    ),
    (
        "exchange",
        "url = \"https://NAME/token\"\nconnect = \"ADDRESS\"\ntls.ca = \"ca.pem\"\ngrant = \"none\"\n",
    ),
    (
        "login",
        "url = \"https://NAME/login\"\nconnect = \"ADDRESS\"\ntls.ca = \"ca.pem\"\ntoken = \"/access_token\"\n\
         parameters = { user = \"me\", password = \"${secret-of-user}\" }\npassword = { file = \"secret\" }\n",
    ),
    ("static", "token = { file = \"token\" }\n"),
];

/// The token endpoint and the target in one.
fn serve(conversation: &mut Conversation) {
    while let Some(head) = conversation.read_request() {
        let body = if head.starts_with("POST /token ") || head.starts_with("POST /login ") {
            r#"{"access_token":"ours-from-the-endpoint"}"#
        } else {
            "fine"
        };
        let length = body.len();
        conversation.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
    }
}

/// What a caller may try, as a query and header lines. All that is the caller's says `theirs`.
pub fn tries(own: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut headers = |lines: String| all.push((String::new(), lines));
    for name in [
        "Authorization",
        "authorization",
        "AUTHORIZATION",
        "aUtHoRiZaTiOn",
        "Authorization ",
        "Authorization\t",
        " Authorization",
        "Authorization_",
        "X_Api_Key",
        "X-Api-Key",
        "x-API-key",
        "Proxy-Authorization",
        "proxy-authorization",
        "Proxy_Authorization",
    ] {
        headers(format!("{name}: Bearer theirs\r\n"));
        headers(format!("{name}:theirs\r\n{name}:\ttheirs \r\n"));
    }
    for line in [
        "Authorization:\r\n",
        "Authorization: Bearer\r\n theirs\r\n",
        "Authorization: Bearer theirs, Bearer theirs\r\n",
        "Authorization: Basic theirs\r\nProxy-Authorization: Basic theirs\r\nX-Api-Key: theirs\r\n",
        "Cookie: sid=theirs\r\n",
        "Cookie: a=1; SID=theirs; b=2\r\n",
        "Cookie: a=1\r\nCookie: %73id=theirs\r\n",
        "Cookie: a=1,sid=theirs\r\n",
        "cookie:sid=\"theirs\"; $Path=/\r\n",
    ] {
        headers(line.to_owned());
    }
    // A header that `Connection` names ends at a proxy: ours must not.
    for name in [own, "authorization"] {
        for members in [
            "{}",
            " {} ",
            "\t{}\t",
            "close, {}",
            "{}, close",
            "keep-alive,{}",
            "{} ,keep-alive",
            ",{}",
            "{},",
            ",,{},,",
            "{},{}",
            "\"{}\"",
            "{};q=1",
            "{}=1",
            "x\r\nConnection: {}",
            "{}\r\nConnection: close",
            "close\r\nConnection: keep-alive\r\nconnection:\t{}",
            "upgrade, {}",
            "TE, {}",
            "Host, {}, Via",
        ] {
            let members = members.replace("{}", name);
            headers(format!("Connection: {members}\r\n"));
            let theirs = if own == "Cookie" {
                "sid=theirs"
            } else {
                "theirs"
            };
            headers(format!("Connection: {members}\r\n{own}: {theirs}\r\n"));
        }
    }
    for query in [
        "api_key=theirs",
        "API_KEY=theirs",
        "a=1&api_key=theirs&b=2",
        "api_key=theirs&api_key=theirs",
        "a=1;api_key=theirs",
        "%61pi_key=theirs",
        "api%255Fkey=theirs",
        "api_key[]=theirs",
        "+api_key=theirs",
        "api_key=&a=1",
    ] {
        all.push((format!("?{query}"), String::new()));
    }
    all
}

/// Every credential in a request that arrived: whatever has to do with `Authorization`, and all that
/// a server might take for what stands in the place.
pub fn credentials(request: &str, place: &str) -> Vec<String> {
    let head = request.split("\r\n\r\n").next().unwrap_or_default();
    let mut lines = head.split("\r\n");
    let target = lines.next().and_then(|it| it.split(' ').nth(1));
    let query = target
        .and_then(|it| it.split_once('?'))
        .map_or("", |it| it.1);
    let has = |text: &str, part: &str| text.to_ascii_lowercase().contains(part);
    let mut found = Vec::new();
    if place == "query" {
        let parameters = query.split(['&', ';']).filter(|it| has(it, "key"));
        found.extend(parameters.map(|it| format!("query {it}")));
    }
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let (name, value) = (name.to_ascii_lowercase(), value.trim());
        if name == "cookie" && place == "cookie" {
            let cookies = value.split([';', ',']).map(str::trim);
            let ids = cookies.filter(|it| has(it, "id="));
            found.extend(ids.map(|it| format!("cookie {it}")));
        } else if has(&name, "auth") || (place == "key" && has(&name, "key")) {
            found.push(format!("{name} {value}"));
        }
    }
    found
}

/// How ours looks in its place.
pub fn is_ours(found: &str, place: &str) -> bool {
    let start = match place {
        "bearer" => "authorization Bearer ",
        "key" => "x-api-key ",
        "query" => "query api_key=",
        _ => "cookie sid=",
    };
    found
        .strip_prefix(start)
        .is_some_and(|token| token.starts_with("ours") || token.starts_with("eyJ"))
}

#[test]
fn exactly_one_credential_arrives_and_it_is_ours() {
    let upstream = Upstream::with(serve);
    let folder = Folder::new();
    folder.write("ca.pem", &upstream.ca_pem);
    folder.write_key("key.pem");
    folder.write("secret", "a-password");
    folder.write("token", "ours-from-a-file");
    let mut text = "[listeners.local]\naddress = \"127.0.0.1:0\"\n".to_owned();
    let address = upstream.address;
    for (kind, table) in SOURCES {
        let table = table
            .replace("NAME", NAME)
            .replace("ADDRESS", &address.to_string());
        for (place, placement, _) in PLACES {
            let name = format!("{kind}-{place}");
            let _ = write!(
                text,
                "[credentials.{name}.{kind}]\n{table}placement = {placement}\n\
                 [targets.{name}]\nurl = \"https://{NAME}\"\nconnect = \"{address}\"\ntls.ca = \"ca.pem\"\n"
            );
        }
    }
    let proxy = Proxy::start(&folder, &text);
    let asked: Vec<Vec<Asked>> = std::thread::scope(|scope| {
        let ask = |kind: &'static str| scope.spawn(move || ask_all(proxy.address, kind));
        let asking: Vec<_> = SOURCES.iter().map(|(kind, _)| ask(kind)).collect();
        let done = asking.into_iter().map(|it| it.join().expect("asked"));
        done.collect()
    });
    let requests = upstream.requests();
    let path_of = |request: &str| {
        let target = request.split(' ').nth(1).unwrap_or_default().to_owned();
        target.split('?').next().unwrap_or_default().to_owned()
    };
    let arrived: HashMap<String, &String> = requests.iter().map(|it| (path_of(it), it)).collect();
    let (mut wrong, mut right) = (String::new(), 0);
    for asked in asked.iter().flatten() {
        match (asked.status, arrived.get(&asked.path)) {
            // What has two meanings is refused, and nothing of it arrives.
            (400, None) => {}
            (200, Some(request)) => {
                let found = credentials(request, asked.place);
                let is_one = matches!(&found[..], [one] if is_ours(one, asked.place));
                if is_one {
                    right += 1;
                } else {
                    let _ = writeln!(wrong, "{asked:?}: {found:?} in {request:?}");
                }
            }
            (_, request) => {
                let _ = writeln!(wrong, "{asked:?}: {request:?}");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(right > 16 * 110, "{right}");
}

/// A request, and what the caller got.
#[derive(Debug)]
struct Asked {
    path: String,
    place: &'static str,
    #[expect(dead_code, reason = "for the table that a failure prints")]
    sent: (String, String),
    status: u16,
}

fn ask_all(proxy: SocketAddr, kind: &str) -> Vec<Asked> {
    let mut all = Vec::new();
    for (place, _, own) in PLACES {
        for (number, (query, lines)) in tries(own).into_iter().enumerate() {
            let path = format!("/{kind}-{place}/{number}");
            let status = send(
                proxy,
                format!(
                    "GET /{kind}-{place}{path}{query} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"
                ),
            )
            .status;
            all.push(Asked {
                path,
                place,
                sent: (query, lines),
                status,
            });
        }
    }
    all
}
