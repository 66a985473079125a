//! Event callbacks of Slack's Events API.

use konstruct_core::{
    ConversationRef, Inbound,
    message::{
        Actor, ActorKind, Addressing, Attachment, AttachmentKind, Body, Content, ConversationKind,
        DeliveryState, Forwarded, IdKind, Lifecycle, Quoted, Unavailable, Viewed,
    },
};
use serde_json::Value;

use super::{
    blocks,
    inbound::{Source, place, place_kind},
    wire,
};
use crate::lenient_json::LenientJson as _;

/// Decodes an event callback.
pub(super) fn decode(source: &Source<'_>) -> Inbound {
    let callback = Callback {
        source,
        event: source.value.at("event"),
    };
    let name = callback.event.text("type").unwrap_or_default();
    match name.as_str() {
        "app_mention" => callback.message_event(true),
        "message" => callback.message(),
        "reaction_added" | "reaction_removed" => callback.reaction(&name),
        "message_metadata_posted" => callback.metadata_posted(&name),
        name if name.starts_with("message.") => callback.message(),
        name => callback.change(name),
    }
}

struct Callback<'a> {
    source: &'a Source<'a>,
    event: &'a Value,
}

impl Callback<'_> {
    fn message(&self) -> Inbound {
        let subtype = self.event.text("subtype").unwrap_or_default();
        match subtype.as_str() {
            "" => self.message_event(false),
            "message_changed" => self.edited(),
            "message_deleted" => self.deleted(self.event.at("previous_message")),
            subtype if wire::WRITTEN_MESSAGES.contains(&subtype) => self.message_event(false),
            subtype if wire::MEMBERSHIP.contains(&subtype) => {
                self.lifecycle(Lifecycle::Membership, self.event)
            }
            subtype => {
                let name = format!("message.{subtype}");
                if wire::NOTICES.contains(&subtype) {
                    self.lifecycle(Lifecycle::Other(name), self.event)
                } else {
                    self.unsupported(name)
                }
            }
        }
    }

    /// Decodes a person's message, or the echo of our own.
    fn message_event(&self, mention: bool) -> Inbound {
        let message = self.event;
        let ts = message.first(&["ts", "event_ts"]).unwrap_or_default();
        let conversation = self.conversation(message, message.text("ts"));
        let sender = self.sender(message);
        if let (ActorKind::Myself, Some(key)) = (sender.kind, send_key(message)) {
            return self
                .base(message, delivered(ts, key))
                .sent_by(sender)
                .in_conversation(conversation);
        }
        let logical_id = match (&conversation, message.text("ts")) {
            (Some(place), Some(ts)) => format!("{}:{ts}", place.id),
            _ => String::new(),
        };
        let addressed = Addressing {
            direct: conversation
                .as_ref()
                .is_some_and(|place| place.kind == ConversationKind::Direct),
            mention: mention || self.mentions_me(message),
            thread: message.text("thread_ts").is_some(),
            ..Addressing::default()
        };
        let body = Body::Message {
            message: ts,
            content: self.content(message),
        };
        let shared = message.items("attachments").iter();
        let forwarded = if shared.clone().any(|part| part.flag("is_share")) {
            Forwarded::Once
        } else {
            Forwarded::No
        };
        // Without words of the sender, the shared message is the content.
        let commented = message.text("text").is_some();
        let quoted = shared.clone().find_map(|part| quoted(part, commented));
        self.base(message, body)
            .with_logical_id(logical_id)
            .addressed(addressed)
            .in_conversation(conversation)
            .sent_by(sender)
            .forwarded(forwarded)
            .quoting(quoted)
            .viewing(viewed(message))
    }

    /// Decodes a change of a message. Slack also sends one after unfurling a link, which is not an edit.
    fn edited(&self) -> Inbound {
        let (message, before) = (self.event.at("message"), self.event.at("previous_message"));
        if message.text("subtype").as_deref() == Some("tombstone") {
            return self.deleted(message);
        }
        let same_text = before.is_object() && message.text("text") == before.text("text");
        if same_text && message.text("edited.ts") == before.text("edited.ts") {
            let change = Lifecycle::Other("message.message_changed".to_owned());
            return self
                .lifecycle(change, message)
                .in_conversation(self.conversation(message, message.text("ts")));
        }
        let body = Body::Edited {
            message: message.text("ts").unwrap_or_default(),
            content: self.content(message),
        };
        self.base(self.event, body)
            .in_conversation(self.conversation(message, message.text("ts")))
            .sent_by(self.sender(message))
    }

    fn deleted(&self, message: &Value) -> Inbound {
        let ts = self.event.text("deleted_ts").or_else(|| message.text("ts"));
        let body = Body::Deleted {
            message: ts.clone().unwrap_or_default(),
        };
        self.base(self.event, body)
            .in_conversation(self.conversation(message, ts))
            .sent_by(self.sender(message))
    }

    /// Decodes a reaction. It names no thread, so in a channel it is attributed to the thread that its message starts.
    fn reaction(&self, name: &str) -> Inbound {
        let item = self.event.at("item");
        let Some(ts) = item.text("ts") else {
            return self.lifecycle(Lifecycle::Other(name.to_owned()), item);
        };
        let body = Body::Reaction {
            message: ts.clone(),
            emoji: self.event.text("reaction").unwrap_or_default(),
            added: name == "reaction_added",
        };
        self.base(self.event, body)
            .in_conversation(self.conversation(item, Some(ts)))
            .sent_by(self.sender(self.event))
    }

    /// Decodes Slack's notice that a message with its metadata was posted: our own send was delivered.
    fn metadata_posted(&self, name: &str) -> Inbound {
        let sender = self.sender(self.event);
        match (self.event.text("message_ts"), send_key(self.event)) {
            (Some(ts), Some(key)) if sender.kind == ActorKind::Myself => self
                .base(self.event, delivered(ts.clone(), key))
                .in_conversation(self.conversation(self.event, Some(ts)))
                .sent_by(sender),
            _ => self.lifecycle(Lifecycle::Other(name.to_owned()), self.event),
        }
    }

    fn change(&self, name: &str) -> Inbound {
        let change = match name {
            "app_uninstalled" | "app_uninstalled_team" => Lifecycle::Disconnected,
            // Users' tokens are irrelevant; only the bot's token matters.
            "tokens_revoked" if !self.event.items("tokens.bot").is_empty() => {
                Lifecycle::Disconnected
            }
            "tokens_revoked" => Lifecycle::Other(name.to_owned()),
            "app_rate_limited" => Lifecycle::RateLimited,
            "app_home_opened" | "assistant_thread_started" => Lifecycle::Opened,
            "agent_session_stopped" => Lifecycle::Stopped,
            "app_context_changed" | "assistant_thread_context_changed" => Lifecycle::Viewing,
            "member_joined_channel"
            | "member_left_channel"
            | "channel_joined"
            | "channel_left"
            | "group_joined"
            | "group_left" => Lifecycle::Membership,
            name if wire::EVENTS.contains(&name) => Lifecycle::Other(name.to_owned()),
            name => return self.unsupported(name.to_owned()),
        };
        self.lifecycle(change, self.event)
    }

    fn lifecycle(&self, change: Lifecycle, of: &Value) -> Inbound {
        self.base(self.event, Body::Lifecycle { change })
            .in_conversation(self.conversation(of, None))
            .sent_by(self.sender(self.event))
            .viewing(viewed(self.event))
    }

    fn unsupported(&self, kind: String) -> Inbound {
        let errors = Vec::new();
        self.base(self.event, Body::Unsupported { kind, errors })
            .in_conversation(self.conversation(self.event, None))
            .sent_by(self.sender(self.event))
    }

    /// Creates an event with the common fields; messages are ordered by their own time.
    fn base(&self, timed: &Value, body: Body) -> Inbound {
        let time = timed
            .first(&["ts", "event_ts"])
            .or_else(|| self.source.value.text("event_time"));
        let time = time.and_then(|ts| wire::timestamp(&ts));
        self.source.event(body).at(time.unwrap_or(self.source.now))
    }

    /// Returns the conversation. `root` is the message that starts a thread if no thread is named.
    fn conversation(&self, of: &Value, root: Option<String>) -> Option<ConversationRef> {
        let paths = &[
            "channel",
            "channel_id",
            "channel.id",
            "item.channel",
            "assistant_thread.channel_id",
        ];
        let channel = of.first(paths).or_else(|| self.event.first(paths))?;
        let channel_type = self.event.text("channel_type");
        let kind = place_kind(&channel, channel_type.as_deref());
        let thread = of.first(&["thread_ts", "assistant_thread.thread_ts"]);
        let external = self.source.value.flag("is_ext_shared_channel");
        Some(place(channel, kind, thread, root, external))
    }

    fn sender(&self, of: &Value) -> Actor {
        let user = of.first(&["user", "user_id", "user.id", "assistant_thread.user_id"]);
        if user.as_deref().is_some_and(wire::is_slack) {
            return Actor::default();
        }
        let bot = of.first(&["bot_id", "bot_profile.id"]);
        let app = of.first(&["app_id", "bot_profile.app_id"]);
        let own_user = user.as_ref().is_some_and(|user| self.own().contains(user));
        let own_app = app.is_some() && app == self.source.value.text("api_app_id");
        let kind = if own_user || (own_app && bot.is_some()) {
            ActorKind::Myself
        } else if bot.is_some() || of.text("subtype").as_deref() == Some("bot_message") {
            ActorKind::Bot
        } else if user.is_some() {
            ActorKind::Human
        } else {
            ActorKind::System
        };
        let name = of.first(&[
            "user_profile.display_name",
            "user_profile.real_name",
            "username",
            "bot_profile.name",
        ]);
        let user = user.map(|id| (IdKind::SlackUser, id));
        let bot = bot.map(|id| (IdKind::SlackBot, id));
        Actor {
            ids: user.into_iter().chain(bot).collect(),
            name,
            kind,
        }
    }

    /// Returns the employee's own users, according to the authorisation.
    fn own(&self) -> Vec<String> {
        let granted = self.source.value.items("authorizations").iter();
        granted
            .filter(|granted| granted.flag("is_bot"))
            .filter_map(|granted| granted.text("user_id"))
            .collect()
    }

    fn mentions_me(&self, message: &Value) -> bool {
        let text = message.text("text").unwrap_or_else(|| {
            // Without a text, the blocks are the message.
            message.at("blocks").to_string()
        });
        self.own().iter().any(|user| {
            [
                format!("<@{user}>"),
                format!("<@{user}|"),
                format!("\"user_id\":\"{user}\""),
            ]
            .iter()
            .any(|mention| text.contains(mention))
        })
    }

    fn content(&self, message: &Value) -> Content {
        content(message, &self.own())
    }
}

