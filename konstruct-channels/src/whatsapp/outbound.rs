//! The `WhatsApp` channel: sending, progress, downloading files.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use konstruct_core::{
    Channel, ChannelKind, ConversationRef, Error, ErrorKind, Outgoing, Result, Secret,
    channel::{Capabilities, Find, FindQuery, Op, Receipt, Via},
    http::{Client, base_url, join},
    message::{Attachment, ConversationKind},
    outgoing::{Choices, Rendered},
};

use serde_json::{Value, json};

use super::{
    client::Graph,
    wire::{self, Context, Message, Reading, Recipient, Send, Text, Typing},
};
use crate::{
    choices::{Control, as_text},
    lenient_json::LenientJson as _,
    markdown::{self, Limits, Notation},
    media,
};

/// Meta's limit for a text, in characters.
const MAX_TEXT: usize = 4096;

/// Meta's limit for the text above buttons or a list, in characters.
const MAX_BODY: usize = 1024;

/// WhatsApp's formatting, which needs no escaping.
const NOTATION: Notation = Notation {
    entities: false,
    brackets: false,
};

/// The buttons of a message.
const BUTTONS: Control = Control {
    options: 3,
    id: 256,
    label: 20,
    description: None,
};

/// A list.
const LIST: Control = Control {
    options: 10,
    id: 200,
    label: 24,
    description: Some(72),
};

/// The maximum label length of the button that opens a list, in characters.
const MAX_PROMPT: usize = 20;

/// A WhatsApp number of a business.
///
/// Meta offers no way to look up a message: only a status event with the send's key confirms a delivery.
///
/// ```
/// use konstruct_channels::WhatsApp;
/// use konstruct_core::{Channel, Secret, channel::Find};
///
/// let whatsapp = WhatsApp::builder("106540352242922", Secret::new("EAAG1")).build()?;
/// assert_eq!(whatsapp.capabilities().find, Find::Event);
/// assert!(WhatsApp::builder("", Secret::new("EAAG1")).build().is_err());
/// # Ok::<(), konstruct_core::Error>(())
/// ```
pub struct WhatsApp {
    graph: Graph,
    number: String,
    files: media::Source,
    capabilities: Capabilities,
}

/// Builds a [`WhatsApp`].
#[derive(Clone, Debug)]
pub struct WhatsAppBuilder {
    number: String,
    token: Secret,
    api_url: String,
    version: String,
    timeout: Duration,
}

impl WhatsAppBuilder {
    /// Sets the base URL of the Graph API; the default is `https://graph.facebook.com`.
    #[must_use]
    pub fn api_url(mut self, url: impl Into<String>) -> Self {
        self.api_url = url.into();
        self
    }

    /// Sets the version of the Graph API; the default is `v23.0`.
    #[must_use]
    pub fn api_version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Sets the timeout of one request; the default is 10 seconds.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Builds the channel.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for an empty number, token or version, or a URL that is not HTTP or HTTPS.
    pub fn build(self) -> Result<WhatsApp> {
        let required = [
            ("phone_number_id", self.number.is_empty()),
            ("token", self.token.is_empty()),
            ("api_version", self.version.is_empty()),
        ];
        if let Some((field, _)) = required.iter().find(|(_, empty)| *empty) {
            return Err(Error::invalid(field, "must not be empty"));
        }
        let client = Client::builder().timeout(self.timeout).build();
        client.prepare()?;
        let api = base_url("api_url", &self.api_url)?;
        let mut capabilities = Capabilities::new(Find::Event, MAX_TEXT);
        capabilities.progress = true;
        capabilities.read_receipts = true;
        capabilities.request_timeout = self.timeout;
        Ok(WhatsApp {
            graph: Graph {
                client: client.clone(),
                base: join(&api, &[&self.version]),
                token: self.token.clone(),
            },
            number: self.number,
            files: media::Source {
                client,
                token: self.token,
                api,
                hosts: &["lookaside.fbsbx.com"],
            },
            capabilities,
        })
    }
}

/// The identity of a number.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WhatsAppIdentity {
    /// The display form of the number.
    pub number: String,
    /// The name verified by Meta.
    pub name: String,
}

