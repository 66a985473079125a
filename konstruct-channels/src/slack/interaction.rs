//! Interactions with the employee's buttons, forms, shortcuts and slash commands.

use std::time::Duration;

use konstruct_core::{
    ConversationRef, Inbound, Timestamp,
    message::{Actor, Addressing, Body, ConversationKind, IdKind, Lifecycle, Origin, Quoted},
};
use serde_json::Value;

use super::{
    event, form,
    inbound::{Source, place, place_kind},
    text, wire,
};
use crate::{
    lenient_json::{LenientJson as _, scalar},
    webhook::digest_id,
};

/// Interactions that request the options of a menu while a person types. They need an immediate response and no action.
const SUGGESTIONS: &[&str] = &["block_suggestion", "dialog_suggestion"];

/// Interactions that end a form without submitting it. They request nothing.
const CANCELLATIONS: &[&str] = &["view_closed", "dialog_cancellation"];

/// Returns whether Slack expects a list of options.
pub(super) fn wants_options(payload: &Value) -> bool {
    payload
        .text("type")
        .is_some_and(|kind| SUGGESTIONS.contains(&kind.as_str()))
}

/// Decodes an interaction: one event for each action in it.
pub(super) fn decode(source: &Source<'_>, kind: &str) -> Vec<Inbound> {
    let id = id(source, kind);
    let actions = match source.value.items("actions") {
        [] => std::slice::from_ref(source.value),
        actions => actions,
    };
    let event = |(index, action): (usize, &Value)| {
        let id = match index {
            0 => id.clone(),
            index => format!("{id}/{index}"),
        };
        one(source, kind, action).with_id(id)
    };
    actions.iter().enumerate().map(event).collect()
}

fn one(source: &Source<'_>, kind: &str, action: &Value) -> Inbound {
    let payload = source.value;
    let conversation = conversation(payload);
    let time = action
        .text("action_ts")
        .or_else(|| payload.text("action_ts"))
        .and_then(|ts| wire::timestamp(&ts));
    let time = time.unwrap_or(source.now);
    let origin = origin(payload, conversation.as_ref(), time);
    let cancelled = CANCELLATIONS.contains(&kind);
    let acted = !cancelled && !SUGGESTIONS.contains(&kind);
    let addressed = Addressing {
        direct: acted && is_direct(conversation.as_ref()),
        command: acted,
        thread: acted
            && payload
                .first(&["container.thread_ts", "message.thread_ts"])
                .is_some(),
        ..Addressing::default()
    };
    let sender = person(
        payload.text("user.id"),
        payload.first(&["user.name", "user.username"]),
    );
    let form = form::read(payload, action);
    let body = if cancelled {
        Body::Lifecycle {
            change: Lifecycle::Cancelled,
        }
    } else {
        Body::Action {
            kind: kind.to_owned(),
            action: name(payload, action),
            value: value(action),
        }
    };
    let title = action.first(&["selected_option.text.text", "text.text"]);
    let title = title.or_else(|| labels(action));
    let title = title.map(|title| text::read(&title, &[]));
    let label: Vec<_> = title.into_iter().chain(form.answers).collect();
    let label = (!label.is_empty()).then(|| label.join("\n"));
    let description = action
        .text("selected_option.description.text")
        .or(form.title);
    source
        .event(body)
        .addressed(addressed)
        .in_conversation(conversation)
        .sent_by(sender)
        .at(time)
        .labelled(label)
        .described(description)
        .from_origin(origin)
        .quoting(quoted(payload, kind))
}

/// Returns the titles of several selected options, or the title of a button in a message of the older format.
fn labels(action: &Value) -> Option<String> {
    let chosen = action.items("selected_options").iter();
    let titles: Vec<_> = chosen
        .filter_map(|choice| choice.first(&["text.text", "text"]))
        .collect();
    let titles = (!titles.is_empty()).then(|| titles.join(", "));
    titles.or_else(|| action.text("text"))
}

/// Returns the message that the element belongs to, or that a shortcut was used on. Such a message may be from elsewhere, so its
/// text is kept.
fn quoted(payload: &Value, kind: &str) -> Option<Quoted> {
    let message = payload.first(&["container.message_ts", "message.ts", "message_ts"])?;
    let author = payload.first(&["message.user", "message.bot_id"]);
    let text = (kind == "message_action").then(|| {
        let content = event::content(payload.at("message"), &[]);
        let files = content.attachments.into_iter().filter_map(|it| it.name);
        let parts: Vec<_> = [content.text].into_iter().chain(files).collect();
        parts.join("\n").trim().to_owned()
    });
    let text = text.filter(|text| !text.is_empty());
    Some(Quoted::new(message).by(author).with_text(text))
}

/// How long Slack accepts responses to an interaction.
const RESPONSE_TIME: Duration = Duration::from_secs(30 * 60);

/// Returns where the interaction began. A form names it like its [place](conversation), with `is_ephemeral` for a message that
/// only the person sees and its `response_url`.
fn origin(payload: &Value, place: Option<&ConversationRef>, since: Timestamp) -> Option<Origin> {
    let opened = opened(payload);
    let channel = place.map(|place| place.id.as_str());
    let mut listed = payload.items("response_urls").iter();
    let selected = listed
        .find(|listed| listed.text("channel_id").as_deref() == channel)
        .and_then(|listed| listed.text("response_url"));
    let mut origin = Origin::default();
    origin.selected = selected.is_some();
    origin.response_url = selected
        .or_else(|| payload.text("response_url"))
        .or_else(|| opened.text("response_url"));
    origin.ephemeral =
        !origin.selected && (payload.flag("container.is_ephemeral") || opened.flag("is_ephemeral"));
    origin.expires_at = origin.response_url.is_some().then(|| since + RESPONSE_TIME);
    (origin != Origin::default()).then_some(origin)
}

