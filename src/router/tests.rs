use super::*;
use crate::normalize::{self, normalize};
use http::Request;

fn rule(path: &str) -> Rule {
    Rule {
        path: path.into(),
        ..Rule::default()
    }
}

fn for_host(pattern: &str, path: &str) -> Rule {
    Rule {
        host: Some(Pattern::parse(pattern).expect("a pattern")),
        ..rule(path)
    }
}

fn request(method: &str, host: &str, target: &str) -> Normalized<()> {
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", host);
    normalized(request.header("x-team", "red").body(()).expect("a request"))
}

fn normalized(request: Request<()>) -> Normalized<()> {
    normalize(
        request,
        &normalize::Config {
            target: 8192,
            headers: 100,
        },
    )
    .expect("one meaning")
}

fn table(rules: Vec<Rule>) -> Table<usize> {
    let rules = rules
        .into_iter()
        .enumerate()
        .map(|(index, rule)| (rule, index))
        .collect();
    Table::build(rules, 2).expect("every rule can be reached")
}

#[test]
fn a_path_matches_by_whole_segments() {
    let table = table(vec![rule("/acme")]);
    for target in ["/acme", "/acme/", "/acme/api", "/acme?x", "/acme//x"] {
        assert_eq!(
            table.select(0, &request("GET", "h", target)),
            Ok(&0),
            "{target}"
        );
    }
    for target in ["/", "/acmex", "/ACME", "/%61cme", "/x/acme"] {
        assert_eq!(
            table.select(0, &request("GET", "h", target)),
            Err(Miss::NoRoute),
            "{target}"
        );
    }
}

#[test]
fn the_more_exact_rule_wins_whatever_the_order_in_the_file() {
    let table = table(vec![
        rule(""),
        rule("/a"),
        rule("/a/b"),
        for_host("*.x", ""),
        for_host("*.y.x", ""),
        for_host("z.x", "/a"),
        Rule {
            listener: Some(1),
            ..rule("")
        },
        Rule {
            methods: vec![Method::GET],
            ..rule("/a")
        },
        Rule {
            headers: vec![(HeaderName::from_static("x-team"), None)],
            ..rule("/a/b")
        },
    ]);
    let select = |listener, method, host, target| {
        *table
            .select(listener, &request(method, host, target))
            .expect("a route")
    };
    assert_eq!(select(0, "GET", "h", "/other"), 0);
    assert_eq!(select(0, "POST", "h", "/a"), 1);
    assert_eq!(select(0, "GET", "h", "/a"), 7);
    assert_eq!(select(0, "GET", "h", "/a/b"), 8);
    assert_eq!(select(0, "GET", "w.x", "/a/b"), 3);
    assert_eq!(select(0, "GET", "w.y.x", "/a/b"), 4);
    assert_eq!(select(0, "GET", "z.x:80", "/a/b"), 5);
    assert_eq!(select(1, "GET", "z.x", "/a"), 6);
}

#[test]
fn a_method_no_route_has_is_told_apart_from_no_route() {
    let table = table(vec![Rule {
        methods: vec![Method::GET, Method::HEAD],
        ..rule("/a")
    }]);
    assert_eq!(
        table.select(0, &request("POST", "h", "/a")),
        Err(Miss::Method(vec![Method::GET, Method::HEAD]))
    );
    assert_eq!(
        table.select(0, &request("POST", "h", "/b")),
        Err(Miss::NoRoute)
    );
}

#[test]
fn a_header_matches_by_presence_or_by_value() {
    let with = |value: &'static str| Rule {
        headers: vec![(
            HeaderName::from_static("x-team"),
            Some(HeaderValue::from_static(value)),
        )],
        ..rule("")
    };
    let table = table(vec![with("blue"), with("red")]);
    assert_eq!(table.select(0, &request("GET", "h", "/")), Ok(&1));
}