/// Returns the content of a message. `own` are the employee's users.
pub(super) fn content(message: &Value, own: &[String]) -> Content {
    Content {
        text: blocks::text_of(message, own),
        attachments: message.items("files").iter().map(attachment).collect(),
    }
}

/// Returns what the person was looking at, in Slack's order.
fn viewed(event: &Value) -> Vec<Viewed> {
    let entity = |entity: &Value| {
        let kind = entity.text("type")?;
        let kind = kind.rsplit('/').next().unwrap_or_default();
        let kind = kind.trim_end_matches("_id").trim_end_matches("_context");
        let kind = kind.trim_end_matches("_ts").to_owned();
        let value = entity.at("value");
        let id = entity
            .text("value")
            .or_else(|| value.first(&["message_ts", "thread_ts", "id"]))?;
        Some(Viewed::new(kind, id).in_channel(value.text("channel_id")))
    };
    let lists = ["app_context.entities", "context.entities"];
    let entities = lists.iter().flat_map(|list| event.items(list));
    let channel = event.text("assistant_thread.context.channel_id");
    let channel = channel.map(|id| Viewed::new("channel", id));
    entities.filter_map(entity).chain(channel).collect()
}

/// Returns the key of our own send.
fn send_key(message: &Value) -> Option<String> {
    let metadata = message.at("metadata");
    (metadata.text("event_type").as_deref() == Some(wire::SEND_EVENT))
        .then(|| metadata.text("event_payload.key"))?
}

