//! Messages of every type: from customers, and from people of the business in the phone app.

use konstruct_core::{
    ConversationRef, Inbound,
    message::{
        ActorKind, Addressing, Attachment, AttachmentKind, Body, Content, ConversationKind, IdKind,
        Lifecycle, Quoted, Referral,
    },
};
use serde_json::{Value, value::RawValue};

use super::{
    inbound::{Change, errors},
    wire,
};
use crate::lenient_json::LenientJson as _;

/// Decodes a message. An echo is a message that the business sent from its phone.
pub(super) fn decode(change: &Change<'_>, raw: &RawValue, message: &Value, echo: bool) -> Inbound {
    let (phone, user): (&[&str], &[&str]) = if echo {
        (
            &["to", "recipient_id"],
            &["to_user_id", "recipient_user_id"],
        )
    } else {
        (&["from"], &["from_user_id"])
    };
    let person = change.person(message, phone, user);
    let group = message.text("group_id");
    let conversation = match (&group, person.id()) {
        (Some(group), _) => Some(ConversationRef {
            kind: ConversationKind::Group,
            ..ConversationRef::direct(group)
        }),
        (None, Some(id)) => Some(ConversationRef::direct(id)),
        (None, None) => None,
    };
    let mut sender = person;
    if echo {
        let own = message
            .text("from")
            .map(|from| (IdKind::WhatsAppPhone, from));
        sender.ids = own.into_iter().collect();
        sender.name = None;
        sender.kind = ActorKind::Operator;
    }
    let body = body(message);
    let event = change.event(
        raw,
        Body::Unsupported {
            kind: String::new(),
            errors: Vec::new(),
        },
    );
    let id = message.text("id");
    let event_id = event.id.clone();
    let logical_id = match (&body, &conversation, &id) {
        (Body::Message { .. }, Some(place), Some(id)) => format!("{}:{id}", place.id),
        _ => String::new(),
    };
    let addressed = Addressing {
        direct: group.is_none() && !echo,
        command: matches!(body, Body::Action { .. }),
        ..Addressing::default()
    };
    let time = wire::timestamp(message, "timestamp").unwrap_or(event.occurred_at);
    let quoted = message.text("context.id");
    let author = message.first(&["context.from", "context.user_id"]);
    let label = ["interactive.button_reply", "interactive.list_reply"];
    let label = label
        .iter()
        .find_map(|path| message.at(path).text("title"))
        .or_else(|| message.text("button.text"));
    let mut event = event
        .with_id(id.unwrap_or(event_id))
        .with_logical_id(logical_id)
        .addressed(addressed)
        .in_conversation(conversation)
        .sent_by(sender)
        .at(time)
        .quoting(quoted.map(|quoted| Quoted::new(quoted).by(author)))
        .labelled(label)
        .referred_by(referral(message.at("referral")))
        .forwarded(
            message.flag("context.forwarded") || message.flag("context.frequently_forwarded"),
        );
    event.body = body;
    event
}

/// Returns the advertisement whose button started the conversation.
fn referral(part: &Value) -> Option<Referral> {
    let mut referral = Referral::default();
    referral.source_url = part.text("source_url");
    referral.headline = part.text("headline");
    referral.body = part.text("body");
    referral.click_id = part.text("ctwa_clid");
    (referral != Referral::default()).then_some(referral)
}

fn body(message: &Value) -> Body {
    let kind = kind(message);
    let part = message.at(&kind);
    let id = message.text("id").unwrap_or_default();
    match kind.as_str() {
        "interactive" | "button" => action(&kind, part),
        "reaction" => {
            let emoji = part.text("emoji");
            Some(Body::Reaction {
                message: part.text("message_id").unwrap_or_default(),
                added: emoji.is_some(),
                emoji: emoji.unwrap_or_default(),
            })
        }
        "system" => Some(Body::Lifecycle {
            change: system(message, part),
        }),
        "request_welcome" => Some(Body::Lifecycle {
            change: Lifecycle::Opened,
        }),
        "edit" => part
            .text("original_message_id")
            .map(|original| Body::Edited {
                message: original,
                content: content(&kind_of_inner(part), part.at("message")).unwrap_or_default(),
            }),
        "revoke" => part
            .text("original_message_id")
            .map(|message| Body::Deleted { message }),
        _ => content(&kind, message).map(|content| Body::Message {
            message: id,
            content,
        }),
    }
    .unwrap_or_else(|| Body::Unsupported {
        kind,
        errors: errors(message.items("errors")),
    })
}

/// Returns the declared type, or otherwise the type of the part that is present.
fn kind(message: &Value) -> String {
    message.text("type").unwrap_or_else(|| {
        let has = |kind: &&&str| message.get(**kind).is_some();
        wire::MESSAGE_TYPES
            .iter()
            .find(has)
            .map_or_else(String::new, |kind| (*kind).to_owned())
    })
}

fn kind_of_inner(edit: &Value) -> String {
    kind(edit.at("message"))
}

