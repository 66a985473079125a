//! Decodes Meta's bytes into events: every message, status and change of every entry.
//!
//! A message is identified by its `wamid`, a status by the message's `wamid` and the state. Other changes get the SHA-256 of the
//! account, the time and the text of the change.

use konstruct_core::{
    AccountId, ChannelKind, ConversationRef, Inbound, Timestamp,
    message::{Actor, ActorKind, Body, ConversationKind, IdKind, Lifecycle, ProviderError},
};
use serde_json::{Value, value::RawValue};

use super::{call, message, status, wire};
use crate::{
    Decoded,
    lenient_json::{self, LenientJson as _},
    webhook::digest_id,
};

/// Decodes a verified request body. `now` is used if Meta sends no time.
///
/// ```
/// use konstruct_channels::whatsapp;
/// use konstruct_core::Timestamp;
///
/// let body = br#"{"entry":[{"id":"1","changes":[{"field":"messages","value":{"metadata":{"phone_number_id":"2"},
///     "messages":[{"id":"wamid.A","from":"16505551234","timestamp":"1749416383","type":"text","text":{"body":"hi"}}]}}]}]}"#;
/// let decoded = whatsapp::decode(body, Timestamp::default());
/// assert_eq!(decoded.events[0].id, "wamid.A");
/// assert_eq!(decoded.events[0].account.0, "2");
/// ```
pub fn decode(body: &[u8], now: Timestamp) -> Decoded {
    let text = String::from_utf8_lossy(body);
    let Some(outline) = lenient_json::outline(&text).map(lenient_json::fields) else {
        return Decoded::undecodable();
    };
    if !outline
        .get("entry")
        .is_some_and(|entry| entry.get().starts_with('['))
    {
        return Decoded::undecodable();
    }
    let mut events = Vec::new();
    for entry in elements(outline.get("entry")) {
        let entry = lenient_json::fields(&entry);
        let scalar = |name| lenient_json::scalar(&lenient_json::value(entry.get(name)?)?);
        let business: Option<String> = scalar("id");
        let time: Option<String> = scalar("time");
        for change in elements(entry.get("changes")) {
            let (business, time) = (business.as_deref(), time.as_deref());
            Change::read(&change, business, time, now).decode(&mut events);
        }
    }
    events.into()
}

/// One change of one entry.
pub(super) struct Change<'a> {
    raw: &'a RawValue,
    field: String,
    /// The value without its lists of messages and statuses. Those are parsed item by item, so that an unreadable item affects no
    /// other.
    pub(super) value: Value,
    lists: [Vec<Box<RawValue>>; 3],
    account: AccountId,
    entry: [String; 2],
    now: Timestamp,
}

/// The lists whose items are separate events.
const LISTS: [&str; 3] = ["messages", "message_echoes", "statuses"];

impl<'a> Change<'a> {
    fn read(raw: &'a RawValue, business: Option<&str>, time: Option<&str>, now: Timestamp) -> Self {
        let parts = lenient_json::fields(raw);
        let mut inner = parts
            .get("value")
            .map(|value| lenient_json::fields(value))
            .unwrap_or_default();
        let lists = LISTS.map(|name| elements(inner.remove(name).as_ref()));
        let value: Value = inner
            .into_iter()
            .filter_map(|(name, raw)| Some((name, lenient_json::value(raw)?)))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let number = [
            "metadata.phone_number_id",
            "phone_number_settings.phone_number_id",
        ];
        let account = value.first(&number).or(business.map(str::to_owned));
        Self {
            raw,
            field: parts
                .get("field")
                .and_then(|raw| lenient_json::scalar(&lenient_json::value(raw)?))
                .unwrap_or_default(),
            value,
            lists,
            account: AccountId(account.unwrap_or_default()),
            entry: [business, time].map(|part| part.unwrap_or_default().to_owned()),
            now,
        }
    }

