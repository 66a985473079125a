//! Decodes Slack's bytes into events: forms, callbacks, interactions, commands and Socket Mode envelopes.
//!
//! If Slack sends no event id, one is derived: from the trigger of an interaction or a command, from a view's id and hash, or
//! otherwise from the SHA-256 of the payload.

use konstruct_core::{
    AccountId, ChannelKind, ConversationRef, Inbound, Timestamp,
    message::{Body, ConversationKind, Lifecycle},
};
use serde_json::{Value, value::RawValue};

use super::{event, interaction, wire};
use crate::{
    Decoded,
    lenient_json::{self, LenientJson as _},
    webhook::digest_id,
};

/// Decodes a verified request body: JSON of the Events API, or a form of a command or an interaction. `now` is used if Slack
/// sends no time.
///
/// ```
/// use konstruct_channels::slack;
/// use konstruct_core::Timestamp;
///
/// let body = br#"{"type":"event_callback","team_id":"T1","event_id":"Ev1",
///     "event":{"type":"message","channel":"D1","channel_type":"im","user":"U1","ts":"1.000002","text":"hi"}}"#;
/// let decoded = slack::decode(body, Timestamp::default());
/// assert_eq!(decoded.events[0].id, "Ev1");
/// assert_eq!(decoded.events[0].logical_id, "D1:1.000002");
/// ```
pub fn decode(body: &[u8], now: Timestamp) -> Decoded {
    match Payload::read(body) {
        Payload::Json { raw, value, kind } => Source::new(&raw, &value, now, 0).decode(kind),
        Payload::Deep(raw) => deep(&raw, now),
        Payload::Handshake(_) => Decoded::default(),
        Payload::Unreadable => Decoded::undecodable(),
    }
}

/// A Socket Mode frame that carries events.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Envelope {
    /// The id to acknowledge once its events are durable.
    pub id: String,
    /// The decoded payload.
    pub decoded: Decoded,
}

/// Decodes a Socket Mode frame, whose payload is that of a webhook. Returns `None` for frames without a payload, such as `hello`
/// and `disconnect`.
pub fn decode_envelope(frame: &[u8], now: Timestamp) -> Option<Envelope> {
    let text = String::from_utf8_lossy(frame);
    let raw = lenient_json::outline(&text)?;
    let parts = lenient_json::fields(raw);
    let payload = parts.get("payload")?;
    let field = |name: &str| lenient_json::scalar(&lenient_json::value(parts.get(name)?)?);
    let kind = match field("type")?.as_str() {
        "slash_commands" => Kind::Command,
        _ => Kind::Json,
    };
    let attempt = field("retry_attempt").and_then(|text| text.parse().ok());
    let decoded = match lenient_json::value(payload) {
        Some(value) => Source::new(payload, &value, now, attempt.unwrap_or(0)).decode(kind),
        None => deep(payload, now),
    };
    Some(Envelope {
        id: field("envelope_id").unwrap_or_default(),
        decoded,
    })
}

/// The format of a request body.
pub(super) enum Payload {
    Handshake(String),
    Json {
        raw: Box<RawValue>,
        value: Value,
        kind: Kind,
    },
    /// JSON that is nested too deeply to parse.
    Deep(Box<RawValue>),
    Unreadable,
}

/// Slack's kinds of payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The kind is in the JSON.
    Json,
    /// A slash command.
    Command,
}

impl Payload {
    pub(super) fn read(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        if text.trim_start().starts_with('{') {
            return Self::json(&text);
        }
        let form: serde_json::Map<String, Value> = form_urlencoded::parse(body)
            .map(|(key, value)| (key.into_owned(), Value::String(value.into_owned())))
            .collect();
        if let Some(Value::String(payload)) = form.get("payload") {
            return Self::json(payload);
        }
        if form.contains_key("command") {
            let value = Value::Object(form);
            let raw = serde_json::value::to_raw_value(&value);
            return raw.map_or(Self::Unreadable, |raw| Self::Json {
                raw,
                value,
                kind: Kind::Command,
            });
        }
        Self::Unreadable
    }

    fn json(text: &str) -> Self {
        let Some(raw) = lenient_json::outline(text) else {
            return Self::Unreadable;
        };
        let raw = raw.to_owned();
        match lenient_json::value(&raw) {
            Some(value) if value.text("type").as_deref() == Some("url_verification") => {
                Self::Handshake(value.text("challenge").unwrap_or_default())
            }
            Some(value) if value.is_object() => Self::Json {
                raw,
                value,
                kind: Kind::Json,
            },
            Some(_) => Self::Unreadable,
            None => Self::Deep(raw),
        }
    }
}

