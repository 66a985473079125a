//! Checks for every request on every listener: an allow-list of hosts and origins, trusted proxies, a time limit, security headers, an
//! id, and a response after a handler panics.

use std::{any::Any, net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{
        HeaderName, HeaderValue, StatusCode, Uri,
        header::{
            CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY, RETRY_AFTER,
            X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
        },
    },
    middleware::{Next, from_fn, from_fn_with_state, map_response},
    response::{IntoResponse as _, Response},
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    request_id::{PropagateRequestIdLayer, SetRequestIdLayer},
    set_header::SetResponseHeaderLayer,
    trace::TraceLayer,
};

use super::{
    Counts, Problem,
    counts::Refused,
    proxy::{REQUEST_ID, Spoofed, identify},
    trace,
};
use crate::{config::Config, networks::Networks};

/// The names of this server. Requests under any other name, as in DNS rebinding, are rejected.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    names: Vec<String>,
    /// The public URL's origin, which a proxy may serve under another Host.
    public: Option<String>,
    address: IpAddr,
}

impl Hosts {
    /// Returns the names of a listener at this address: the public URL's host, `hosts`, `localhost` and the address.
    pub(crate) fn new(config: &Config, address: IpAddr) -> Self {
        let url = config.public_uri();
        let public = url.as_ref().and_then(Uri::host);
        let names = config.hosts.iter().map(String::as_str).chain(public);
        Self {
            names: names
                .chain(["localhost"])
                .map(|name| name.trim_end_matches('.').to_lowercase())
                .collect(),
            public: url.as_ref().and_then(origin),
            address,
        }
    }

    /// Returns whether this `Host`, or a URL's authority, names this server.
    fn allows(&self, authority: &str) -> bool {
        let host = without_port(authority);
        match host.parse::<IpAddr>() {
            // An IP address cannot be rebound.
            Ok(address) => {
                address == self.address || address.is_loopback() || self.address.is_unspecified()
            }
            Err(_) => {
                let host = host.trim_end_matches('.').to_lowercase();
                self.names.contains(&host)
            }
        }
    }

    /// Returns whether pages of this origin may call the server: only its own may.
    fn allows_origin(&self, origin: &str, authority: &str) -> bool {
        let origin = origin.to_lowercase();
        let same = origin.split_once("://").is_some_and(|(scheme, rest)| {
            ["http", "https"].contains(&scheme) && rest == authority.to_lowercase()
        });
        same || self.public.as_ref() == Some(&origin)
    }
}

/// Formats a URL's origin as browsers do, without the scheme's default port.
fn origin(url: &Uri) -> Option<String> {
    let (scheme, authority) = (url.scheme_str()?, url.authority()?);
    let usual = if scheme == "https" { 443 } else { 80 };
    let port = authority.port_u16().filter(|port| *port != usual);
    let port = port.map_or(String::new(), |port| format!(":{port}"));
    Some(format!("{scheme}://{}{port}", authority.host()).to_lowercase())
}

/// Removes the port, and the brackets of an IPv6 address.
fn without_port(authority: &str) -> &str {
    if let Some((address, port)) = authority
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        return if port.is_empty() || port.starts_with(':') {
            address
        } else {
            authority
        };
    }
    authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host)
}

/// What the checks of a listener need to know.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(super) hosts: Hosts,
    pub(super) trusted: Arc<Networks>,
    pub(super) counts: Arc<Counts>,
}

impl Guard {
    /// Returns the guard of a listener at this address.
    pub(crate) fn new(config: &Config, address: IpAddr, counts: &Arc<Counts>) -> Self {
        Self {
            hosts: Hosts::new(config, address),
            trusted: Arc::new(config.trusted_proxies.clone()),
            counts: Arc::clone(counts),
        }
    }

