//! Calls of Slack's Web API, and the classification of its responses.

use konstruct_core::{
    Error, ErrorKind, Result, Secret,
    http::{Client, Exchange, Request, Url, join},
};
use serde::Serialize;
use serde_json::Value;

use super::wire::Answer;
use crate::media::is_theirs;

/// The host of every `response_url`.
const RESPONSE_HOSTS: &[&str] = &["hooks.slack.com"];

/// Calls methods of the Web API.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) client: Client,
    pub(super) base: Url,
    pub(super) token: Secret,
}

impl Api {
    /// Calls a method that accepts JSON.
    pub(super) async fn json(&self, method: &str, body: &impl Serialize) -> Result<Value> {
        let request = self.client.post(join(&self.base, &[method]))?;
        self.call(request.json(body)).await
    }

    /// Calls a method that accepts only a form.
    pub(super) async fn form(&self, method: &str, form: &[(&str, &str)]) -> Result<Value> {
        let request = self.client.post(join(&self.base, &[method]))?;
        self.call(request.form(form)).await
    }

    /// Responds to an interaction. Only Slack's host for that, and the origin of the configured API, are accepted.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`] for another host, [`ErrorKind::NotFound`] if the address has expired or was used up, and those of
    /// a call. No error contains the address.
    pub(super) async fn respond(&self, address: &Secret, body: &impl Serialize) -> Result<()> {
        let url = Url::parse(address.expose())
            .map_err(|_| Error::invalid("response_url", "must be a URL"))?;
        if !is_theirs(&url, RESPONSE_HOSTS, &self.base) {
            let message = "response_url: the host is not Slack's";
            return Err(Error::new(ErrorKind::Forbidden, message));
        }
        // The address itself is the credential, so the token is not sent.
        let request = self.client.post(url)?.json(body);
        responded(&request.exchange().await?)
    }

    async fn call(&self, request: Request) -> Result<Value> {
        answer(request.bearer(&self.token).exchange().await?)
    }
}

/// Parses a response.
///
/// # Errors
/// The kind of Slack's error code. [`ErrorKind::Ambiguous`] if the code leaves the outcome open, or the response cannot be
/// parsed.
fn answer(exchange: Exchange) -> Result<Value> {
    match serde_json::from_slice::<Answer>(&exchange.body) {
        Ok(Answer { ok: true, rest, .. }) if exchange.is_success() => Ok(rest),
        Ok(Answer {
            ok: false,
            error: Some(code),
            ..
        }) if !exchange.is_server_error() => Err(exchange.error(kind(&code), printable(&code))),
        _ if exchange.is_success() => {
            Err(exchange.error(ErrorKind::Ambiguous, "the response cannot be parsed"))
        }
        _ => Err(exchange.status_error()),
    }
}

/// Parses the response to a response: `ok` as text or JSON, or an error.
fn responded(exchange: &Exchange) -> Result<()> {
    let answer = serde_json::from_slice::<Answer>(&exchange.body).ok();
    let code = match &answer {
        Some(Answer { ok: true, .. }) => None,
        Some(answer) => answer.error.as_deref(),
        None => str::from_utf8(&exchange.body)
            .ok()
            .map(str::trim)
            .filter(|text| *text != "ok"),
    };
    match exchange.status {
        200..300 if answer.as_ref().is_some_and(|answer| !answer.ok) => {
            let code = code.unwrap_or_default();
            Err(exchange.error(kind(code), printable(code)))
        }
        // Anything else in a success, such as a proxy's page, leaves open what happened.
        200..300 if code.is_some_and(|text| !text.is_empty()) => {
            Err(exchange.error(ErrorKind::Ambiguous, "the response cannot be parsed"))
        }
        200..300 => Ok(()),
        // Without a token, these say that this address is not accepted any more.
        401 | 403 | 404 | 410 => {
            Err(exchange.error(ErrorKind::NotFound, printable(code.unwrap_or_default())))
        }
        _ => Err(exchange.status_error()),
    }
}

/// Classifies an error code of the Web API. Unlisted codes mean that Slack rejected the request.
fn kind(code: &str) -> ErrorKind {
    match code {
        "ratelimited" | "rate_limited" => ErrorKind::RateLimited,
        "message_limit_exceeded" => ErrorKind::QuotaExhausted,
        // These apply to every request of the connection, those below to one conversation or one method.
        "access_denied"
        | "account_inactive"
        | "app_access_restricted"
        | "enterprise_is_restricted"
        | "invalid_auth"
        | "not_allowed_token_type"
        | "not_authed"
        | "org_login_required"
        | "team_access_not_granted"
        | "token_expired"
        | "token_revoked"
        | "two_factor_setup_required" => ErrorKind::Unauthorized,
        "ekm_access_denied"
        | "messages_tab_disabled"
        | "missing_scope"
        | "no_permission"
        | "not_in_channel"
        | "restricted_action"
        | "restricted_action_non_threadable_channel"
        | "restricted_action_read_only_channel"
        | "restricted_action_thread_locked"
        | "restricted_action_thread_only_channel"
        | "send_on_behalf_not_allowed"
        | "user_not_in_channel" => ErrorKind::Forbidden,
        "channel_not_found" | "expired_url" | "message_not_found" | "team_not_found"
        | "thread_not_found" | "used_url" | "user_not_found" => ErrorKind::NotFound,
        "is_archived" | "cannot_reply_to_message" => ErrorKind::Conflict,
        "metadata_too_large" | "msg_blocks_too_long" | "msg_too_long" => ErrorKind::TooLarge,
        "method_deprecated" | "method_not_supported_for_channel_type" | "unknown_method" => {
            ErrorKind::Unsupported
        }
        "request_timeout" | "service_unavailable" | "team_added_to_org" => ErrorKind::Unavailable,
        // "It's possible some aspect of the operation succeeded before the error was raised."
        "fatal_error" | "internal_error" => ErrorKind::Ambiguous,
        _ => ErrorKind::InvalidInput,
    }
}

/// Returns the code if it is one word; other text may come from anybody.
fn printable(code: &str) -> &str {
    let word = code.len() <= 64
        && code
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if word {
        code
    } else {
        "an error without a valid code"
    }
}
