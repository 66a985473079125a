//! A person with a browser: its pages, its forms and its cookie. A benchmark uses it too.

use std::error::Error;

use konstruct_core::http;
use serde_json::Value;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A password that the server accepts.
pub(crate) const PASSWORD: &str = "a planted password";

/// A browser with the cookie that it got last.
#[derive(Clone)]
pub(crate) struct Visitor {
    url: String,
    /// The cookie, as `name=value`; empty without one.
    pub(crate) cookie: String,
    /// The headers by which a browser says which page sends a form.
    pub(crate) sent_by: Vec<(&'static str, String)>,
}

/// What a browser shows.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) status: u16,
    /// The page that follows.
    pub(crate) location: Option<String>,
    pub(crate) set_cookie: Option<String>,
    pub(crate) retry_after: Option<String>,
    pub(crate) policy: Option<String>,
    pub(crate) body: String,
}

impl Visitor {
    pub(crate) fn of(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            cookie: String::new(),
            sent_by: vec![("origin", url.to_owned())],
        }
    }

    /// Returns the token in the cookie.
    pub(crate) fn token(&self) -> &str {
        self.cookie.split_once('=').map_or("", |(_, token)| token)
    }

    async fn send(&mut self, request: http::Request) -> Result<Shown> {
        let request = match self.cookie.as_str() {
            "" => request,
            cookie => request.header("cookie", cookie),
        };
        let answer = request.send().await?;
        let header = |name: &str| answer.header(name).map(str::to_owned);
        let mut shown = Shown {
            status: answer.status(),
            location: header("location"),
            set_cookie: header("set-cookie"),
            retry_after: header("retry-after"),
            policy: header("content-security-policy"),
            body: String::new(),
        };
        if let Some(set) = &shown.set_cookie {
            let cookie = set.split(';').next().unwrap_or_default();
            self.cookie = match cookie.ends_with('=') {
                true => String::new(),
                false => cookie.to_owned(),
            };
        }
        shown.body = String::from_utf8(answer.body(1 << 20).await?.to_vec())?;
        Ok(shown)
    }

    /// Opens a page, by its path or its link.
    pub(crate) async fn open(&mut self, page: &str) -> Result<Shown> {
        let url = self.link(page);
        let request = http::Client::builder().direct().build().get(url)?;
        self.send(request).await
    }

    /// Sends a form.
    pub(crate) async fn submit(&mut self, page: &str, form: &[(&str, &str)]) -> Result<Shown> {
        let url = self.link(page);
        let mut request = http::Client::builder().direct().build().post(url)?;
        for (name, value) in &self.sent_by {
            request = request.header(name, value);
        }
        self.send(request.form(form)).await
    }

    /// Calls the admin API with the cookie. Returns the status and the body.
    pub(crate) async fn call(
        &mut self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Result<(u16, Value)> {
        let url = format!("{}/api/v1{path}", self.url);
        let client = http::Client::builder().direct().build();
        let mut request = client.request(method.to_uppercase().parse()?, url)?;
        for (name, value) in &self.sent_by {
            request = request.header(name, value);
        }
        let shown = self.send(request.body(body.to_string())).await?;
        Ok((
            shown.status,
            serde_json::from_str(&shown.body).unwrap_or_default(),
        ))
    }

    /// Accepts the invitation of a link, with a name and [`PASSWORD`].
    pub(crate) async fn join(&mut self, link: &str, name: &str) -> Result<Shown> {
        let form = [("code", code(link)), ("name", name), ("password", PASSWORD)];
        self.submit("/sign-in/invitation", &form).await
    }

    fn link(&self, page: &str) -> String {
        match page.starts_with('/') {
            true => format!("{}{page}", self.url),
            false => page.to_owned(),
        }
    }
}

/// Returns the code in a link.
pub(crate) fn code(link: &str) -> &str {
    link.split_once("?code=").map_or("", |(_, code)| code)
}