    fn decode(&self, events: &mut Vec<Inbound>) {
        let before = events.len();
        let [messages, echoes, statuses] = &self.lists;
        // Messages sent from the business's phone, or from before the number was connected.
        let echoed = self.field.ends_with("_echoes");
        let said = messages.iter().map(|raw| (raw, echoed));
        for (raw, echo) in said.chain(echoes.iter().map(|raw| (raw, true))) {
            events.push(match lenient_json::value(raw) {
                Some(json) => message::decode(self, raw, &json, echo),
                None => self.unsupported(raw, "nested too deep"),
            });
        }
        let calls = self.field == "calls";
        for raw in statuses {
            events.push(match lenient_json::value(raw) {
                Some(json) if calls => call::status(self, raw, &json),
                Some(json) => status::decode(self, raw, &json),
                None => self.unsupported(raw, "nested too deep"),
            });
        }
        match self.field.as_str() {
            "messages" | "smb_message_echoes" | "message_echoes" => {
                let errors = errors(self.value.items("errors"));
                if !errors.is_empty() || events.len() == before {
                    let kind = self.field.clone();
                    events.push(self.event(self.raw, Body::Unsupported { kind, errors }));
                }
            }
            "user_preferences" => self.each("user_preferences", events, preference),
            "calls" if !self.value.items("calls").is_empty() => {
                self.each("calls", events, call::change);
            }
            "messaging_handovers" => self.each("messaging_handovers", events, |_| {
                Lifecycle::Other("messaging_handovers".to_owned())
            }),
            "calls" | "standby" if events.len() > before => {}
            "user_id_update" => self.each("user_id_update", events, |item| {
                Lifecycle::IdentityChanged {
                    old: item
                        .first(&["user_id.previous", "previous"])
                        .unwrap_or_default(),
                    new: item
                        .first(&["user_id.current", "current"])
                        .unwrap_or_default(),
                }
            }),
            "group_participants_update" => self.each("groups", events, |_| Lifecycle::Membership),
            field if field.starts_with("group_") && wire::FIELDS.contains(&field) => {
                self.each("groups", events, |_| Lifecycle::Other(field.to_owned()));
            }
            "account_update" => events.push(self.lifecycle(self.account_update())),
            // Some message changes lack the name of the field.
            "" if events.len() > before => {}
            field if wire::FIELDS.contains(&field) => {
                events.push(self.lifecycle(Lifecycle::Other(field.to_owned())));
            }
            field => events.push(self.unsupported(self.raw, field)),
        }
    }

    fn account_update(&self) -> Lifecycle {
        let other = || Lifecycle::Other(self.field.clone());
        match self.value.text("event").as_deref() {
            Some(
                "ACCOUNT_DELETED"
                | "ACCOUNT_OFFBOARDED"
                | "PARTNER_APP_UNINSTALLED"
                | "PARTNER_REMOVED",
            ) => Lifecycle::Disconnected,
            Some("ACCOUNT_RECONNECTED") => Lifecycle::Reconnected,
            Some("DISABLED_UPDATE") => {
                match self.value.text("ban_info.waba_ban_state").as_deref() {
                    Some("DISABLE") => Lifecycle::Disconnected,
                    Some("REINSTATE") => Lifecycle::Reconnected,
                    _ => other(),
                }
            }
            Some("ACCOUNT_RESTRICTION") => self.restriction().unwrap_or_else(other),
            _ => other(),
        }
    }

    /// Returns the restriction that stops replies to customers. Other restrictions affect campaigns and new numbers.
    fn restriction(&self) -> Option<Lifecycle> {
        let listed = ["restriction_info", "restrictions"];
        let restriction = listed
            .iter()
            .flat_map(|list| match self.value.at(list) {
                Value::Array(items) => items.iter().collect(),
                one => vec![one],
            })
            .find(|restriction| {
                restriction.text("restriction_type").as_deref()
                    == Some("RESTRICTED_CUSTOMER_INITIATED_MESSAGING")
            })?;
        let until = restriction.text("expiration");
        let until = until.and_then(|time| wire::seconds(&time).or_else(|| time.parse().ok()));
        Some(Lifecycle::Restricted { until })
    }

    /// Adds one event for each item of a list that names a person or a group.
    fn each(&self, list: &str, events: &mut Vec<Inbound>, change: impl Fn(&Value) -> Lifecycle) {
        let items = self.value.items(list);
        if items.is_empty() {
            events.push(self.lifecycle(change(&self.value)));
        }
        for (index, item) in items.iter().enumerate() {
            let sender = if item.text("direction").as_deref() == Some("BUSINESS_INITIATED") {
                self.person(item, &["to"], &["to_user_id"])
            } else {
                self.person(
                    item,
                    &["wa_id", "from"],
                    &["user_id", "user_id.previous", "from_user_id"],
                )
            };
            let group = item.text("group_id").map(|id| ConversationRef {
                kind: ConversationKind::Group,
                ..ConversationRef::direct(id)
            });
            let sender = match group {
                Some(_) => Actor::default(),
                None => sender,
            };
            let place = group.or_else(|| sender.id().map(ConversationRef::direct));
            let event = self.lifecycle(change(item));
            let (id, time) = (format!("{}/{index}", event.id), event.occurred_at);
            events.push(
                event
                    .with_id(id)
                    .in_conversation(place)
                    .at(wire::timestamp(item, "timestamp").unwrap_or(time))
                    .sent_by(sender),
            );
        }
    }

    /// Returns whether another agent has the conversation, so that nothing may be answered.
    pub(super) fn is_standby(&self) -> bool {
        self.field == "standby"
    }