    /// Wraps routes with the checks.
    pub(crate) fn protect(self, router: Router) -> Router {
        let header = |name: HeaderName, value: &'static str| {
            SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
        };
        let (trusted, counts) = (Arc::clone(&self.trusted), Arc::clone(&self.counts));
        let traced = TraceLayer::new_for_http()
            .make_span_with(trace::span)
            .on_request(())
            .on_response(trace::responded)
            .on_body_chunk(())
            .on_eos(())
            .on_failure(());
        router
            .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "no such page") })
            .method_not_allowed_fallback(|| async {
                let detail = "this path does not support the request's method";
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
            })
            .layer(from_fn_with_state(Arc::new(self), check))
            .layer(map_response(with_retry_after))
            .layer(CatchPanicLayer::custom(move |_: Box<dyn Any + Send>| {
                panicked(&counts)
            }))
            .layer(header(X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .layer(header(X_FRAME_OPTIONS, "DENY"))
            .layer(header(REFERRER_POLICY, "no-referrer"))
            .layer(header(
                CONTENT_SECURITY_POLICY,
                "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
            ))
            .layer(PropagateRequestIdLayer::new(REQUEST_ID))
            .layer(traced)
            .layer(SetRequestIdLayer::new(REQUEST_ID, trace::NewId))
            .layer(from_fn_with_state(trusted, identify))
    }
}

/// Limits the duration of requests to these routes.
pub(crate) fn within<S: Clone + Send + Sync + 'static>(
    router: Router<S>,
    limit: Duration,
) -> Router<S> {
    router.layer(from_fn(move |request: Request, next: Next| async move {
        match tokio::time::timeout(limit, next.run(request)).await {
            Ok(response) => response,
            Err(_) => {
                tracing::error!(?limit, "a request exceeded its time limit");
                let detail = "the request exceeded its time limit; try again";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
            }
        }
    }))
}

async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match refusal(&guard, &request) {
        Some((why, problem)) => {
            guard.counts.refused(why);
            problem.into_response()
        }
        None => next.run(request).await,
    }
}

fn refusal(guard: &Guard, request: &Request) -> Option<(Refused, Problem)> {
    let hosts = &guard.hosts;
    let mut named = request.headers().get_all(HOST).iter();
    let host = named.next().map(|host| host.to_str().ok());
    let authority = match (request.uri().authority(), host) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(Some(host))) => host,
        _ => "",
    };
    // A request's URL may name another host than its header, and a second header another one than the first.
    let consistent = named.next().is_none()
        && host.is_none_or(|host| host.is_some_and(|host| hosts.allows(host)));
    if !consistent || !hosts.allows(authority) {
        let detail =
            "unknown host name; set KONSTRUCT_PUBLIC_URL, or `hosts` in the configuration file";
        let problem = Problem::new(StatusCode::MISDIRECTED_REQUEST, detail);
        return Some((Refused::Host, problem));
    }
    let mut origins = request
        .headers()
        .get_all(ORIGIN)
        .iter()
        .map(HeaderValue::to_str);
    if !origins.all(|origin| origin.is_ok_and(|origin| hosts.allows_origin(origin, authority))) {
        let detail = "pages of other origins may not call this server";
        let problem = Problem::new(StatusCode::FORBIDDEN, detail);
        return Some((Refused::Origin, problem));
    }
    request.extensions().get::<Spoofed>().map(|_| {
        let detail =
            "X-Forwarded-For is accepted only from the proxies in KONSTRUCT_TRUSTED_PROXIES";
        (
            Refused::Forwarded,
            Problem::new(StatusCode::FORBIDDEN, detail),
        )
    })
}

/// Tells when to try again, wherever a response does not: seconds that a full disk or a restarted database takes at least.
async fn with_retry_after(mut response: Response) -> Response {
    const SECONDS: u64 = 5;
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        let headers = response.headers_mut();
        headers.entry(RETRY_AFTER).or_insert(SECONDS.into());
    }
    response
}

/// The panic's message was logged by its thread, and must not be sent to the client.
fn panicked(counts: &Counts) -> Response {
    counts.panicked();
    tracing::error!("a request handler panicked");
    let detail = "the server failed to process the request; see its log";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
}

