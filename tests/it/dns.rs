//! Names: asked of the servers that the operator names, kept for as long as they say, and what
//! happens when nobody answers.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use countersign::emulator::Authority;
use tokio::time::Instant;

use crate::support::caller::PATIENCE;
use crate::support::dns::{Dns, Record};
use crate::support::upstream::NAME;
use crate::support::{Folder, Proxy, Upstream, get};

/// Closes each connection after its answer, so that every request needs a new one.
fn forgetful(address: &str, text: &'static str) -> Upstream {
    Upstream::at(address.parse().expect("an address"), move |conversation| {
        if conversation.read_request().is_some() {
            conversation.write(format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            ));
            conversation.close();
        }
    })
}

/// A proxy whose target `acme` is a name that these servers know.
fn proxy(servers: &[SocketAddr], upstreams: &[&Upstream], extra: &str) -> (Proxy, Folder) {
    let folder = Folder::new();
    let authorities: String = upstreams.iter().map(|it| it.ca_pem.as_str()).collect();
    folder.write("ca.pem", authorities);
    let servers: Vec<String> = servers.iter().map(|it| format!("\"{it}\"")).collect();
    let port = upstreams[0].address.port();
    let text = format!(
        r#"
workers = 1
dns.servers = [{}]

[listeners.local]
address = "127.0.0.1:0"

[targets.acme]
url = "https://{NAME}:{port}"
credential = "none"
tls.ca = ["ca.pem"]
{extra}
"#,
        servers.join(", ")
    );
    (Proxy::start(&folder, &text), folder)
}

/// Asks until the answer is this one.
fn wait_for(proxy: &Proxy, text: &str) {
    let start = Instant::now();
    while get(proxy.address, "/acme").text() != text {
        assert!(start.elapsed() < PATIENCE, "it never comes to {text:?}");
    }
}

#[test]
fn an_answer_is_used_for_as_long_as_it_says() {
    let upstream = forgetful("127.0.0.1:0", "hello");
    let dns = Dns::saying(&["127.0.0.1"], 60);
    let (proxy, _folder) = proxy(&[dns.address], &[&upstream], "");
    for _ in 0..9 {
        assert_eq!(get(proxy.address, "/acme").text(), "hello");
    }
    assert_eq!(upstream.connections(), 9);
    // Once for each family, and once more where the answer took its time.
    let asked = dns.asked(NAME);
    assert!((2..=4).contains(&asked), "{asked} questions");
}

#[test]
fn a_name_that_moves_is_found_at_its_new_address_when_its_time_is_over() {
    let old = forgetful("127.0.0.1:0", "old");
    let new = forgetful(&format!("127.0.0.2:{}", old.address.port()), "new");
    let at: Arc<Mutex<IpAddr>> = Arc::new(Mutex::new(old.address.ip()));
    let zone = Arc::clone(&at);
    let dns = Dns::start(move |question| {
        let address = *zone.lock().expect("a zone");
        vec![question.addresses(&[address], 1)]
    });
    let (proxy, _folder) = proxy(&[dns.address], &[&old, &new], "");
    assert_eq!(get(proxy.address, "/acme").text(), "old");
    *at.lock().expect("a zone") = new.address.ip();
    wait_for(&proxy, "new");
}

#[test]
fn aliases_are_followed_whoever_has_to_do_it() {
    let upstream = forgetful("127.0.0.1:0", "hello");
    let address = upstream.address.ip();
    let whole = Dns::start(move |question| {
        let records = [
            Record::Address("end.example", address, 60),
            Record::Alias("middle.example", "END.example", 60),
            Record::Alias(NAME, "middle.example", 60),
        ];
        vec![question.records(&records)]
    });
    let (proxy_to_whole, _folder) = proxy(&[whole.address], &[&upstream], "");
    assert_eq!(get(proxy_to_whole.address, "/acme").text(), "hello");
    let piecemeal = Dns::start(move |question| {
        let record = match question.name.as_str() {
            NAME => Record::Alias(NAME, "middle.example", 60),
            "middle.example" => Record::Alias("middle.example", "end.example", 60),
            _ => Record::Address("end.example", address, 60),
        };
        vec![question.records(&[record])]
    });
    let (proxy_to_piecemeal, _folder) = proxy(&[piecemeal.address], &[&upstream], "");
    assert_eq!(get(proxy_to_piecemeal.address, "/acme").text(), "hello");
    assert!(piecemeal.asked("end.example") > 0);
}

#[test]
fn aliases_that_lead_in_a_circle_lead_nowhere() {
    let upstream = forgetful("127.0.0.1:0", "hello");
    let dns = Dns::start(|question| {
        let other = match question.name.as_str() {
            NAME => "other.example",
            _ => NAME,
        };
        let name = question.name.clone();
        vec![question.records(&[Record::Alias(&name, other, 60)])]
    });
    let (proxy, _folder) = proxy(&[dns.address], &[&upstream], "");
    assert_eq!(get(proxy.address, "/acme").code(), "upstream-name");
}

#[test]
fn an_answer_that_does_not_fit_is_asked_for_over_tcp() {
    let upstream = forgetful("127.0.0.1:0", "hello");
    let address = upstream.address.ip();
    let over_tcp = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&over_tcp);
    let dns = Dns::start(move |question| {
        if !question.tcp {
            return vec![question.truncated()];
        }
        count.fetch_add(1, Ordering::SeqCst);
        vec![question.addresses(&[address], 60)]
    });
    let (proxy, _folder) = proxy(&[dns.address], &[&upstream], "");
    assert_eq!(get(proxy.address, "/acme").text(), "hello");
    assert!(over_tcp.load(Ordering::SeqCst) > 0);
}