/// Returns the pressed, selected or completed element. Its value is the text that the person saw.
fn action(kind: &str, part: &Value) -> Option<Body> {
    let reply = part.text("type").unwrap_or_else(|| kind.to_owned());
    let (inner, action, value): (_, &[&str], &[&str]) = match reply.as_str() {
        "button" => (part, &["payload"], &["text"]),
        "nfm_reply" => (part.at("nfm_reply"), &["name"], &["response_json"]),
        "call_permission_reply" => (part.at(&reply), &["response"], &["response_source"]),
        reply => (part.at(reply), &["id"], &["title"]),
    };
    inner.is_object().then(|| Body::Action {
        action: inner.first(action).unwrap_or_default(),
        value: inner.first(value).unwrap_or_default(),
        kind: reply,
    })
}

fn system(message: &Value, part: &Value) -> Lifecycle {
    match part.text("type").as_deref() {
        Some("user_changed_number") => Lifecycle::IdentityChanged {
            old: message
                .first(&["from", "from_user_id"])
                .or_else(|| part.first(&["customer", "previous_user_id"]))
                .unwrap_or_default(),
            new: part
                .first(&["wa_id", "new_wa_id", "user_id"])
                .unwrap_or_default(),
        },
        // The two ids must be of one kind: a phone number is not a previous user id.
        Some("user_changed_user_id") => Lifecycle::IdentityChanged {
            old: part
                .text("previous_user_id")
                .or_else(|| message.first(&["from_user_id", "from"]))
                .unwrap_or_default(),
            new: part.first(&["user_id", "wa_id"]).unwrap_or_default(),
        },
        Some(kind) => Lifecycle::Other(kind.to_owned()),
        None => Lifecycle::Other("system".to_owned()),
    }
}

/// Returns the content, or `None` for an unknown type.
fn content(kind: &str, message: &Value) -> Option<Content> {
    let part = message.at(kind);
    let (text, attachments) = match kind {
        "text" => (part.text("body"), Vec::new()),
        "image" | "audio" | "video" | "document" | "sticker" => {
            (part.text("caption"), vec![file(kind, part)])
        }
        "location" => {
            let place = location(part);
            (
                Some(place.clone()),
                vec![bare(AttachmentKind::Location, part.text("url"), place)],
            )
        }
        "contacts" => {
            let cards: Vec<_> = message.items("contacts").iter().map(contact).collect();
            let attachments = cards
                .iter()
                .map(|card| bare(AttachmentKind::Contact, None, card.clone()));
            (Some(cards.join("\n")), attachments.collect())
        }
        "order" => {
            let order = Attachment {
                id: part.text("catalog_id").unwrap_or_default(),
                ..bare(AttachmentKind::Order, None, "order".to_owned())
            };
            (Some(goods(part)), vec![order])
        }
        _ => return None,
    };
    Some(Content {
        text: text.unwrap_or_default(),
        attachments,
    })
}

fn file(kind: &str, part: &Value) -> Attachment {
    Attachment {
        kind: match kind {
            "image" => AttachmentKind::Image,
            "audio" if part.flag("voice") => AttachmentKind::Voice,
            "audio" => AttachmentKind::Audio,
            "video" => AttachmentKind::Video,
            "sticker" => AttachmentKind::Sticker,
            _ => AttachmentKind::Document,
        },
        id: part.text("id").unwrap_or_default(),
        url: part.first(&["url", "link"]),
        mime: part.text("mime_type"),
        name: part.text("filename"),
        size: part.at("file_size").as_u64(),
        sha256: part.text("sha256"),
    }
}

/// An attachment that consists only of its name.
fn bare(kind: AttachmentKind, url: Option<String>, name: String) -> Attachment {
    Attachment {
        kind,
        id: String::new(),
        url,
        mime: None,
        name: Some(name),
        size: None,
        sha256: None,
    }
}

fn location(part: &Value) -> String {
    let named = ["name", "address"]
        .iter()
        .filter_map(|path| part.text(path));
    let point = part.text("latitude").zip(part.text("longitude"));
    let point = point.map(|(latitude, longitude)| format!("({latitude}, {longitude})"));
    named.chain(point).collect::<Vec<_>>().join(", ")
}

fn contact(card: &Value) -> String {
    let phones = card
        .items("phones")
        .iter()
        .filter_map(|phone| phone.first(&["phone", "wa_id"]));
    let mails = card
        .items("emails")
        .iter()
        .filter_map(|mail| mail.text("email"));
    let name = card.first(&["name.formatted_name", "name.first_name", "org.company"]);
    name.into_iter()
        .chain(phones)
        .chain(mails)
        .collect::<Vec<_>>()
        .join(", ")
}

fn goods(part: &Value) -> String {
    let item = |item: &Value| {
        let field = |path| item.text(path).unwrap_or_else(|| "?".to_owned());
        let (quantity, product) = (field("quantity"), field("product_retailer_id"));
        format!(
            "{quantity} x {product} at {} {}",
            field("item_price"),
            field("currency")
        )
    };
    let items = part.items("product_items").iter().map(item);
    part.text("text")
        .into_iter()
        .chain(items)
        .collect::<Vec<_>>()
        .join("\n")
}
