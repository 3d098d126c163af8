//! What is taken from a discovery document.

use super::*;

const ISSUER: &str = "https://idp.example/realms/one";

fn read(issuer: &str, body: &str) -> Result<String, String> {
    let discovery = Discovery::new(issuer).expect("a URL");
    let found = discovery.read(body.as_bytes())?;
    Ok(found.endpoint.all()[0].target.to_string())
}

fn document(issuer: &str, endpoint: &str) -> String {
    serde_json::json!({ "issuer": issuer, "token_endpoint": endpoint }).to_string()
}

#[test]
fn the_endpoint_is_where_the_document_of_that_issuer_says() {
    let body = document(ISSUER, "https://idp.example/token?a=b");
    for issuer in [
        ISSUER.to_owned(),
        format!("{ISSUER}/"),
        format!("{ISSUER}/.well-known/openid-configuration"),
    ] {
        assert_eq!(
            read(&issuer, &body).as_deref(),
            Ok("/token?a=b"),
            "{issuer}"
        );
    }
}

#[test]
fn a_document_about_somebody_else_or_an_endpoint_in_the_clear_is_refused() {
    for body in [
        document(
            "https://idp.example/realms/two",
            "https://idp.example/token",
        ),
        document(
            "https://idp.example/realms/one/more",
            "https://idp.example/token",
        ),
        document(ISSUER, "http://idp.example/token"),
        document(ISSUER, "/token"),
        document(ISSUER, ""),
        "{}".into(),
        "null".into(),
        "[]".into(),
        "<html>".into(),
        format!(r#"{{"issuer":"{ISSUER}"}}"#),
        format!(r#"{{"issuer":"{ISSUER}","token_endpoint":7}}"#),
    ] {
        assert!(read(ISSUER, &body).is_err(), "{body}");
    }
}
