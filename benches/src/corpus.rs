//! Posts recorded payloads of a folder, as the vendors send them, through the real gateway into a real store.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use konstruct_channels::{
    Gateway, SlackWebhook, WebhookRequest, WhatsAppWebhook,
    testkit::{signed_slack, signed_whatsapp},
};
use konstruct_core::{
    AccountId, Channel, ChannelKind, Clock as _, ConnectionId, Directory, Error, Result, Secret,
    SystemClock, TenantId,
    directory::{ConnectionState, Route, Staff},
    message::Body,
    store::{Exported, Store},
};
use serde_json::Value;

/// The kind of a file's rows, given by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// JSON bodies of Slack: events, handshakes, rate limit notices.
    SlackJson,
    /// Slack's interactions: a form with JSON in `payload`.
    SlackInteraction,
    /// Slack's slash commands: a form of plain fields.
    SlackCommand,
    /// Socket Mode frames around any of the above.
    SlackEnvelope,
    /// Bodies of Meta.
    WhatsApp,
}

impl Kind {
    /// Returns the kind for a file name; `None` if it is not of inbound payloads.
    pub fn of(file: &str) -> Option<Self> {
        const NAMES: &[(&str, Kind)] = &[
            ("whatsapp", Kind::WhatsApp),
            ("slack_interaction", Kind::SlackInteraction),
            ("slack_slash_command", Kind::SlackCommand),
            ("slack_socket", Kind::SlackEnvelope),
            ("slack_event", Kind::SlackJson),
            ("slack_url_verification", Kind::SlackJson),
            ("slack_app_rate_limited", Kind::SlackJson),
        ];
        let known = NAMES.iter().find(|(name, _)| file.contains(name));
        known.map(|(_, kind)| *kind)
    }
}

/// The outcome of a file's rows.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Payloads that were posted, and rows that could not be.
    pub payloads: u64,
    /// Payloads answered with 200.
    pub accepted: u64,
    /// Payloads with a stored event of a known type.
    pub typed: u64,
    /// Payloads whose stored events are all unsupported.
    pub unsupported: u64,
    /// Payloads answered with another status, and rows without a payload.
    pub errors: u64,
    /// Payloads answered with 200 with content missing from the store.
    pub lost: u64,
    /// Frames without a payload, such as `hello`.
    pub control: u64,
    /// Notes about rows.
    pub notes: Vec<String>,
}

impl Tally {
    /// Adds the outcome of another file.
    pub fn add(&mut self, other: &Self) {
        self.payloads += other.payloads;
        self.accepted += other.accepted;
        self.typed += other.typed;
        self.unsupported += other.unsupported;
        self.errors += other.errors;
        self.lost += other.lost;
        self.control += other.control;
    }
}

/// The gateway under test, with a store of its own.
#[derive(Debug)]
pub struct Intake {
    gateway: Gateway,
    store: Arc<dyn Store>,
    accounts: EveryAccount,
    secret: Secret,
}

/// A payload answered with 200: what must be in the store.
#[derive(Debug)]
struct Expectation {
    row: String,
    events: u64,
    unread: u64,
}

impl Intake {
    /// Creates a gateway for a store.
    ///
    /// # Errors
    /// A webhook cannot be created.
    pub fn new(store: Arc<dyn Store>) -> Result<Self> {
        let secret = Secret::new("a secret of the corpus");
        let accounts = EveryAccount::default();
        let directory: Arc<dyn Directory> = Arc::new(accounts.clone());
        let gateway = Gateway::new(directory, Arc::clone(&store), Arc::new(SystemClock))
            .with(ChannelKind::SLACK, SlackWebhook::new(secret.clone())?)
            .with(
                ChannelKind::WHATSAPP,
                WhatsAppWebhook::new(secret.clone(), Secret::new("verify"))?,
            );
        Ok(Self {
            gateway,
            store,
            accounts,
            secret,
        })
    }

    /// Posts every row of a file, and then checks the store for what was accepted.
    ///
    /// # Errors
    /// The file or the store cannot be read.
    pub async fn file(&self, path: &Path, kind: Kind) -> Result<Tally> {
        let bytes = fs::read(path).map_err(|error| {
            Error::invalid("file", format!("{} cannot be read", path.display())).with_source(error)
        })?;
        let mut tally = Tally::default();
        let mut promised = HashMap::new();
        let text = String::from_utf8_lossy(&bytes);
        let rows = text.lines().enumerate();
        for (number, row) in rows.filter(|(_, row)| !row.trim().is_empty()) {
            let row_name = format!("row {}", number + 1);
            match read(kind, row) {
                Ok(Some(posted)) => {
                    let (connection, promise) = self.post(row_name, posted, &mut tally).await;
                    if let Some(promise) = promise {
                        promised.insert(connection, promise);
                    }
                }
                Ok(None) => tally.control += 1,
                Err(why) => {
                    tally.payloads += 1;
                    tally.errors += 1;
                    tally.notes.push(format!("{row_name}: {why}"));
                }
            }
        }
        self.look_for(promised, &mut tally).await?;
        Ok(tally)
    }

