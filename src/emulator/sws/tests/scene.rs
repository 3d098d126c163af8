//! The scene holds together: what it configures is what its vendor takes.

use aws_lc_rs::rsa::KeyPair;

use super::*;

#[test]
fn the_scenes_credential_and_files_are_good_for_a_token_and_its_paths() {
    let scene = super::super::scene::scene(Options::default()).unwrap();
    let running = scene._vendor.downcast_ref::<Running<Sws>>().unwrap();
    let credential = format!("credentials.{}.sws", scene.name);
    for table in [&credential, &format!("targets.{}", scene.name)] {
        let address = running.address().to_string();
        assert_eq!(scene.setting(table, "connect"), address);
        let ca = scene.file(scene.setting(table, "tls.ca"));
        assert_eq!(ca, running.ca_pem());
    }
    assert_eq!(scene.setting(&credential, "data-centre"), "alero.io");
    let account: Value =
        serde_json::from_str(scene.file(scene.setting(&credential, "account"))).unwrap();
    let key = account["privateKey"].as_str().unwrap();
    let key = key.strip_prefix("-----BEGIN RSA PRIVATE KEY-----").unwrap();
    let key = key.strip_suffix("-----END RSA PRIVATE KEY-----").unwrap();
    let key = KeyPair::from_der(&STANDARD.decode(key).unwrap()).unwrap();
    let tenant = scene.setting(&credential, "tenant");
    let id = account["serviceAccountId"].as_str().unwrap();
    let client = format!("{tenant}.{id}.ExternalServiceAccount");
    let now = running.clock().now();
    let claims = json!({
        "iss": client,
        "sub": client,
        "aud": account["discoveryURI"],
        "jti": "1",
        "iat": now,
        "exp": now + 60,
    });
    let assertion = signed(&key, &json!({ "alg": "RS256" }), &claims);
    let access = block_on(async {
        let mut client = Client::connect(running, AUTH).await;
        client.send(posted(&asserting(&assertion))).await.unwrap()
    });
    let bearer = format!("Bearer {}", access.json()["access_token"].as_str().unwrap());
    block_on(async {
        let mut client = Client::connect(running, API).await;
        for path in scene.paths {
            let request = request("GET", path, &[("authorization", &bearer)], "");
            assert_eq!(client.send(request).await.unwrap().status(), 200, "{path}");
        }
    });
}