#[cfg(test)]
mod tests {
    use axum::{
        body::{Body, to_bytes},
        routing::get,
    };
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tower::ServiceExt as _;

    use super::*;
    use crate::http::{Limits, listen::Peer, proxy::ClientAddress, serve};

    fn hosts(public: &'static str, address: &str) -> Hosts {
        let variable = |name: &str| (name == "KONSTRUCT_PUBLIC_URL").then(|| public.to_owned());
        let mut config = Config::load(None, variable).unwrap();
        config.hosts = vec!["Konstruct.internal".into()];
        Hosts::new(&config, address.parse().unwrap())
    }

    #[test]
    fn only_known_hosts_are_accepted() {
        let local = hosts("", "127.0.0.1");
        for host in [
            "127.0.0.1:8080",
            "localhost",
            "LOCALHOST:1",
            "[::1]:8080",
            "konstruct.internal",
        ] {
            assert!(local.allows(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8080",
            "10.0.0.7",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            ":8080",
            "[::1]evil.example",
            "localhost@evil.example",
            "evil.example@localhost",
        ] {
            assert!(!local.allows(host), "{host}");
        }
        let public = hosts("https://konstruct.example.com/app", "0.0.0.0");
        for host in [
            "konstruct.example.com",
            "konstruct.example.com.",
            "10.0.0.7:8080",
        ] {
            assert!(public.allows(host), "{host}");
        }
        assert!(!public.allows("example.com"));
        let own = hosts("", "10.0.0.7");
        assert!(own.allows("10.0.0.7:80") && !own.allows("10.0.0.8"));
    }

    #[test]
    fn only_own_pages_may_call() {
        let hosts = hosts("https://konstruct.example.com", "127.0.0.1");
        let check = |origin: &str, authority: &str| hosts.allows_origin(origin, authority);
        assert!(check("http://127.0.0.1:8080", "127.0.0.1:8080"));
        assert!(check("https://konstruct.example.com", "127.0.0.1:8080"));
        for origin in [
            "null",
            "",
            "http://127.0.0.1:3000",
            "http://evil.example",
            "file://127.0.0.1:8080",
            "http://konstruct.example.com",
        ] {
            assert!(!check(origin, "127.0.0.1:8080"), "{origin}");
        }
    }

    #[test]
    fn origins_have_the_format_of_browsers() {
        for (url, expected) in [
            (
                "https://Konstruct.example.com/app",
                "https://konstruct.example.com",
            ),
            ("https://k.example:443", "https://k.example"),
            ("http://k.example:8080/", "http://k.example:8080"),
        ] {
            assert_eq!(origin(&url.parse().unwrap()).as_deref(), Some(expected));
        }
    }

    /// Returns routes, one of which panics and one never responds.
    fn routes() -> Router {
        let slow = Router::new().route("/slow", get(std::future::pending::<()>));
        Router::new()
            .route("/", get(|| async { "ok" }))
            .route("/panic", get(async || -> () { panic!("on purpose") }))
            .route(
                "/client",
                get(async |client: axum::Extension<ClientAddress>| client.0.0.to_string()),
            )
            .merge(within(slow, Duration::from_secs(5)))
    }

    fn guard(trusted: &str) -> Guard {
        Guard {
            hosts: hosts("", "127.0.0.1"),
            trusted: Arc::new(Networks::try_from(trusted.to_owned()).unwrap()),
            counts: Arc::default(),
        }
    }

    async fn ask(path: &str, headers: &[(&str, &str)]) -> (StatusCode, Response) {
        asked(guard(""), path, headers).await
    }

    async fn asked(guard: Guard, path: &str, headers: &[(&str, &str)]) -> (StatusCode, Response) {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let mut request = request;
        request.extensions_mut().insert(Peer([127, 0, 0, 1].into()));
        let response = guard.protect(routes()).oneshot(request).await.unwrap();
        (response.status(), response)
    }

    #[tokio::test(start_paused = true)]
    async fn every_error_is_a_problem_with_security_headers() {
        let here = ("host", "127.0.0.1");
        for (path, headers, status) in [
            ("/panic", vec![here], 500),
            ("/slow", vec![here], 503),
            ("/nowhere", vec![here], 404),
            ("/", vec![("host", "evil.example")], 421),
            ("http://evil.example/", vec![here], 421),
            ("/", vec![], 421),
            ("/", vec![here, ("origin", "http://evil.example")], 403),
            ("/", vec![here, here], 421),
            ("/", vec![here, ("host", "evil.example")], 421),
            (
                "/",
                vec![
                    here,
                    ("origin", "http://127.0.0.1"),
                    ("origin", "http://evil.example"),
                ],
                403,
            ),
        ] {
            let (answered, response) = ask(path, &headers).await;
            assert_eq!(answered.as_u16(), status, "{path} {headers:?}");
            let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
            assert_eq!(header("content-type"), "application/problem+json");
            assert_eq!(header("x-content-type-options"), "nosniff");
            assert_eq!(header("x-frame-options"), "DENY");
            assert_eq!(header("x-request-id").len(), 36);
            let retry_after = response.headers().contains_key("retry-after");
            assert_eq!(retry_after, status == 503, "{path}");
            assert!(header("content-security-policy").contains("frame-ancestors 'none'"));
            let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            let body = String::from_utf8(body.to_vec()).unwrap();
            assert!(
                !body.contains("on purpose") && !body.contains("evil"),
                "{body}"
            );
        }
        let own = ("origin", "http://127.0.0.1");
        assert_eq!(ask("/", &[here, own]).await.0, 200);
    }

    async fn text(response: Response) -> String {
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn only_trusted_proxies_name_clients_and_requests() {
        let claims = [
            ("host", "127.0.0.1"),
            ("x-forwarded-for", "192.0.2.66, 203.0.113.9"),
            ("x-request-id", "from-the-proxy"),
        ];
        // Without a list, a claim is not used.
        let (status, response) = asked(guard(""), "/client", &claims).await;
        assert_eq!(status, 200);
        assert_ne!(response.headers()["x-request-id"], "from-the-proxy");
        assert_eq!(text(response).await, "127.0.0.1");

        let proxied = guard("127.0.0.1");
        let (_, response) = asked(proxied, "/client", &claims).await;
        assert_eq!(response.headers()["x-request-id"], "from-the-proxy");
        assert_eq!(text(response).await, "203.0.113.9");

        // With a list, one of another sender is refused.
        let other = guard("192.0.2.1");
        let counts = Arc::clone(&other.counts);
        let (status, response) = asked(other, "/client", &claims).await;
        assert_eq!(status, 403);
        assert_ne!(response.headers()["x-request-id"], "from-the-proxy");
        assert!(text(response).await.contains("KONSTRUCT_TRUSTED_PROXIES"));
        assert!(
            counts
                .refused_by_reason()
                .any(|one| one == ("forwarded", 1))
        );
    }

    #[tokio::test]
    async fn a_panic_is_counted_and_its_connection_lives() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let guard = guard("");
        let counts = Arc::clone(&guard.counts);
        let http = Config::load(None, |_| None).unwrap().http;
        tokio::spawn(serve(
            listener,
            guard.protect(routes()),
            Limits::new(10, &http),
            Arc::default(),
            std::future::pending(),
        ));
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        for (path, status) in [
            ("/panic", "500"),
            ("/", "200"),
            ("/panic", "500"),
            ("/", "200"),
        ] {
            let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            while !answer.ends_with('}') && !answer.ends_with("\r\n\r\nok") {
                let mut more = [0; 1024];
                let read = stream.read(&mut more).await.unwrap();
                assert_ne!(read, 0, "closed after {answer}");
                answer += std::str::from_utf8(&more[..read]).unwrap();
            }
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")),
                "{answer}"
            );
        }
        assert_eq!(counts.panics(), 2);
    }
}
