//! What stands at which path, and the scope that each method there needs.

use http::Method;

/// What answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Devices,
    Device,
    Threats,
    Policies,
    Zones,
    GlobalLists,
    Echo,
}

/// One path: `{id}` stands for one segment.
struct Route {
    path: &'static str,
    endpoint: Endpoint,
    /// Methods and their scopes; HEAD goes where GET does. Empty for any method without a scope.
    operations: &'static [(&'static str, &'static str)],
}

const ROUTES: [Route; 7] = [
    Route {
        path: "/devices/v2",
        endpoint: Endpoint::Devices,
        operations: &[("GET", "device:list")],
    },
    Route {
        path: "/devices/v2/{id}",
        endpoint: Endpoint::Device,
        operations: &[("GET", "device:read")],
    },
    Route {
        path: "/threats/v2",
        endpoint: Endpoint::Threats,
        operations: &[("GET", "threat:list")],
    },
    Route {
        path: "/policies/v2",
        endpoint: Endpoint::Policies,
        operations: &[("GET", "policy:list")],
    },
    Route {
        path: "/zones/v2",
        endpoint: Endpoint::Zones,
        operations: &[("GET", "zone:list")],
    },
    Route {
        path: "/globallists/v2",
        endpoint: Endpoint::GlobalLists,
        operations: &[("GET", "globallist:list"), ("POST", "globallist:create")],
    },
    Route {
        path: "/echo",
        endpoint: Endpoint::Echo,
        operations: &[],
    },
];

/// What a request asks for.
pub(super) enum Found<'a> {
    /// This, the path's `{id}` where it has one, and the scope that it takes, if any.
    Endpoint(Endpoint, &'a str, Option<&'static str>),
    /// The path has only these methods.
    OtherMethods(String),
    /// There is no such path.
    Nothing,
}

pub(super) fn find<'a>(method: &Method, path: &'a str) -> Found<'a> {
    for route in &ROUTES {
        let Some(id) = route.id(path) else { continue };
        if route.operations.is_empty() {
            return Found::Endpoint(route.endpoint, id, None);
        }
        return match route.scope(method) {
            Some(scope) => Found::Endpoint(route.endpoint, id, Some(scope)),
            None => Found::OtherMethods(route.methods()),
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

    fn scope(&self, method: &Method) -> Option<&'static str> {
        let name = match method.as_str() {
            "HEAD" => "GET",
            name => name,
        };
        let mut operations = self.operations.iter();
        operations
            .find(|(method, _)| *method == name)
            .map(|(_, scope)| *scope)
    }

    /// As `Allow` has them.
    fn methods(&self) -> String {
        let names: Vec<&str> = self.operations.iter().map(|(method, _)| *method).collect();
        names.join(", ").replace("GET", "GET, HEAD")
    }
}