impl WhatsApp {
    /// Starts a builder with the number's id and an access token.
    pub fn builder(phone_number_id: impl Into<String>, token: Secret) -> WhatsAppBuilder {
        WhatsAppBuilder {
            number: phone_number_id.into(),
            token,
            api_url: "https://graph.facebook.com".to_owned(),
            version: "v23.0".to_owned(),
            timeout: Duration::from_secs(10),
        }
    }

    /// Returns the number's identity.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthorized`] if the token is not valid, and the errors of the call.
    pub async fn identity(&self) -> Result<WhatsAppIdentity> {
        let fields = [("fields", "display_phone_number,verified_name")];
        let answer = self.graph.get(&[&self.number], &fields).await?;
        Ok(WhatsAppIdentity {
            number: answer.text("display_phone_number").unwrap_or_default(),
            name: answer.text("verified_name").unwrap_or_default(),
        })
    }

    /// Returns the id of the WhatsApp Business Account (WABA) that the number belongs to, as its health status names it.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] if Meta does not name it, and the errors of the call.
    pub async fn business_account(&self) -> Result<String> {
        let fields = [("fields", "health_status")];
        let answer = self.graph.get(&[&self.number], &fields).await?;
        let entities = answer.items("health_status.entities").iter();
        let account = entities
            .filter(|entity| entity.text("entity_type").as_deref() == Some("WABA"))
            .find_map(|entity| entity.text("id"));
        account.ok_or_else(|| {
            let message = "Meta did not name the number's business account";
            Error::new(ErrorKind::Protocol, message)
        })
    }

    /// Returns the ids of the numbers of a business account, at most 100.
    ///
    /// # Errors
    /// The errors of the call.
    pub async fn numbers_of(&self, account: &str) -> Result<Vec<String>> {
        let query = [("fields", "id"), ("limit", "100")];
        let answer = self.graph.get(&[account, "phone_numbers"], &query).await?;
        let numbers = answer.items("data").iter();
        Ok(numbers.filter_map(|number| number.text("id")).collect())
    }

    /// Unsubscribes the token's app from the webhooks of a business account, for all its numbers.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the app was not subscribed, and the errors of the call.
    pub async fn unsubscribe(&self, account: &str) -> Result<()> {
        let path = [account, "subscribed_apps"];
        self.graph.delete(&path).await.map(drop)
    }

    async fn send(&self, to: &ConversationRef, key: &str, outgoing: &Outgoing) -> Result<Receipt> {
        let outgoing = shown(outgoing);
        let too_large = || {
            Error::new(
                ErrorKind::TooLarge,
                "text: too long for one message; split it with `render` first",
            )
        };
        if outgoing.text.len() > markdown::MAX_SOURCE {
            return Err(too_large());
        }
        let mut text = markdown::translate(&outgoing.text, NOTATION);
        let max = match &outgoing.choices {
            Some(choices) => {
                if text.is_empty() {
                    text = prompt(choices);
                }
                MAX_BODY
            }
            None => MAX_TEXT,
        };
        if text.is_empty() {
            return Err(Error::invalid("text", "must not be empty"));
        }
        if text.encode_utf16().count() > max {
            return Err(too_large());
        }
        let group = to.kind == ConversationKind::Group;
        let message = Send {
            messaging_product: "whatsapp",
            recipient_type: if group { "group" } else { "individual" },
            recipient: if !group && wire::is_user_id(&to.id) {
                Recipient::Recipient(&to.id)
            } else {
                Recipient::To(&to.id)
            },
            message: match &outgoing.choices {
                Some(choices) => Message::Interactive {
                    interactive: interactive(&text, choices),
                },
                None => Message::Text {
                    text: Text {
                        body: &text,
                        preview_url: false,
                    },
                },
            },
            context: outgoing
                .quote
                .as_deref()
                .map(|message_id| Context { message_id }),
            biz_opaque_callback_data: key,
        };
        let answer = self
            .graph
            .post(&[&self.number, "messages"], &message)
            .await?;
        let message = answer
            .items("messages")
            .first()
            .and_then(|message| message.text("id"));
        match message {
            Some(_) => Ok(Receipt { message }),
            None => Err(Error::new(
                ErrorKind::Ambiguous,
                "the response contains no message id",
            )),
        }
    }