/// Returns a message that was shared into the conversation. Its text is kept here if the sender commented on it.
fn quoted(part: &Value, commented: bool) -> Option<Quoted> {
    let message = part.text("ts").filter(|_| blocks::is_shared(part))?;
    let text = blocks::shared_text(part).filter(|_| commented);
    Some(
        Quoted::new(message)
            .by(part.text("author_id"))
            .with_text(text),
    )
}

fn delivered(message: String, key: String) -> Body {
    Body::Delivery {
        message,
        state: DeliveryState::Sent,
        key: Some(key),
        errors: Vec::new(),
        billed: None,
    }
}

/// The size from which an image is fetched in a smaller version, in bytes. Models accept 5 MiB as base64.
const LARGE_IMAGE: u64 = 3_900_000;

fn attachment(file: &Value) -> Attachment {
    let mime = file.text("mimetype");
    let kind = match mime.as_deref().and_then(|mime| mime.split('/').next()) {
        _ if file.text("subtype").as_deref() == Some("slack_audio") => AttachmentKind::Voice,
        Some("image") => AttachmentKind::Image,
        Some("audio") => AttachmentKind::Audio,
        Some("video") => AttachmentKind::Video,
        _ => AttachmentKind::Document,
    };
    let size = file.at("size").as_u64();
    let is_shown = matches!(
        mime.as_deref(),
        Some("image/jpeg" | "image/png" | "image/gif" | "image/webp")
    );
    let original = (
        file.first(&["url_private_download", "url_private"]),
        size,
        mime.clone(),
    );
    // Slack's own smaller version of photos that are too large for models, or in a format such as HEIC.
    let smaller = file.first(&["thumb_1024", "thumb_960", "thumb_800", "thumb_720"]);
    let (url, size, mime) = match smaller {
        Some(url)
            if kind == AttachmentKind::Image
                && (!is_shown || size.is_some_and(|size| size > LARGE_IMAGE)) =>
        {
            (Some(url), None, None)
        }
        _ => original,
    };
    Attachment {
        kind,
        id: file.text("id").unwrap_or_default(),
        url,
        mime,
        name: file.first(&["name", "title"]),
        size,
        sha256: None,
        unavailable: match file.text("mode").as_deref() {
            Some("tombstone") => Some(Unavailable::Deleted),
            Some("hidden_by_limit") => Some(Unavailable::HiddenByPlan),
            mode if mode == Some("external") || file.flag("is_external") => {
                Some(Unavailable::External)
            }
            _ => None,
        },
    }
}