    /// Posts one payload through a connection of its own, so that blank ids and ids shared by rows do not deduplicate anything.
    async fn post(
        &self,
        row: String,
        posted: Posted,
        tally: &mut Tally,
    ) -> (ConnectionId, Option<Expectation>) {
        let connection = self.accounts.next();
        let request = if posted.channel == ChannelKind::WHATSAPP {
            signed_whatsapp(&self.secret, posted.body)
        } else {
            signed_slack(&self.secret, SystemClock.now(), posted.body)
        };
        let promise = self.answered(row, &posted.channel, &request, tally).await;
        (connection, promise.filter(|_| !posted.handshake))
    }

    async fn answered(
        &self,
        row: String,
        channel: &ChannelKind,
        request: &WebhookRequest,
        tally: &mut Tally,
    ) -> Option<Expectation> {
        let before = self.gateway.counts();
        let reply = self.gateway.handle(channel, request).await;
        let after = self.gateway.counts();
        tally.payloads += 1;
        if reply.status != 200 {
            tally.errors += 1;
            tally
                .notes
                .push(format!("{row}: answered with {}", reply.status));
            return None;
        }
        tally.accepted += 1;
        let repeated = (after.duplicate + after.upgraded) - (before.duplicate + before.upgraded);
        for (count, what) in [
            (repeated, "repeat others of it"),
            (after.folded - before.folded, "report sends of others"),
        ] {
            if count > 0 {
                tally
                    .notes
                    .push(format!("{row}: {count} of its events {what}"));
            }
        }
        Some(Expectation {
            row,
            events: after.accepted - before.accepted,
            unread: after.undecodable - before.undecodable,
        })
    }

    /// Reads the store, and compares it with the accepted payloads.
    async fn look_for(
        &self,
        promised: HashMap<ConnectionId, Expectation>,
        tally: &mut Tally,
    ) -> Result<()> {
        let mut found: HashMap<ConnectionId, Vec<bool>> = HashMap::new();
        let mut export = self.store.export(self.accounts.tenant).await?;
        while let Some(item) = export.try_next().await? {
            if let Exported::Inbox(item) = item
                && let Some(routed) = item.event
            {
                let typed = !matches!(routed.event.body, Body::Unsupported { .. });
                found.entry(routed.connection).or_default().push(typed);
            }
        }
        let mut lost = BTreeMap::new();
        for (connection, promise) in promised {
            let kept = found.remove(&connection).unwrap_or_default();
            tally.typed += u64::from(kept.contains(&true));
            tally.unsupported += u64::from(!kept.is_empty() && !kept.contains(&true));
            let count = kept.len() as u64;
            if count < promise.events || (count == 0 && promise.unread > 0) {
                tally.lost += 1;
                let (events, unread) = (promise.events, promise.unread);
                let note = format!("{count} of {events} events found, {unread} parts unread");
                lost.insert(promise.row, note);
            }
        }
        let notes = lost.into_iter().map(|(row, note)| format!("{row}: {note}"));
        tally.notes.extend(notes);
        Ok(())
    }
}

/// A payload in its vendor's form.
struct Posted {
    channel: ChannelKind,
    body: Vec<u8>,
    handshake: bool,
}

/// Converts a row to the vendor's form; `None` for a frame without a payload.
fn read(kind: Kind, row: &str) -> Result<Option<Posted>, String> {
    let row: Value = serde_json::from_str(row).map_err(|error| format!("not JSON: {error}"))?;
    let payload = row.get("payload").ok_or("no `payload`")?;
    let payload = match kind {
        // A frame has the payload as JSON, whatever the form of the webhook.
        Kind::SlackEnvelope => match payload.get("payload") {
            Some(payload) if !payload.is_null() => payload,
            _ => return Ok(None),
        },
        _ => payload,
    };
    let handshake = payload["type"] == "url_verification";
    let channel = match kind {
        Kind::WhatsApp => ChannelKind::WHATSAPP,
        _ => ChannelKind::SLACK,
    };
    let body = match (kind, payload) {
        // A body that was recorded as text is sent unchanged.
        (_, Value::String(text)) => text.clone(),
        (Kind::SlackInteraction, payload) => form([("payload", payload.to_string())]),
        (Kind::SlackCommand, Value::Object(fields)) => {
            form(fields.iter().map(|(name, value)| (name, plain(value))))
        }
        (Kind::SlackCommand, _) => return Err("a command that has no fields".into()),
        (_, payload) => payload.to_string(),
    };
    Ok(Some(Posted {
        channel,
        body: body.into_bytes(),
        handshake,
    }))
}

fn form(fields: impl IntoIterator<Item = (impl AsRef<str>, String)>) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields);
    form.finish()
}

/// Returns a value as a form field.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        value => value.to_string(),
    }
}

/// A directory in which every account belongs to one tenant, with a replaceable connection.
#[derive(Clone, Debug)]
struct EveryAccount {
    tenant: TenantId,
    connection: Arc<Mutex<ConnectionId>>,
}