#[test]
fn two_equal_rules_are_a_fault_and_so_is_a_hidden_one() {
    let build = |rules: Vec<Rule>, listeners| {
        let rules = rules.into_iter().map(|rule| (rule, ())).collect();
        Table::build(rules, listeners).err().unwrap_or_default()
    };
    assert_eq!(
        build(vec![rule("/a"), rule("/a")], 1),
        [Hidden { rule: 1, by: 0 }]
    );

    // With one listener, a rule for that listener takes what the wider path of any would.
    let named = Rule {
        listener: Some(0),
        ..rule("/a")
    };
    assert_eq!(
        build(vec![rule("/a/b"), named.clone()], 1),
        [Hidden { rule: 0, by: 1 }]
    );
    assert_eq!(build(vec![rule("/a/b"), named], 2), []);

    let gets = Rule {
        methods: vec![Method::GET, Method::HEAD],
        ..rule("/a")
    };
    let get = Rule {
        methods: vec![Method::GET],
        ..rule("/a")
    };
    assert_eq!(build(vec![gets, get], 1), [Hidden { rule: 1, by: 0 }]);
}

#[test]
fn a_rule_for_certain_methods_takes_none_that_asks_for_another_in_a_header() {
    let table = table(vec![Rule {
        methods: vec![Method::POST],
        ..rule("/acme")
    }]);
    for name in [
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
    ] {
        let request = Request::builder()
            .method("POST")
            .uri("/acme")
            .header("host", "localhost")
            .header(name, "DELETE")
            .body(())
            .expect("a request");
        let request = normalize(
            request,
            &normalize::Config {
                target: 8192,
                headers: 100,
            },
        )
        .expect("one meaning");
        assert!(
            matches!(table.select(0, &request), Err(Miss::Method(_))),
            "{name}"
        );
    }
    for query in ["_method=DELETE", "x=1;_METHOD=put", "%5fmethod[]=delete"] {
        let target = format!("/acme?{query}");
        let found = table.select(0, &request("POST", "localhost", &target));
        assert!(matches!(found, Err(Miss::Method(_))), "{query}");
    }
    for target in ["/acme", "/acme?method=DELETE&my_method=x"] {
        let found = table.select(0, &request("POST", "localhost", target));
        assert!(found.is_ok(), "{target}");
    }
}

#[test]
fn another_spelling_of_a_path_with_a_rule_of_its_own_is_noticed() {
    let table = table(vec![
        rule(""),
        rule("/api/admin"),
        Rule {
            methods: vec![Method::DELETE],
            ..rule("/keys")
        },
        for_host("h", "/Own"),
    ]);
    let is_disguised = |method: &str, host: &str, target: &str| {
        let request = request(method, host, target);
        let found = table.select(0, &request).expect("a rule");
        let noticed = table.is_disguised(found, 0, &request, |_| true);
        assert!(!table.is_disguised(found, 0, &request, |_| false));
        noticed
    };
    for target in [
        "/api/%61dmin",
        "/api/%2561dmin/x",
        "/api//admin",
        "//api/admin",
        "/api/Admin/x",
        "/api;v=1/admin",
        "/api/admin;x",
        "/api/admin%20",
        "/api/admin./x",
        "/api%2fadmin",
    ] {
        assert!(is_disguised("GET", "g", target), "{target}");
    }
    for target in [
        "/api/admin",
        "/api/admin/%61",
        "/api/administration",
        "/api/Users",
        "/%61pi",
        "//x/api/admin",
        "/keys",
        "/KEYS",
    ] {
        assert!(!is_disguised("GET", "g", target), "{target}");
    }
    assert!(is_disguised("DELETE", "g", "/KEYS"));
    assert!(is_disguised("delete", "g", "/keys"));
    assert!(!is_disguised("POST", "g", "/keys"));
    for (header, method, is_noticed) in [
        ("x-http-method-override", "delete", true),
        ("x-http-method-override", "PUT", false),
    ] {
        let request = Request::builder()
            .method("POST")
            .uri("/keys")
            .header("host", "g")
            .header(header, method)
            .body(())
            .expect("a request");
        let request = normalized(request);
        let found = table.select(0, &request).expect("a rule");
        let noticed = table.is_disguised(found, 0, &request, |_| true);
        assert_eq!(noticed, is_noticed, "{header}: {method}");
    }
    assert!(is_disguised("GET", "h", "/OWN"));
    assert!(!is_disguised("GET", "g", "/OWN"));
}
