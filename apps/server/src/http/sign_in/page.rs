//! The pages: HTML without scripts, under a policy that allows none.

use std::time::Duration;

use axum::{
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, RETRY_AFTER},
    },
    response::{Html, IntoResponse, Response},
};
use konstruct_core::{Error, ErrorKind};

const FRAME: &str = include_str!("page.html");
/// The style sheet of all pages.
pub(super) const STYLE: &str = include_str!("page.css");

/// What a page may load and do. Its forms go to this server only.
const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// A page.
#[derive(Debug)]
pub(super) struct Page {
    status: StatusCode,
    title: String,
    body: String,
    retry_after: Option<Duration>,
}

impl Page {
    /// Creates a page from its title and its HTML, in which texts are [escaped](escape).
    pub(super) fn new(title: impl Into<String>, body: impl Into<String>) -> Self {
        Self {
            status: StatusCode::OK,
            title: title.into(),
            body: body.into(),
            retry_after: None,
        }
    }

    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// Creates a page that says what was refused, and what to do.
    pub(super) fn refusal(status: StatusCode, detail: &str) -> Self {
        let body = format!("{}\n<p><a href=\"/sign-in\">Sign in</a></p>", alert(detail));
        Self::new("This did not work", body).with_status(status)
    }

    /// Creates the refusal of one attempt too many.
    pub(super) fn too_many(wait: Duration) -> Self {
        let minutes = wait.as_secs().div_ceil(60).max(1);
        let unit = if minutes == 1 { "minute" } else { "minutes" };
        let detail = format!("Too many attempts. Try again in {minutes} {unit}.");
        Self {
            retry_after: Some(wait),
            ..Self::refusal(StatusCode::TOO_MANY_REQUESTS, &detail)
        }
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let html = framed(&escape(&self.title), &self.body);
        let mut response = (self.status, Html(html)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // Without a referrer, browsers would send the forms of a page with the origin `null`. Other origins get none.
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        response
    }
}

/// Fills the frame in one pass, so that a title cannot name a place of it.
fn framed(title: &str, body: &str) -> String {
    let mut html = String::with_capacity(FRAME.len() + body.len() + 2 * title.len());
    for part in FRAME.split("{{") {
        match part.split_once("}}") {
            Some(("title", rest)) => html.extend([title, rest]),
            Some(("body", rest)) => html.extend([body, rest]),
            _ => html += part,
        }
    }
    html
}

impl From<Error> for Page {
    fn from(error: Error) -> Self {
        let (status, detail) = match error.kind() {
            ErrorKind::InvalidInput => (StatusCode::UNPROCESSABLE_ENTITY, error.message()),
            ErrorKind::NotFound => (StatusCode::NOT_FOUND, error.message()),
            ErrorKind::Conflict => (StatusCode::CONFLICT, error.message()),
            ErrorKind::RateLimited => {
                return Self::too_many(error.retry_after().unwrap_or(Duration::from_secs(60)));
            }
            _ => {
                tracing::error!(%error, "a page failed");
                let detail = "The server is not able to do this just now. Try again in a minute.";
                let page = Self::refusal(StatusCode::SERVICE_UNAVAILABLE, detail);
                return Self {
                    retry_after: Some(Duration::from_secs(60)),
                    ..page
                };
            }
        };
        Self::refusal(status, &sentence(detail))
    }
}

/// Returns an error's message as a sentence.
pub(super) fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    let mut sentence: String = first.chain(letters).collect();
    if !sentence.ends_with('.') {
        sentence.push('.');
    }
    sentence
}

/// Escapes a text for HTML and for quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// Returns a message about something that failed, which screen readers announce.
pub(super) fn alert(text: &str) -> String {
    format!("<p role=\"alert\">{}</p>", escape(text))
}

/// Returns a message about something that was done.
pub(super) fn status(text: &str) -> String {
    format!("<p role=\"status\">{}</p>", escape(text))
}

/// Returns a hidden field.
pub(super) fn hidden(name: &str, value: &str) -> String {
    format!(
        "<input type=\"hidden\" name=\"{name}\" value=\"{}\">",
        escape(value)
    )
}

/// Returns the address to which a password belongs, for password managers.
pub(super) fn address(email: &str) -> String {
    format!(
        "<input type=\"email\" autocomplete=\"username\" value=\"{}\" readonly hidden>",
        escape(email)
    )
}

/// Returns a field for a password that exists.
pub(super) fn password(name: &str, label: &str) -> String {
    format!(
        "<label for=\"{name}\">{label}</label>\n<input id=\"{name}\" name=\"{name}\" type=\"password\" autocomplete=\"current-password\" required>"
    )
}

/// Returns a field for a password to choose.
pub(super) fn new_password() -> &'static str {
    "<label for=\"password\">New password</label>\n<input id=\"password\" name=\"password\" type=\"password\" autocomplete=\"new-password\" minlength=\"10\" maxlength=\"200\" aria-describedby=\"length\" required>\n<small id=\"length\">At least 10 characters.</small>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_add_html() {
        let text = "<b a='1' b=\"2\">&";
        let expected = "&lt;b a=&#39;1&#39; b=&quot;2&quot;&gt;&amp;";
        assert_eq!(escape(text), expected);
        assert!(alert(text).contains(expected) && status(text).contains(expected));
        assert!(hidden("code", text).contains(expected));
    }

    #[test]
    fn a_title_names_no_place_of_the_frame() {
        let html = framed("{{body}}", "<p>Body</p>");
        assert!(html.contains("<h1>{{body}}</h1>\n<p>Body</p>"), "{html}");
        assert_eq!(html.matches("<p>Body</p>").count(), 1);
        assert!(
            html.contains("<title>{{body}} - Konstruct</title>"),
            "{html}"
        );
    }

    #[test]
    fn errors_are_sentences() {
        assert_eq!(sentence("it failed"), "It failed.");
        assert_eq!(sentence("Done."), "Done.");
        assert_eq!(sentence(""), ".");
    }
}