    /// Marks the message as read and, if `types`, shows a typing indicator. Errors are ignored, except a rejected token.
    async fn progress(&self, message: Option<&str>, types: bool) -> Result<Receipt> {
        if let Some(message_id) = message {
            let reading = Reading {
                messaging_product: "whatsapp",
                status: "read",
                message_id,
                typing_indicator: types.then_some(Typing { kind: "text" }),
            };
            let path = [self.number.as_str(), "messages"];
            if let Err(error) = self.graph.post(&path, &reading).await {
                // A rejected token should be detected before a model is paid.
                if error.kind() == ErrorKind::Unauthorized {
                    return Err(error);
                }
                tracing::debug!(%error, "could not show progress in whatsapp");
            }
        }
        Ok(Receipt::default())
    }
}

/// Returns the message as displayed: choices that fit neither buttons nor a list become text.
fn shown(outgoing: &Outgoing) -> Outgoing {
    match &outgoing.choices {
        Some(choices) if !BUTTONS.takes(choices) && !LIST.takes(choices) => as_text(outgoing),
        _ => outgoing.clone(),
    }
}

fn prompt(choices: &Choices) -> String {
    let label = choices.prompt.as_deref().map_or("", str::trim);
    let label = if label.is_empty() { "Choose" } else { label };
    label.chars().take(MAX_PROMPT).collect()
}

/// Converts choices to buttons or a list.
fn interactive(text: &str, choices: &Choices) -> Value {
    let options = choices.options.iter();
    if BUTTONS.takes(choices) {
        let button = options.map(
            |choice| json!({"type": "reply", "reply": {"id": choice.id, "title": choice.label}}),
        );
        let buttons: Vec<_> = button.collect();
        return json!({"type": "button", "body": {"text": text}, "action": {"buttons": buttons}});
    }
    let row = options.map(|choice| {
        let mut row = json!({"id": choice.id, "title": choice.label});
        if let Some(description) = &choice.description {
            row["description"] = json!(description);
        }
        row
    });
    let rows: Vec<_> = row.collect();
    let action = json!({"button": prompt(choices), "sections": [{"rows": rows}]});
    json!({"type": "list", "body": {"text": text}, "action": action})
}

#[async_trait]
impl Channel for WhatsApp {
    fn kind(&self) -> ChannelKind {
        ChannelKind::WHATSAPP
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn render(&self, outgoing: &Outgoing, max_parts: usize) -> Rendered {
        let limits = Limits {
            max: MAX_TEXT,
            with_choices: MAX_BODY,
            measure: &|text| {
                let text = markdown::translate(text, NOTATION);
                text.encode_utf16().count()
            },
        };
        markdown::render(&shown(outgoing), max_parts, &limits)
    }

    async fn perform(&self, op: Op) -> Result<Receipt> {
        match op {
            Op::Send {
                to,
                key,
                outgoing,
                via: Via::Conversation,
            } => self.send(&to, &key, &outgoing).await,
            Op::Send { .. } => Err(Error::new(
                ErrorKind::Unsupported,
                "whatsapp shows a message to everyone in a conversation",
            )),
            Op::Progress { message, .. } => self.progress(message.as_deref(), true).await,
            Op::MarkRead { message, .. } => self.progress(Some(&message), false).await,
        }
    }

    async fn find(&self, _: FindQuery) -> Result<Option<Receipt>> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "whatsapp offers no way to look up a message",
        ))
    }

    async fn fetch_media(&self, attachment: &Attachment, max_bytes: u64) -> Result<Bytes> {
        if attachment.id.is_empty() {
            return Err(Error::not_found("file"));
        }
        let query = [("phone_number_id", self.number.as_str())];
        let node = self.graph.get(&[&attachment.id], &query).await?;
        let size = node
            .text("file_size")
            .and_then(|size| size.parse::<u64>().ok());
        if size
            .or(attachment.size)
            .is_some_and(|size| size > max_bytes)
        {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("the file is larger than {max_bytes} bytes"),
            ));
        }
        let Some(url) = node.text("url") else {
            return Err(Error::new(
                ErrorKind::Protocol,
                "the response contains no URL of the file",
            ));
        };
        let (bytes, _) = self.files.fetch(&url, max_bytes).await?;
        let announced = attachment.sha256.iter().cloned().chain(node.text("sha256"));
        for digest in announced {
            media::check_digest(&bytes, &digest)?;
        }
        Ok(bytes)
    }
}

impl fmt::Debug for WhatsApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WhatsApp")
            .field("api", &self.graph.base.as_str())
            .finish_non_exhaustive()
    }
}
