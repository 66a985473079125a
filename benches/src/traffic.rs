//! The messages of the crash test: conversations with both vendors, each webhook delivered one to five times.

use std::time::Duration;

use konstruct_core::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::{dice::Dice, office::NUMBER, sender::Vendor};

/// The number of messages of a conversation.
const LENGTH: usize = 10;
/// The longest delay of a delivery in milliseconds: later messages overtake earlier ones.
const LATEST: u64 = 3_000;

/// A message from a person.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its text, which identifies it: `m` and the numbers of its conversation and of its position in it.
    pub text: String,
}

/// One delivery of one webhook.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// When, after the beginning.
    pub at: Duration,
    /// The vendor.
    pub vendor: Vendor,
    /// Its message, as an index of [`Traffic::messages`].
    pub message: usize,
    /// The body.
    pub body: Vec<u8>,
}

/// All messages and their deliveries.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// The messages.
    pub messages: Vec<Message>,
    /// Their deliveries, sorted by time.
    pub deliveries: Vec<Delivery>,
}

impl Traffic {
    /// Generates this many messages within `window`, half of them in Slack and half in WhatsApp.
    pub fn new(messages: usize, window: Duration, dice: &mut Dice) -> Self {
        let mut traffic = Self::default();
        let begun = SystemClock.now().as_secs();
        let conversations = messages.div_ceil(LENGTH);
        for number in 0..conversations {
            let length = LENGTH.min(messages - number * LENGTH);
            let mut seconds: Vec<u64> = (0..length).map(|_| dice.below(window.as_secs())).collect();
            seconds.sort_unstable();
            // WhatsApp's times are whole seconds: no two messages of a conversation have the same.
            for nth in 1..length {
                seconds[nth] = seconds[nth].max(seconds[nth - 1] + 1);
            }
            let place = Place::of(number, begun + seconds[0].cast_signed());
            for (nth, second) in seconds.into_iter().enumerate() {
                traffic.say(&place, nth, begun, second, dice);
            }
        }
        traffic.deliveries.sort_by_key(|delivery| delivery.at);
        traffic
    }

    /// Adds a message, and delivers each of its webhooks one to five times.
    fn say(&mut self, place: &Place, nth: usize, begun: i64, second: u64, dice: &mut Dice) {
        let text = format!("m{:05}-{nth:02}", place.number);
        let message = self.messages.len();
        for body in place.bodies(begun + second.cast_signed(), &text) {
            let body = body.to_string().into_bytes();
            for _ in 0..=dice.below(5) {
                self.deliveries.push(Delivery {
                    at: Duration::from_millis(second * 1_000 + dice.below(LATEST)),
                    vendor: place.vendor(),
                    message,
                    body: body.clone(),
                });
            }
        }
        self.messages.push(Message { text });
    }
}

/// Returns a message of one more customer, so that a server that has just started has work: its number, and its webhook.
pub fn knock(nth: u32) -> (String, Vec<u8>) {
    let text = format!("m{:05}-{:02}", 90_000 + nth / 100, nth % 100);
    let body = whatsapp("15559999999", &text, SystemClock.now().as_secs());
    (text, body.to_string().into_bytes())
}

/// The place of a conversation, and when it began.
struct Place {
    kind: Kind,
    number: usize,
    begun: i64,
}

enum Kind {
    /// With a customer, by phone number.
    WhatsApp,
    /// With one person, in a channel of its own.
    Direct,
    /// In a thread, by people who mention the employee.
    Thread,
}

impl Place {
    fn of(number: usize, begun: i64) -> Self {
        let kind = match number % 4 {
            0 => Kind::Direct,
            1 => Kind::Thread,
            _ => Kind::WhatsApp,
        };
        Self {
            kind,
            number,
            begun,
        }
    }

    fn vendor(&self) -> Vendor {
        match self.kind {
            Kind::WhatsApp => Vendor::WhatsApp,
            _ => Vendor::Slack,
        }
    }

    /// Returns the webhooks of a message. A message in a thread has two, because Slack reports a mention twice.
    fn bodies(&self, second: i64, text: &str) -> Vec<Value> {
        let number = self.number;
        let (root, ts) = [self.begun, second]
            .map(|second| format!("{second}.{number:06}"))
            .into();
        match self.kind {
            Kind::WhatsApp => vec![whatsapp(&format!("1555{number:07}"), text, second)],
            Kind::Direct => vec![slack(json!({
                "type": "message", "channel": format!("D{number}"), "channel_type": "im", "user": format!("U{number}"),
                "text": text, "ts": ts, "event_ts": ts,
            }))],
            Kind::Thread => ["message", "app_mention"]
                .map(|kind| {
                    let mut event = json!({
                        "type": kind, "channel": "C1", "channel_type": "channel", "user": format!("U{number}"),
                        "text": format!("<@UBOT> {text}"), "ts": ts, "event_ts": ts,
                    });
                    if root != ts {
                        event["thread_ts"] = root.as_str().into();
                    }
                    slack(event)
                })
                .into(),
        }
    }
}

fn slack(event: Value) -> Value {
    let id = format!(
        "Ev{}{}{}",
        event["type"].as_str().unwrap_or_default(),
        event["channel"].as_str().unwrap_or_default(),
        event["ts"].as_str().unwrap_or_default()
    );
    json!({
        "type": "event_callback", "team_id": "T1", "api_app_id": "A1", "event_id": id,
        "authorizations": [{"team_id": "T1", "user_id": "UBOT", "is_bot": true}],
        "event": event,
    })
}

fn whatsapp(from: &str, text: &str, second: i64) -> Value {
    let message = json!({
        "from": from, "id": format!("wamid.{text}"), "timestamp": second.to_string(), "type": "text",
        "text": {"body": text},
    });
    json!({
        "object": "whatsapp_business_account",
        "entry": [{"id": "1", "changes": [{"field": "messages", "value": {
            "messaging_product": "whatsapp",
            "metadata": {"display_phone_number": "15550783881", "phone_number_id": NUMBER},
            "contacts": [{"profile": {"name": "Customer"}, "wa_id": from}],
            "messages": [message],
        }}]}],
    })
}