#[test]
fn what_answers_no_question_of_ours_is_not_listened_to() {
    let upstream = forgetful("127.0.0.1:0", "hello");
    let address = upstream.address.ip();
    let elsewhere: IpAddr = "127.0.0.9".parse().expect("an address");
    let dns = Dns::start(move |question| {
        let mut of_another = question.addresses(&[elsewhere], 60);
        of_another[1] ^= 1;
        let mut about_another = question.addresses(&[elsewhere], 60);
        about_another[13] ^= 1;
        let mut no_answer = question.addresses(&[elsewhere], 60);
        no_answer[2] &= 0x7f;
        let mut cut_off = question.addresses(&[elsewhere], 60);
        cut_off.truncate(20);
        let beside = [
            Record::Address("other.example", elsewhere, 60),
            Record::Address(NAME, address, 60),
            Record::Alias("other.example", NAME, 60),
        ];
        vec![
            Vec::new(),
            b"garbage".to_vec(),
            vec![0xff; 600],
            of_another,
            about_another,
            no_answer,
            cut_off,
            question.records(&beside),
        ]
    });
    let (proxy, _folder) = proxy(&[dns.address], &[&upstream], "");
    assert_eq!(get(proxy.address, "/acme").text(), "hello");
}

#[test]
fn a_name_that_was_known_is_still_found_while_its_zone_says_it_is_not_there() {
    let upstream = forgetful("127.0.0.1:0", "hello");
    let address = upstream.address.ip();
    let code: Arc<Mutex<Option<u8>>> = Arc::default();
    let zone = Arc::clone(&code);
    let dns = Dns::start(move |question| match *zone.lock().expect("a zone") {
        None => vec![question.addresses(&[address], 1)],
        Some(0) => Vec::new(),
        Some(code) => vec![question.code(code)],
    });
    let (proxy, _folder) = proxy(&[dns.address], &[&upstream], "");
    assert_eq!(get(proxy.address, "/acme").text(), "hello");
    // No such name, a failure, and silence.
    for bad in [3, 2, 0] {
        *code.lock().expect("a zone") = Some(bad);
        let (start, before) = (Instant::now(), dns.asked(NAME));
        while dns.asked(NAME) < before + 2 {
            assert_eq!(get(proxy.address, "/acme").status, 200, "code {bad}");
            assert!(start.elapsed() < PATIENCE, "it is asked for again");
        }
        assert_eq!(get(proxy.address, "/acme").status, 200, "code {bad}");
    }
}

#[test]
fn a_name_that_nobody_knows_is_said_to_be_that() {
    let upstream = forgetful("127.0.0.1:0", "hello");
    for code in [3, 2, 0] {
        // The last of these: the name is there, and has no address.
        let dns = Dns::start(move |question| vec![question.code(code)]);
        let (proxy, _folder) = proxy(&[dns.address], &[&upstream], "");
        let answer = get(proxy.address, "/acme");
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (502, "upstream-name")
        );
        assert!(!answer.text().contains("127.0.0.1"), "{}", answer.text());
    }
}

#[test]
fn the_next_server_is_asked_where_one_is_silent_or_failing() {
    let upstream = forgetful("127.0.0.1:0", "hello");
    let silent = Dns::start(|_| Vec::new());
    let failing = Dns::start(|question| vec![question.code(2)]);
    let good = Dns::saying(&["127.0.0.1"], 60);
    let servers = [failing.address, silent.address, good.address];
    let (proxy, _folder) = proxy(&servers, &[&upstream], "");
    assert_eq!(get(proxy.address, "/acme").text(), "hello");
    assert!(failing.asked(NAME) > 0 && silent.asked(NAME) > 0);
}

#[test]
fn a_look_up_that_hangs_holds_up_nobody_else() {
    let upstream = forgetful("127.0.0.1:0", "hello");
    // So many are asked, a second each and twice around.
    let servers: [Dns; 4] = std::array::from_fn(|_| {
        Dns::start(|question| match question.name.as_str() {
            NAME => vec![question.addresses(&["127.0.0.1".parse().expect("an address")], 60)],
            _ => Vec::new(),
        })
    });
    let extra = r#"
[targets.hanging]
url = "https://hanging.example"
credential = "none"
tls.ca = ["ca.pem"]
timeouts.connect = "5s"
"#;
    let addresses = servers.each_ref().map(|it| it.address);
    let (proxy, _folder) = proxy(&addresses, &[&upstream], extra);
    let address = proxy.address;
    let hanging = thread::spawn(move || get(address, "/hanging"));
    let start = Instant::now();
    while servers[0].asked("hanging.example") == 0 {
        assert!(start.elapsed() < PATIENCE, "it is asked for");
        thread::yield_now();
    }
    assert_eq!(get(address, "/acme").text(), "hello");
    assert!(!hanging.is_finished(), "the other one still waits");
    let answer = hanging.join().expect("an answer");
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (504, "upstream-timeout")
    );
}

#[test]
fn the_machines_own_list_of_names_comes_before_any_server() {
    let authority = Authority::new().expect("an authority");
    let (certificate, key) = authority
        .server_certificate(vec!["localhost".to_owned()])
        .expect("a certificate");
    let upstream = Upstream::with_certificate(authority.pem(), vec![certificate], key, |it| {
        it.read_request();
        it.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let dns = Dns::start(|question| vec![question.code(3)]);
    let extra = format!(
        "[targets.near]\nurl = \"https://localhost:{}\"\ncredential = \"none\"\ntls.ca = [\"ca.pem\"]",
        upstream.address.port()
    );
    let (proxy, _folder) = proxy(&[dns.address], &[&upstream], &extra);
    assert_eq!(get(proxy.address, "/near").text(), "ok");
    assert_eq!(dns.asked("localhost"), 0);
}
