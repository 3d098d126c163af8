use super::*;

fn with_token(place: &Place, target: &str, cookies: &[&str]) -> (String, Vec<String>) {
    let mut request = Request::builder().uri(target);
    for cookie in cookies {
        request = request.header("cookie", *cookie);
    }
    let mut request = request.body(()).expect("a request");
    let value = HeaderValue::from_static("ours");
    place.put(&mut request, &value);
    let once = request.uri().clone();
    place.put(&mut request, &value);
    assert_eq!(once, *request.uri(), "twice is once");
    let cookies = request.headers().get_all("cookie").iter();
    let cookies = cookies.map(|it| it.to_str().expect("text").to_owned());
    (once.to_string(), cookies.collect())
}

#[test]
fn a_parameter_stands_once_and_leaves_the_others_as_they_are() {
    let place = Place::Query("key".into());
    for (given, sent) in [
        ("/a", "/a?key=ours"),
        ("/a?", "/a?key=ours"),
        ("/a?b=1&&c=%2f+;d", "/a?b=1&&c=%2f+;d&key=ours"),
        ("/a?key=theirs", "/a?key=ours"),
        ("/a?b=1&KEY=x&c=2", "/a?b=1&c=2&key=ours"),
        ("/a?b=1;key=x;c=2", "/a?b=1;c=2&key=ours"),
        (
            "/a?%6bey=x&k%2565y=y&key[]=z&+key+=a&key&b",
            "/a?b&key=ours",
        ),
        ("/a??key=x&?b=1", "/a??b=1&key=ours"),
        ("/a?b=1&[key]=x&a%26key=y&%u006bey=z", "/a?b=1&key=ours"),
        (
            "/a?mykey=1&keys=2&b=key",
            "/a?mykey=1&keys=2&b=key&key=ours",
        ),
    ] {
        assert_eq!(with_token(&place, given, &[]).0, sent, "{given}");
    }
}

type Reader = fn(&str) -> Vec<String>;

/// The names that servers of several kinds read from a query, written down from what each does.
const READERS: [(&str, Reader); 6] = [
    ("PHP", |query| {
        let mangle = |name: String| {
            let name = name.split('\0').next().unwrap_or_default();
            let name = name.trim_start_matches(' ').replace(['.', ' '], "_");
            match name.find('[') {
                Some(at) if at > 0 && name[at..].contains(']') => name[..at].to_owned(),
                Some(at) => format!("{}_{}", &name[..at], &name[at + 1..]),
                None => name,
            }
        };
        names(query, "&").map(mangle).collect()
    }),
    ("Rack", |query| {
        let parent = |name: String| {
            let name = name.trim_start_matches(['[', ']']).to_owned();
            let end = name.find(['[', ']']).unwrap_or(name.len());
            name[..end].to_owned()
        };
        names(query, "&;").map(parent).collect()
    }),
    ("ASP", |query| {
        let units = |name: String| {
            let name = name.replace("%u006b", "k").replace("%u006B", "k");
            name.to_lowercase()
        };
        names(query, "&").map(units).collect()
    }),
    ("a servlet", |query| names(query, "&;").collect()),
    ("one that strips", |query| {
        let query = query.trim_start_matches('?');
        names(query, "&")
            .map(|it| it.trim_matches([' ', '\t', '"']).to_lowercase())
            .collect()
    }),
    ("one behind another", |query| {
        names(query, "&;")
            .flat_map(|it| names(&it, "&;").collect::<Vec<_>>())
            .collect()
    }),
];

fn names<'a>(query: &'a str, separators: &'a str) -> impl Iterator<Item = String> + 'a {
    let pieces = query.split(|it| separators.contains(it));
    pieces.map(|piece| {
        let name = piece
            .split('=')
            .next()
            .unwrap_or_default()
            .replace('+', " ");
        let mut bytes = Vec::new();
        let mut rest = name.as_bytes();
        while let [first, tail @ ..] = rest {
            let digits = tail.get(..2).and_then(|it| std::str::from_utf8(it).ok());
            let byte = digits.and_then(|it| u8::from_str_radix(it, 16).ok());
            match byte.filter(|_| *first == b'%') {
                Some(byte) => (bytes.push(byte), rest = &tail[2..]),
                None => (bytes.push(*first), rest = tail),
            };
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[test]
fn whatever_a_caller_sends_every_server_finds_one_credential_and_it_is_ours() {
    const WORDS: [&str; 40] = [
        "api",
        "API",
        "key",
        "Key",
        "k",
        "ey",
        "_",
        ".",
        "+",
        "%20",
        "%2e",
        "%5f",
        "%5b",
        "[",
        "]",
        "[]",
        "[0]",
        "%5D",
        "%00",
        "%6b",
        "%256b",
        "%u006b",
        "%E2%84%AA",
        "?",
        "%3f",
        "&",
        "&",
        "&",
        ";",
        "%26",
        "%3b",
        "=",
        "=",
        "=x",
        "%3d",
        "'",
        "%22",
        "%",
        "api_key",
        "api.key",
    ];
    let place = Place::Query("api_key".into());
    let mut state = 1_u64;
    let mut draw = |below: usize| {
        // Knuth's MMIX generator: the same run each time.
        state = state.wrapping_mul(6_364_136_223_846_793_005);
        state = state.wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 40).expect("24 bits") % below
    };
    let (mut taken, mut kept) = (0, 0);
    for _ in 0..15_000 {
        let length = 1 + draw(9);
        let query: String = (0..length).map(|_| WORDS[draw(WORDS.len())]).collect();
        let sent = with_token(&place, &format!("/a?{query}"), &[]).0;
        let sent = sent.split_once('?').expect("a query").1;
        assert!(sent.ends_with("api_key=ours"), "{query} → {sent}");
        for (who, read) in READERS {
            let is_ours = |it: &String| it == "api_key";
            let found = read(sent).iter().filter(|it| is_ours(it)).count();
            assert_eq!(found, 1, "{query} → {sent} to {who}");
            taken += usize::from(read(&query).iter().any(is_ours));
        }
        kept += usize::from(sent.len() > "api_key=ours".len());
    }
    assert!(taken > 150 && kept > 7500, "{taken} taken, {kept} kept");
}

#[test]
fn a_cookie_stands_once_and_leaves_the_others_as_they_are() {
    let place = Place::Cookie("sid".into());
    for (given, sent) in [
        (&[][..], "sid=ours"),
        (&["a=1; b=2"], "a=1; b=2; sid=ours"),
        (&["sid=theirs"], "sid=ours"),
        (&["a=1; SID=x; b=\"2\""], "a=1; b=\"2\"; sid=ours"),
        (
            &["sid=x; a=1", "%73id=y", "b=2,sid=z; =sid=q"],
            "a=1; b=2; sid=ours",
        ),
        (&["a=\"1; sid=x\"; b=2"], "a=\"1; b=2; sid=ours"),
    ] {
        assert_eq!(with_token(&place, "/", given).1, [sent], "{given:?}");
    }
}