/// Returns where the app says that a form was opened.
fn opened(payload: &Value) -> Value {
    let opened = payload.text("view.private_metadata");
    opened
        .and_then(|json| serde_json::from_str(&json).ok())
        .unwrap_or_default()
}

/// Decodes a slash command.
pub(super) fn command(source: &Source<'_>) -> Inbound {
    let form = source.value;
    let conversation = form.text("channel_id").map(|channel| {
        let kind = place_kind(&channel, None);
        let thread = form.text("thread_ts");
        place(channel, kind, thread, None, false)
    });
    let id = match form.text("trigger_id") {
        Some(trigger) => format!("command:{trigger}"),
        None => digest_id(&[source.raw.get()]),
    };
    let addressed = Addressing {
        direct: is_direct(conversation.as_ref()),
        command: true,
        ..Addressing::default()
    };
    // Whether the bot is in the place is unknown, and the response to a command is for the person.
    let mut origin = origin(form, conversation.as_ref(), source.now).unwrap_or_default();
    origin.ephemeral = !is_direct(conversation.as_ref());
    let body = Body::Command {
        name: form.text("command").unwrap_or_default(),
        arguments: text::read(&form.text("text").unwrap_or_default(), &[]),
    };
    source
        .event(body)
        .with_id(id)
        .addressed(addressed)
        .in_conversation(conversation)
        .sent_by(person(form.text("user_id"), form.text("user_name")))
        .from_origin((origin != Origin::default()).then_some(origin))
}

/// Returns the id of an interaction: its trigger, its view in that state, or a digest.
fn id(source: &Source<'_>, kind: &str) -> String {
    let payload = source.value;
    let trigger = payload.first(&["trigger_id", "interactivity.interactivity_pointer"]);
    if let Some(trigger) = trigger {
        return format!("{kind}:{trigger}");
    }
    match (payload.text("view.id"), payload.text("view.hash")) {
        (Some(view), Some(hash)) if !SUGGESTIONS.contains(&kind) => format!("{kind}:{view}:{hash}"),
        _ => digest_id(&[source.raw.get()]),
    }
}

fn is_direct(place: Option<&ConversationRef>) -> bool {
    place.is_some_and(|place| place.kind == ConversationKind::Direct)
}

fn person(id: Option<String>, name: Option<String>) -> Actor {
    match id.filter(|id| !wire::is_slack(id)) {
        Some(id) => Actor {
            name,
            ..Actor::human(IdKind::SlackUser, id)
        },
        None => Actor::default(),
    }
}

/// Returns the place of an interaction. A modal form and a global shortcut have no place: the response goes to where the app says
/// that the form was opened (JSON in `private_metadata`, with `channel_id` and optionally `thread_ts` or `message_ts`), to the
/// channel that the person selected for responses, or else to the person.
fn conversation(payload: &Value) -> Option<ConversationRef> {
    if let Some(channel) = payload.first(&["channel.id", "container.channel_id", "channel"]) {
        let thread = payload.first(&["container.thread_ts", "message.thread_ts"]);
        // A message that only one person sees cannot start a thread.
        let visible = !payload.flag("container.is_ephemeral");
        let root = payload.first(&["container.message_ts", "message.ts", "message_ts"]);
        let kind = place_kind(&channel, None);
        return Some(place(
            channel,
            kind,
            thread,
            root.filter(|_| visible),
            false,
        ));
    }
    let opened = opened(payload);
    let listed = payload.items("response_urls").first();
    let channel = opened
        .first(&["channel_id", "channel"])
        .or_else(|| listed?.text("channel_id"));
    match channel {
        Some(channel) => {
            let kind = place_kind(&channel, None);
            let visible = !opened.flag("is_ephemeral");
            let root = opened.text("message_ts").filter(|_| visible);
            Some(place(channel, kind, opened.text("thread_ts"), root, false))
        }
        None => payload.text("user.id").map(ConversationRef::direct),
    }
}

/// Returns the name of the pressed element. A menu of choices is named by the selected option, as buttons are.
fn name(payload: &Value, action: &Value) -> String {
    if action.text("action_id").as_deref() == Some(wire::CHOICE) {
        return action.text("selected_option.value").unwrap_or_default();
    }
    action
        .first(&["action_id", "name"])
        .or_else(|| payload.first(&["callback_id", "view.callback_id", "view.external_id"]))
        .unwrap_or_default()
}

/// Returns the selected value: one value, several separated by commas, or a form's state as JSON. A payload without actions is
/// itself the action.
fn value(action: &Value) -> String {
    const FORMS: &[&str] = &["view.state.values", "submission", "rich_text_value"];
    if let Some(value) = action.first(form::ONE) {
        return value;
    }
    for path in form::SEVERAL {
        let chosen = action.items(path).iter();
        let chosen: Vec<_> = chosen
            .filter_map(|choice| choice.text("value").or_else(|| scalar(choice)))
            .collect();
        if !chosen.is_empty() {
            return chosen.join(",");
        }
    }
    let form = FORMS
        .iter()
        .map(|path| action.at(path))
        .find(|form| form.is_object());
    form.map(Value::to_string).unwrap_or_default()
}
