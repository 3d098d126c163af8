//! A target that is several places: the next one serves when one cannot be connected to.

use countersign::emulator::protegrity::{Algorithm, Appliance, Cluster, Role, Settings, User};
use countersign::emulator::{self, Options, Running};

use crate::support::{Folder, Proxy, get};

fn appliance(cluster: &Cluster) -> Running<Appliance> {
    let user = User {
        name: "reporting".into(),
        password: "a password".into(),
        may_create_tokens: true,
        role: Role::SecurityViewer,
    };
    let appliance = Appliance::new("esa.corp.example", [user], cluster, Settings::default());
    emulator::start(appliance, Options::default()).expect("it starts")
}

#[test]
fn appliances_that_share_a_secret_share_a_token_and_the_work() {
    let cluster = Cluster::new(Algorithm::Hs512).expect("a secret");
    let (one, two) = (appliance(&cluster), appliance(&cluster));
    let folder = Folder::new();
    folder.write("password", "a password\n");
    folder.write("one.pem", one.ca_pem());
    folder.write("two.pem", two.ca_pem());
    let text = format!(
        r#"
[listeners.local]
address = "127.0.0.1:0"

[credentials.esa.protegrity]
appliance = ["{}", "{}"]
user = "reporting"
password = {{ file = "password" }}
tls.ca = ["one.pem", "two.pem"]

[targets.esa]
tls.ca = ["one.pem", "two.pem"]
"#,
        one.address(),
        two.address()
    );
    let proxy = Proxy::start(&folder, &text);
    let path = "/esa/pty/v2/pim/policies";
    assert_eq!(get(proxy.address, path).status, 200);
    assert_eq!(one.vendor().accounts().counts().logins, 1);
    let seen = one.requests();
    let host = seen
        .last()
        .and_then(|it| it.header("host").map(str::to_owned));
    assert_eq!(host, Some(one.address().to_string()));

    drop(one);
    for _ in 0..5 {
        assert_eq!(get(proxy.address, path).status, 200);
    }
    assert_eq!(
        two.vendor().accounts().counts().logins,
        0,
        "the token of the other is good here"
    );
    let seen = two.requests();
    let host = seen
        .last()
        .and_then(|it| it.header("host").map(str::to_owned));
    assert_eq!(host, Some(two.address().to_string()));
}
