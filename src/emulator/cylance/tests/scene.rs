//! The scene holds together: what it configures is what its vendor takes.

use super::*;

#[test]
fn the_scenes_credential_and_files_are_good_for_a_token_and_its_paths() {
    let scene = super::super::scene::scene(Options::default()).unwrap();
    let running = scene._vendor.downcast_ref::<Running<Cylance>>().unwrap();
    let credential = format!("credentials.{}.cylance", scene.name);
    for table in [&credential, &format!("targets.{}", scene.name)] {
        let address = running.address().to_string();
        assert_eq!(scene.setting(table, "connect"), address);
        let ca = scene.file(scene.setting(table, "tls.ca"));
        assert_eq!(ca, running.ca_pem());
    }
    let secret = scene.file(scene.setting(&credential, "secret"));
    let now = running.clock().now();
    let claims = json!({
        "iss": "http://cylance.com",
        "sub": scene.setting(&credential, "application"),
        "tid": scene.setting(&credential, "tenant"),
        "jti": "1",
        "iat": now,
        "exp": now + 60,
    });
    let token = signed(secret.as_bytes(), &json!({ "alg": "HS256" }), &claims);
    block_on(async {
        let mut client = Client::connect(running, HOST).await;
        let answer = client.send(exchange(&token)).await.unwrap().json();
        let bearer = format!("Bearer {}", answer["access_token"].as_str().unwrap());
        for path in scene.paths {
            let request = request("GET", path, &[("authorization", &bearer)], "");
            assert_eq!(client.send(request).await.unwrap().status(), 200, "{path}");
        }
    });
}