/// Keeps an event that is nested too deeply, under the account that it names.
fn deep(raw: &RawValue, now: Timestamp) -> Decoded {
    let team = lenient_json::fields(raw)
        .get("team_id")
        .and_then(|id| lenient_json::value(id));
    match team.as_ref().and_then(lenient_json::scalar) {
        Some(team) => {
            let value = serde_json::json!({ "team_id": team });
            let event = Source::new(raw, &value, now, 0).unsupported("nested too deep".to_owned());
            vec![event].into()
        }
        None => Decoded::undecodable(),
    }
}

/// A payload and its delivery context.
pub(super) struct Source<'a> {
    pub(super) raw: &'a RawValue,
    pub(super) value: &'a Value,
    pub(super) now: Timestamp,
    pub(super) redelivery: u32,
}

impl<'a> Source<'a> {
    pub(super) fn new(
        raw: &'a RawValue,
        value: &'a Value,
        now: Timestamp,
        redelivery: u32,
    ) -> Self {
        Self {
            raw,
            value,
            now,
            redelivery,
        }
    }

    pub(super) fn decode(&self, kind: Kind) -> Decoded {
        let outer = self.value.text("type").unwrap_or_default();
        if kind == Kind::Command || self.value.get("command").is_some() {
            vec![interaction::command(self)]
        } else if self.value.at("event").is_object() {
            vec![event::decode(self)]
        } else if outer == "app_rate_limited" {
            vec![self.rate_limited()]
        } else if wire::INTERACTIONS.contains(&outer.as_str()) {
            interaction::decode(self, &outer)
        } else {
            vec![self.unsupported(outer)]
        }
        .into()
    }

    fn rate_limited(&self) -> Inbound {
        let minute = self.value.text("minute_rate_limited").unwrap_or_default();
        let team = self.value.text("team_id").unwrap_or_default();
        let change = Lifecycle::RateLimited;
        self.event(Body::Lifecycle { change })
            .with_id(format!("app_rate_limited:{team}:{minute}"))
            .at(wire::timestamp(&minute).unwrap_or(self.now))
    }

    fn unsupported(&self, kind: String) -> Inbound {
        self.event(Body::Unsupported {
            kind,
            errors: Vec::new(),
        })
    }

    /// Creates an event of which only the account is known. Its id is that of the event, or a digest.
    pub(super) fn event(&self, body: Body) -> Inbound {
        let id = self.value.text("event_id");
        let id = id.unwrap_or_else(|| digest_id(&[self.raw.get()]));
        let mut event = Inbound::new(ChannelKind::SLACK, self.account(), id, self.now, body);
        event.redelivery = self.redelivery;
        event.with_raw(self.raw.to_owned())
    }

    /// Returns the event's installation: the enterprise for an organisation-wide installation, otherwise the team. In a channel
    /// shared with another organisation, the fields outside the authorisation may name that organisation's team.
    fn account(&self) -> AccountId {
        let granted = self
            .value
            .items("authorizations")
            .first()
            .unwrap_or(&Value::Null);
        let team = granted.text("team_id").or_else(|| {
            // A form opened in another organisation names the installation itself.
            self.value.first(&[
                "view.app_installed_team_id",
                "team_id",
                "team.id",
                "user.team_id",
                "view.team_id",
            ])
        });
        let enterprise = granted
            .text("enterprise_id")
            .or_else(|| self.value.first(&["enterprise_id", "enterprise.id"]));
        let whole =
            granted.flag("is_enterprise_install") || self.value.flag("is_enterprise_install");
        let (first, second) = if whole {
            (enterprise, team)
        } else {
            (team, enterprise)
        };
        AccountId(first.or(second).unwrap_or_default())
    }
}

/// Returns the kind of a channel, by the first letter of its id and, in events, Slack's own `channel_type`. A channel's name
/// proves nothing: anybody can name a public channel `im` or `directmessage`. If the two disagree or are unknown, the place
/// counts as readable by many people.
pub(super) fn place_kind(channel: &str, channel_type: Option<&str>) -> ConversationKind {
    match (channel.as_bytes().first(), channel_type) {
        (Some(b'D'), None | Some("im" | "app_home")) => ConversationKind::Direct,
        (Some(b'G'), None) | (_, Some("mpim" | "group")) => ConversationKind::Group,
        _ => ConversationKind::Channel,
    }
}

/// Returns the conversation of a message. Outside one-to-one conversations a message without a thread starts one, so that the
/// reply and later messages share the conversation.
pub(super) fn place(
    channel: String,
    kind: ConversationKind,
    thread: Option<String>,
    root: Option<String>,
    external: bool,
) -> ConversationRef {
    let root = root.filter(|_| kind != ConversationKind::Direct);
    ConversationRef {
        id: channel,
        kind,
        thread: thread.or(root),
        external,
    }
}