impl Default for EveryAccount {
    fn default() -> Self {
        Self {
            tenant: TenantId::new(),
            connection: Arc::new(Mutex::new(ConnectionId::new())),
        }
    }
}

impl EveryAccount {
    /// Replaces the connection, and returns the new one.
    fn next(&self) -> ConnectionId {
        let new = ConnectionId::new();
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *connection = new;
        new
    }
}

#[async_trait]
impl Directory for EveryAccount {
    async fn route(&self, _: &ChannelKind, _: &AccountId) -> Result<Option<Route>> {
        let connection = *self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(Some(Route {
            tenant: self.tenant,
            connection,
        }))
    }

    async fn staff(&self, _: TenantId, _: Option<u32>) -> Result<Staff> {
        Err(Error::not_found("employee"))
    }

    async fn channel(&self, _: TenantId, _: ConnectionId) -> Result<Arc<dyn Channel>> {
        Err(Error::not_found("connection"))
    }

    async fn connection_state(&self, _: TenantId, _: ConnectionId) -> Result<ConnectionState> {
        Err(Error::not_found("connection"))
    }

    async fn set_connection_state(
        &self,
        _: TenantId,
        _: ConnectionId,
        _: ConnectionState,
    ) -> Result<()> {
        Err(Error::not_found("connection"))
    }
}

#[cfg(test)]
mod tests {
    use konstruct_core::testkit::ReferenceStore;

    use super::*;

    async fn check(name: &str, rows: &[u8], expected: [u64; 5]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, rows).unwrap();
        let store = ReferenceStore::new(Arc::new(SystemClock));
        let intake = Intake::new(Arc::new(store)).unwrap();
        let kind = Kind::of(name).expect("a known name");
        let tally = intake.file(&path, kind).await.unwrap();
        let Tally {
            payloads,
            accepted,
            errors,
            lost,
            control,
            ..
        } = tally;
        let found = [payloads, accepted, errors, lost, control];
        assert_eq!(found, expected, "{name}: {:?}", tally.notes);
        tally.notes
    }

    const MESSAGE: &str = r#"{"payload":{"type":"event_callback","team_id":"T1","event_id":"","event":{"type":"message",
        "channel":"D1","channel_type":"im","user":"U1","ts":"1.000002","text":"hi"}}}"#;

    #[tokio::test]
    async fn malformed_rows_are_reported() {
        let message = MESSAGE.replace('\n', " ");
        let rows = format!("{message}\n\n{message}\nno JSON\n{{\"source\":\"s\"}}\n");
        let notes = check("slack_events.jsonl", rows.as_bytes(), [4, 2, 2, 0, 0]).await;
        assert!(notes[0].starts_with("row 4: not JSON"), "{notes:?}");
        assert_eq!(notes[1], "row 5: no `payload`");
        check("slack_events.jsonl", b"\xff\xfe\n", [1, 0, 1, 0, 0]).await;
    }

    #[tokio::test]
    async fn missing_content_counts_as_lost() {
        let rows = br#"{"payload":{"object":"whatsapp_business_account"}}"#;
        check("heldout_whatsapp.jsonl", rows, [1, 1, 0, 1, 0]).await;
        let status = br#"{"payload":{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":{"messaging_product":"whatsapp","metadata":{"phone_number_id":"2"},"statuses":[{"id":"wamid.1","status":"delivered","timestamp":"1","recipient_id":"3"}]}}]}]}}"#;
        let notes = check("whatsapp_webhooks.jsonl", status, [1, 1, 0, 0, 0]).await;
        assert_eq!(notes, ["row 1: 1 of its events report sends of others"]);
        let nothing = br#"{"payload":{"object":"whatsapp_business_account","entry":[]}}"#;
        check("whatsapp_webhooks.jsonl", nothing, [1, 1, 0, 0, 0]).await;
    }

    #[tokio::test]
    async fn frames_forms_and_handshakes_are_sent_as_the_vendors_do() {
        let frames = br#"{"payload":{"type":"hello"}}
{"payload":{"type":"slash_commands","envelope_id":"1","payload":{"command":"/ava","text":"hi","team_id":"T1"}}}
{"payload":{"type":"disconnect","reason":"warning"}}"#;
        check("slack_socket_envelopes.jsonl", frames, [1, 1, 0, 0, 2]).await;
        let command =
            br#"{"payload":{"command":"/ava","text":"hi & bye","team_id":"T1","channel_id":"D1"}}"#;
        check("slack_slash_commands.jsonl", command, [1, 1, 0, 0, 0]).await;
        let action = br#"{"payload":{"type":"block_actions","team":{"id":"T1"},"trigger_id":"1","actions":[{"action_id":"a"}]}}"#;
        check("slack_interactions.jsonl", action, [1, 1, 0, 0, 0]).await;
        let handshake = br#"{"payload":{"type":"url_verification","challenge":"3eZb"}}"#;
        check("slack_url_verification.jsonl", handshake, [1, 1, 0, 0, 0]).await;
        assert_eq!(Kind::of("slack_api_responses.jsonl"), None);
    }
}
