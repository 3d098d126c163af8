//! What stands at which path: one table, from which requests are served and the specification is
//! written.

use http::Method;
use serde_json::{Map, Value, json};

/// The login that hands out tokens to interactive clients.
pub(super) const LOGIN: &str = "/auth/oauth2/token";

const MACHINE_SPEC: &str = "/api/v2/spec/openapi-2.0.json";

/// What answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Spec,
    MachineSpec,
    Assets,
    Asset,
    Vulnerabilities,
    Vulnerability,
    Echo,
}

/// One path: `{id}` stands for one segment; HEAD goes where GET does.
struct Route {
    path: &'static str,
    endpoint: Endpoint,
    /// As `Allow` has them; empty for any.
    methods: &'static str,
    parameters: &'static [&'static str],
    about: &'static str,
}

const ROUTES: [Route; 7] = [
    Route {
        path: "/api/v2/spec",
        endpoint: Endpoint::Spec,
        methods: "GET, HEAD",
        parameters: &[],
        about: "Where the specification is",
    },
    Route {
        path: MACHINE_SPEC,
        endpoint: Endpoint::MachineSpec,
        methods: "GET, HEAD",
        parameters: &[],
        about: "The specification",
    },
    Route {
        path: "/api/v2/assets",
        endpoint: Endpoint::Assets,
        methods: "GET, HEAD",
        parameters: &["limit", "offset"],
        about: "The assets, by page",
    },
    Route {
        path: "/api/v2/assets/{id}",
        endpoint: Endpoint::Asset,
        methods: "GET, HEAD",
        parameters: &[],
        about: "One asset",
    },
    Route {
        path: "/api/v2/vulnerabilities",
        endpoint: Endpoint::Vulnerabilities,
        methods: "GET, HEAD",
        parameters: &["limit", "offset", "asset_id", "severity"],
        about: "The vulnerabilities, by page, of an asset or a severity if so asked",
    },
    Route {
        path: "/api/v2/vulnerabilities/{id}",
        endpoint: Endpoint::Vulnerability,
        methods: "GET, HEAD, PATCH",
        parameters: &[],
        about: "One vulnerability, to read or to give another status",
    },
    Route {
        path: "/api/v2/echo",
        endpoint: Endpoint::Echo,
        methods: "",
        parameters: &[],
        about: "The request itself, without its token",
    },
];

/// What a request asks for.
pub(super) enum Found<'a> {
    /// This, and the path's `{id}` where it has one.
    Endpoint(Endpoint, &'a str),
    /// The path has only these methods.
    OtherMethods(&'static str),
    /// There is no such path.
    Nothing,
}

/// Whether a path is the API's, where nothing goes without a token.
pub(super) fn needs_token(path: &str) -> bool {
    path == "/api/v2" || path.starts_with("/api/v2/")
}

pub(super) fn find<'a>(method: &Method, path: &'a str) -> Found<'a> {
    for route in &ROUTES {
        let Some(id) = route.id(path) else { continue };
        let any = route.methods.is_empty();
        return if any || route.methods.split(", ").any(|it| it == method.as_str()) {
            Found::Endpoint(route.endpoint, id)
        } else {
            Found::OtherMethods(route.methods)
        };
    }
    Found::Nothing
}

impl Route {
    /// The `{id}` that a path has, empty where this route has none; nothing for other paths.
    fn id<'a>(&self, path: &'a str) -> Option<&'a str> {
        match self.path.strip_suffix("{id}") {
            Some(prefix) => path
                .strip_prefix(prefix)
                .filter(|id| !id.is_empty() && !id.contains('/')),
            None => (self.path == path).then_some(""),
        }
    }

    /// The methods that OpenAPI 2.0 can name, in its spelling.
    fn operations(&self) -> Vec<String> {
        let methods = match self.methods {
            "" => "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
            methods => methods,
        };
        methods.split(", ").map(str::to_ascii_lowercase).collect()
    }

    fn describe(&self, method: &str) -> Value {
        let query = self.parameters.iter().map(|name| {
            let kind = if *name == "severity" {
                "string"
            } else {
                "integer"
            };
            json!({ "name": name, "in": "query", "type": kind })
        });
        let id = self
            .path
            .ends_with("{id}")
            .then(|| json!({ "name": "id", "in": "path", "type": "integer", "required": true }));
        let change = (method == "patch" && self.endpoint == Endpoint::Vulnerability).then(|| {
            json!({
                "name": "change",
                "in": "body",
                "required": true,
                "schema": { "$ref": "#/definitions/Change" },
            })
        });
        let parameters: Vec<Value> = query.chain(id).chain(change).collect();
        json!({
            "summary": self.about,
            "parameters": parameters,
            "responses": {
                "200": { "description": "As asked" },
                "401": { "description": "No token, or a bad one" },
                "403": { "description": "A token without the scope that the method needs" },
            },
        })
    }
}

/// The page for people.
pub(super) fn page() -> String {
    format!(
        "<!doctype html><title>Emulated VDR API</title>\
         <p>This is an emulator. What it serves is described in \
         <a href=\"{MACHINE_SPEC}\">{MACHINE_SPEC}</a>.\n"
    )
}

/// The specification for machines: what this emulator serves, and nothing that it does not.
pub(super) fn openapi() -> Value {
    let mut paths: Map<String, Value> = ROUTES
        .iter()
        .map(|route| {
            let operations = route.operations();
            let item: Map<String, Value> = operations
                .into_iter()
                .map(|method| (method.clone(), route.describe(&method)))
                .collect();
            (route.path.to_owned(), item.into())
        })
        .collect();
    let login = json!({
        "summary": "A token that is of no use",
        "security": [],
        "responses": { "200": { "description": "As asked" } },
    });
    paths.insert(LOGIN.into(), json!({ "post": login }));
    json!({
        "swagger": "2.0",
        "info": { "title": "Emulated VDR API", "version": env!("CARGO_PKG_VERSION") },
        "schemes": ["https"],
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "securityDefinitions": {
            "jwt": { "type": "apiKey", "name": "Authorization", "in": "header" },
        },
        "security": [{ "jwt": [] }],
        "paths": paths,
        "definitions": {
            "Change": {
                "type": "object",
                "required": ["status"],
                "properties": {
                    "status": { "type": "string", "enum": super::data::Status::NAMES },
                },
            },
        },
    })
}
