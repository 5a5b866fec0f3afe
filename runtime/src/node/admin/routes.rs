//! The paths of the admin listener. A test compares them with the description that is served.

use hyper::{Method, StatusCode};

use super::problem::Problem;
use crate::manifest::Name;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    Alive,
    Ready,
    Metrics,
    Health,
    Status,
    Description,
    Revisions,
    Promote,
    Abort,
    Pause,
    Resume,
}

/// The clients that a route answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    Everybody,
    /// See [`Access::check_caller`](super::access::Access::check_caller).
    Trusted,
}

/// One path.
#[derive(Debug)]
pub struct Route {
    pub ask: Ask,
    /// `GET`, which is also for HEAD, or `POST`.
    pub method: &'static str,
    /// `{name}` stands for the name of a function or trigger.
    pub path: &'static str,
    pub audience: Audience,
}

const fn get(path: &'static str, ask: Ask, audience: Audience) -> Route {
    Route { ask, method: "GET", path, audience }
}

const fn post(path: &'static str, ask: Ask) -> Route {
    Route { ask, method: "POST", path, audience: Audience::Trusted }
}

/// All paths. Each has one method.
pub const ROUTES: &[Route] = &[
    get("/livez", Ask::Alive, Audience::Everybody),
    get("/readyz", Ask::Ready, Audience::Everybody),
    get("/metrics", Ask::Metrics, Audience::Everybody),
    get("/health", Ask::Health, Audience::Trusted),
    get("/v1/status", Ask::Status, Audience::Trusted),
    get("/v1/openapi.json", Ask::Description, Audience::Trusted),
    get("/v1/functions/{name}/revisions", Ask::Revisions, Audience::Trusted),
    post("/v1/functions/{name}/rollout/promote", Ask::Promote),
    post("/v1/functions/{name}/rollout/abort", Ask::Abort),
    post("/v1/triggers/{name}/pause", Ask::Pause),
    post("/v1/triggers/{name}/resume", Ask::Resume),
];

/// The route of a request, and the name in its path.
pub fn find(method: &Method, path: &str) -> Result<(&'static Route, Option<Name>), Problem> {
    let found = ROUTES.iter().find_map(|route| route.matched(path));
    let Some((route, name)) = found else {
        let detail = "GET /v1/openapi.json lists the paths";
        return Err(Problem::new(StatusCode::NOT_FOUND, "unknown-path", "there is no such path", detail));
    };
    let is_right =
        if route.method == "GET" { [Method::GET, Method::HEAD].contains(method) } else { method == route.method };
    if is_right {
        return Ok((route, name));
    }
    let allow = if route.method == "GET" { "GET, HEAD" } else { route.method };
    let detail = format!("{path} takes {allow}");
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", "the path takes another method", detail);
    Err(Problem { allow: Some(allow), ..problem })
}

impl Route {
    /// If a path is one of this route, the route and the name in the path.
    fn matched(&'static self, path: &str) -> Option<(&'static Self, Option<Name>)> {
        let Some((before, after)) = self.path.split_once("{name}") else {
            return (self.path == path).then_some((self, None));
        };
        let name = path.strip_prefix(before)?.strip_suffix(after)?;
        Name::new(name).ok().map(|name| (self, Some(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &Method, path: &str, expected: Result<(Ask, Option<&str>), u16>) {
        let found = find(method, path);
        let found = match &found {
            Ok((route, name)) => Ok((route.ask, name.as_deref())),
            Err(problem) => Err(problem.status.as_u16()),
        };
        assert_eq!(found, expected, "{method} {path}");
    }

    #[test]
    fn a_path_has_one_method_and_at_most_one_name() {
        check(&Method::GET, "/livez", Ok((Ask::Alive, None)));
        check(&Method::HEAD, "/livez", Ok((Ask::Alive, None)));
        check(&Method::POST, "/livez", Err(405));
        check(&Method::GET, "/v1/functions/a-b/revisions", Ok((Ask::Revisions, Some("a-b"))));
        check(&Method::POST, "/v1/functions/f/rollout/promote", Ok((Ask::Promote, Some("f"))));
        check(&Method::POST, "/v1/triggers/t/pause", Ok((Ask::Pause, Some("t"))));
        check(&Method::GET, "/v1/triggers/t/pause", Err(405));
        check(&Method::HEAD, "/v1/triggers/t/pause", Err(405));
        for path in ["/", "", "/livez/", "/v1/triggers//pause", "/v1/triggers/T/pause", "/v1/triggers/a/b/pause"] {
            check(&Method::GET, path, Err(404));
        }
    }
}