    /// Returns whether a message in a group addresses the business's number: it quotes a message of the number or mentions it.
    pub(super) fn mentions_us(&self, message: &Value) -> bool {
        let digits =
            |text: String| -> String { text.chars().filter(char::is_ascii_digit).collect() };
        let own = self.value.text("metadata.display_phone_number");
        let Some(own) = own.map(digits).filter(|own| !own.is_empty()) else {
            return false;
        };
        let quoted = message.text("context.from").map(digits);
        let listed = ["mentions", "text.mentions", "context.mentions"];
        let mut listed = listed.iter().flat_map(|path| message.items(path));
        let text = message.first(&[
            "text.body",
            "image.caption",
            "video.caption",
            "document.caption",
        ]);
        let named = text.is_some_and(|text| {
            let mut mentions = text
                .split('@')
                .skip(1)
                .map(|rest| rest.trim_start_matches('+'));
            mentions.any(|rest| {
                let after = rest.strip_prefix(own.as_str());
                after.is_some_and(|after| !after.starts_with(|c: char| c.is_ascii_digit()))
            })
        });
        quoted.is_some_and(|quoted| quoted == own)
            || named
            || listed.any(|item| {
                let id =
                    lenient_json::scalar(item).or_else(|| item.first(&["wa_id", "id", "phone"]));
                id.map(digits).is_some_and(|id| id == own)
            })
    }

    fn lifecycle(&self, change: Lifecycle) -> Inbound {
        self.event(self.raw, Body::Lifecycle { change })
    }

    fn unsupported(&self, raw: &RawValue, kind: &str) -> Inbound {
        let (kind, errors) = (kind.to_owned(), Vec::new());
        self.event(raw, Body::Unsupported { kind, errors })
    }

    /// Creates an event of which only the account is known.
    pub(super) fn event(&self, raw: &RawValue, body: Body) -> Inbound {
        let [business, time] = &self.entry;
        let occurred_at = wire::timestamp(&self.value, "timestamp").or_else(|| wire::seconds(time));
        Inbound::new(
            ChannelKind::WHATSAPP,
            self.account.clone(),
            digest_id(&[business, time, raw.get()]),
            occurred_at.unwrap_or(self.now),
            body,
        )
        .with_raw(raw.to_owned())
    }

    /// Returns a person with the name and the additional ids from the change's contacts. The phone number comes first if Meta
    /// sends it, because a user id changes with the number.
    pub(super) fn person(&self, of: &Value, phone: &[&str], user: &[&str]) -> Actor {
        // A user id may stand where a phone number is expected.
        let mut user = of.first(user);
        let mut phone = phone_or_user(of.first(phone), &mut user);
        let contacts = self.value.items("contacts");
        let same = |contact: &&Value| {
            let ids = [contact.text("wa_id"), contact.text("user_id")];
            let ids: Vec<_> = ids.into_iter().flatten().collect();
            let known = phone.iter().chain(&user);
            known.into_iter().any(|id| ids.contains(id))
        };
        let contact = contacts.iter().find(same).or(match contacts {
            [only] => Some(only),
            _ => None,
        });
        let contact = contact.unwrap_or(&Value::Null);
        user = user.or_else(|| contact.text("user_id"));
        if phone.is_none() {
            phone = phone_or_user(contact.text("wa_id"), &mut user);
        }
        let parent = of
            .text("from_parent_user_id")
            .or_else(|| contact.text("parent_user_id"));
        let ids = [
            (IdKind::WhatsAppPhone, phone),
            (IdKind::WhatsAppUser, user),
            (IdKind::WhatsAppParent, parent),
        ];
        Actor {
            kind: ActorKind::Human,
            ids: ids
                .into_iter()
                .filter_map(|(kind, id)| Some((kind, id?)))
                .collect(),
            name: contact.first(&["profile.name", "profile.username"]),
        }
    }
}

/// Returns an id if it is a phone number. A user id is kept as such, if none is known yet.
fn phone_or_user(id: Option<String>, user: &mut Option<String>) -> Option<String> {
    if id.as_deref().is_some_and(wire::is_user_id) {
        *user = user.take().or(id);
        return None;
    }
    id
}

/// Returns whether the person stopped or resumed messages of a category.
fn preference(item: &Value) -> Lifecycle {
    let granted = match item.text("value").as_deref() {
        Some("stop") => false,
        Some("resume" | "start") => true,
        _ => return Lifecycle::Other("user_preferences".to_owned()),
    };
    Lifecycle::Consent {
        category: item.text("category").unwrap_or_default(),
        granted,
    }
}

/// Returns a list's items as raw JSON, or none if it is not a list.
fn elements(raw: Option<&&RawValue>) -> Vec<Box<RawValue>> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
        .unwrap_or_default()
}

/// Parses Meta's list of errors.
pub(super) fn errors(list: &[Value]) -> Vec<ProviderError> {
    let read = |error: &Value| ProviderError {
        code: error.text("code").unwrap_or_default(),
        message: error
            .first(&["error_data.details", "details", "message", "title"])
            .unwrap_or_default(),
    };
    list.iter().map(read).collect()
}
