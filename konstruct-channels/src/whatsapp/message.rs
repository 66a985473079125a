//! Messages of every type: from customers, and from people of the business in the phone app.

use konstruct_core::{
    ConversationRef, Inbound,
    message::{
        ActorKind, Addressing, Attachment, AttachmentKind, Body, Content, ConversationKind,
        Forwarded, IdKind, Lifecycle, Product, Quoted, Referral,
    },
};
use serde_json::{Value, value::RawValue};

use super::{
    inbound::{Change, errors},
    wire,
};
use crate::lenient_json::{LenientJson as _, scalar};

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
    let mut person = change.person(message, phone, user);
    let system = message.at("system");
    if system.is_object() {
        person.ids = identities(message, system);
    }
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
    let quoted = message.text("context.id");
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
    let mut addressed = Addressing {
        direct: group.is_none(),
        mention: group.is_some() && change.mentions_us(message),
        thread: false,
        command: matches!(body, Body::Action { .. }),
        by_name: group.is_some() && matches!(body, Body::Message { .. }),
    };
    // An echo is the business's own message, and in standby another agent answers.
    if echo || change.is_standby() {
        addressed = Addressing::default();
    }
    let time = wire::timestamp(message, "timestamp").unwrap_or(event.occurred_at);
    let author = message.first(&["context.from", "context.user_id"]);
    let label = ["interactive.button_reply", "interactive.list_reply"];
    let label = label
        .iter()
        .find_map(|path| message.at(path).text("title"))
        .or_else(|| message.text("button.text"))
        .or_else(|| {
            message
                .text("interactive.nfm_reply.response_json")
                .and_then(|json| answers(&json))
        });
    let described = [
        "interactive.list_reply.description",
        "interactive.nfm_reply.body",
    ];
    let forwarded = if message.flag("context.frequently_forwarded") {
        Forwarded::Often
    } else if message.flag("context.forwarded") {
        Forwarded::Once
    } else {
        Forwarded::No
    };
    let mut event = event
        .with_id(id.unwrap_or(event_id))
        .with_logical_id(logical_id)
        .addressed(addressed)
        .in_conversation(conversation)
        .sent_by(sender)
        .at(time)
        .quoting(quoted.map(|quoted| Quoted::new(quoted).by(author)))
        .labelled(label)
        .described(message.first(&described))
        .referred_by(referral(message.at("referral")))
        .about_product(product(message.at("context.referred_product")))
        .forwarded(forwarded);
    event.body = body;
    event
}

/// Returns the advertisement whose button started the conversation.
fn referral(part: &Value) -> Option<Referral> {
    let mut referral = Referral::default();
    referral.source_url = part.text("source_url");
    referral.source_id = part.text("source_id");
    referral.source_type = part.text("source_type");
    referral.media_type = part.text("media_type");
    let media = ["image_url", "video_url", "thumbnail_url"];
    referral.media_urls = media.iter().filter_map(|path| part.text(path)).collect();
    referral.welcome = part.text("welcome_message.text");
    referral.headline = part.text("headline");
    referral.body = part.text("body");
    referral.click_id = part.text("ctwa_clid");
    (referral != Referral::default()).then_some(referral)
}

/// Returns the product that the message is about.
fn product(part: &Value) -> Option<Product> {
    let id = part.text("product_retailer_id")?;
    Some(Product::new(id, part.text("catalog_id")))
}

/// Returns the answers of a form, one a line. The token only connects the form to its message.
fn answers(json: &str) -> Option<String> {
    let fields: Value = serde_json::from_str(json).ok()?;
    let line = |(name, value): (&String, &Value)| {
        let value = match value {
            Value::Null => return None,
            Value::String(text) => text.clone(),
            Value::Array(items) => {
                let items = items
                    .iter()
                    .map(|item| scalar(item).unwrap_or_else(|| item.to_string()));
                items.collect::<Vec<_>>().join(", ")
            }
            other => other.to_string(),
        };
        (name != "flow_token").then(|| format!("{name}: {value}"))
    };
    let lines: Vec<_> = fields.as_object()?.iter().filter_map(line).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn body(message: &Value) -> Body {
    let kind = kind(message);
    let part = message.at(&kind);
    let id = message.text("id").unwrap_or_default();
    match kind.as_str() {
        "interactive" if part.text("type").as_deref() == Some("call_permission_reply") => {
            call_permission(part.at("call_permission_reply"))
        }
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
        // Meta names the kind of message that it does not pass on, such as a poll.
        kind: message.text("unsupported.type").unwrap_or(kind),
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

/// Returns whether the person allows calls from the business.
fn call_permission(part: &Value) -> Option<Body> {
    let granted = match part.text("response")?.as_str() {
        "accept" | "accepted" => true,
        "reject" | "rejected" => false,
        _ => return None,
    };
    let until = wire::timestamp(part, "expiration_timestamp");
    let change = Lifecycle::CallPermission { granted, until };
    Some(Body::Lifecycle { change })
}

/// Returns the pressed, selected or completed element. Its value is the text that the person saw.
fn action(kind: &str, part: &Value) -> Option<Body> {
    let reply = part.text("type").unwrap_or_else(|| kind.to_owned());
    let (inner, action, value): (_, &[&str], &[&str]) = match reply.as_str() {
        "button" => (part, &["payload"], &["text"]),
        "nfm_reply" => (part.at("nfm_reply"), &["name"], &["response_json"]),
        reply => (part.at(reply), &["id"], &["title"]),
    };
    inner.is_object().then(|| Body::Action {
        action: inner.first(action).unwrap_or_default(),
        value: inner.first(value).unwrap_or_default(),
        kind: reply,
    })
}

/// Returns all ids of the person whom a system message is about. The previous ones come first, because they are known.
fn identities(message: &Value, system: &Value) -> Vec<(IdKind, String)> {
    let of = |value: &Value, path: &str, kind: IdKind| {
        let id = value.text(path)?;
        let kind = match kind {
            IdKind::WhatsAppPhone if wire::is_user_id(&id) => IdKind::WhatsAppUser,
            kind => kind,
        };
        Some((kind, id))
    };
    let (phone, user, parent) = (
        IdKind::WhatsAppPhone,
        IdKind::WhatsAppUser,
        IdKind::WhatsAppParent,
    );
    let listed = [
        of(message, "from", phone),
        of(system, "customer", phone),
        of(system, "wa_id", phone),
        of(system, "new_wa_id", phone),
        of(system, "previous_user_id", user),
        of(message, "from_user_id", user),
        of(system, "user_id", user),
        of(system, "previous_parent_user_id", parent),
        of(message, "from_parent_user_id", parent),
        of(system, "parent_user_id", parent),
    ];
    let mut ids: Vec<(IdKind, String)> = Vec::new();
    for (kind, id) in listed.into_iter().flatten() {
        if !ids.iter().any(|(_, known)| *known == id) {
            ids.push((kind, id));
        }
    }
    ids.sort_by_key(|(kind, _)| *kind);
    ids
}

/// Returns the change in a system message. The two ids of a changed identity are of one kind.
fn system(message: &Value, part: &Value) -> Lifecycle {
    let phone = |value: Option<String>| value.filter(|id| !wire::is_user_id(id));
    let changed = |old: Option<String>, new: Option<String>| Lifecycle::IdentityChanged {
        old: old.unwrap_or_default(),
        new: new.unwrap_or_default(),
    };
    let user_ids = || {
        let old = part.text("previous_user_id").or_else(|| {
            let from = message.first(&["from_user_id", "from"])?;
            Some(from).filter(|id| wire::is_user_id(id))
        });
        let new = part
            .first(&["user_id", "new_user_id"])
            .or_else(|| Some(part.text("wa_id")?).filter(|id| wire::is_user_id(id)));
        (old, new)
    };
    match part.text("type").as_deref() {
        Some("user_changed_number") => {
            let old = phone(part.text("customer")).or_else(|| phone(message.text("from")));
            let new = phone(part.text("wa_id")).or_else(|| phone(part.text("new_wa_id")));
            if old.is_some() && new.is_some() {
                return changed(old, new);
            }
            let (old, new) = user_ids();
            changed(old, new)
        }
        Some("user_changed_user_id") => {
            let (old, new) = user_ids();
            changed(old, new)
        }
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
        unavailable: None,
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
        unavailable: None,
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

/// Returns what a contact card says, separated by commas.
fn contact(card: &Value) -> String {
    let each = |list: &str, paths: &[&str]| -> Vec<String> {
        let items = card.items(list).iter();
        items.filter_map(|item| item.first(paths)).collect()
    };
    let name = card.first(&["name.formatted_name", "name.first_name", "org.company"]);
    let job = ["org.company", "org.department", "org.title"];
    let job = job.iter().filter_map(|path| card.text(path));
    let job = job.filter(|text| name.as_ref() != Some(text)).collect();
    let addresses = card.items("addresses").iter().map(|address| {
        let parts = ["street", "zip", "city", "state", "country"];
        let parts = parts.iter().filter_map(|path| address.text(path));
        parts.collect::<Vec<_>>().join(" ")
    });
    let all = [
        name.clone().into_iter().collect(),
        job,
        each("phones", &["phone", "wa_id"]),
        each("emails", &["email"]),
        addresses.filter(|address| !address.is_empty()).collect(),
        each("urls", &["url"]),
        card.text("birthday").into_iter().collect::<Vec<_>>(),
    ];
    all.concat().join(", ")
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
