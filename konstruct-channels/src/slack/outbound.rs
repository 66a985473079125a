//! The `Slack` channel: posting, progress, finding posted messages, downloading files.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use konstruct_core::{
    Channel, ChannelKind, ConversationRef, Error, ErrorKind, Outgoing, Result, Secret,
    channel::{Capabilities, Find, FindQuery, Op, Receipt, Via},
    http::{Client, base_url},
    message::Attachment,
    outgoing::{Choices, Rendered},
};
use serde_json::{Value, json};

use super::{
    client::Api,
    wire::{self, Message, Metadata, PostEphemeral, PostMessage, Respond, SendMark, SetStatus},
};
use crate::{
    choices::{Control, as_text},
    lenient_json::LenientJson as _,
    markdown::{self, Limits, Notation},
    media,
};

/// The maximum message length that Slack recommends.
const MAX_TEXT: usize = 4000;

/// The length at which Slack truncates a message.
const LONGEST_TEXT: usize = 40_000;

/// The maximum text length of a section block, in characters.
const MAX_SECTION: usize = 3000;

/// Slack's `mrkdwn`.
const MRKDWN: Notation = Notation {
    entities: true,
    brackets: false,
};

/// The notation in a block whose text is `verbatim`.
const VERBATIM: Notation = Notation {
    entities: true,
    brackets: true,
};

/// The buttons of a message.
const BUTTONS: Control = Control {
    options: 5,
    id: 255,
    label: 75,
    description: None,
};

/// A menu.
const MENU: Control = Control {
    options: 100,
    id: 150,
    label: 75,
    description: Some(75),
};

/// The tolerated difference between Slack's clock and ours when searching for a message.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// The number of pages searched for a message, and the number of messages per page.
const PAGES: usize = 50;
const PAGE: &str = "200";

/// A Slack workspace, accessed with its bot token.
///
/// An answer goes where the request was made: an interaction that only its person saw is answered by its `response_url`, or, after
/// that has expired (30 minutes) or was used up (five responses), by an ephemeral message, or else by a direct message. See
/// [`SentVia`](konstruct_core::turn::SentVia).
///
/// It needs the scopes `chat:write` and the `*:history` scope of each kind of conversation that it writes to. The latter is used
/// to find out whether a message was posted after a lost response.
///
/// ```
/// use konstruct_channels::Slack;
/// use konstruct_core::{Channel, Secret, channel::Find};
///
/// let slack = Slack::builder(Secret::new("xoxb-1")).build()?;
/// assert_eq!(slack.capabilities().find, Find::Query);
/// assert!(Slack::builder(Secret::new("")).build().is_err());
/// # Ok::<(), konstruct_core::Error>(())
/// ```
pub struct Slack {
    api: Api,
    files: media::Source,
    capabilities: Capabilities,
}

/// Builds a [`Slack`].
#[derive(Clone, Debug)]
pub struct SlackBuilder {
    token: Secret,
    api_url: String,
    timeout: Duration,
}

impl SlackBuilder {
    /// Sets the base URL of the Web API; the default is `https://slack.com/api`.
    #[must_use]
    pub fn api_url(mut self, url: impl Into<String>) -> Self {
        self.api_url = url.into();
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
    /// [`ErrorKind::InvalidInput`] for an empty token or a URL that is not HTTP or HTTPS.
    pub fn build(self) -> Result<Slack> {
        if self.token.is_empty() {
            return Err(Error::invalid("token", "must not be empty"));
        }
        let client = Client::builder().timeout(self.timeout).build();
        client.prepare()?;
        let base = base_url("api_url", &self.api_url)?;
        let mut capabilities = Capabilities::new(Find::Query, MAX_TEXT);
        capabilities.progress = true;
        capabilities.threads = true;
        capabilities.request_timeout = self.timeout;
        Ok(Slack {
            files: media::Source {
                client: client.clone(),
                token: self.token.clone(),
                api: base.clone(),
                hosts: &["files.slack.com", "slack-files.com"],
            },
            api: Api {
                client,
                base,
                token: self.token,
            },
            capabilities,
        })
    }
}

/// The identity behind a token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlackIdentity {
    /// The team's id.
    pub team: String,
    /// The team's name.
    pub team_name: String,
    /// The bot's user id.
    pub user: String,
}

impl Slack {
    /// Starts a builder with the bot's token.
    pub fn builder(token: Secret) -> SlackBuilder {
        SlackBuilder {
            token,
            api_url: "https://slack.com/api".to_owned(),
            timeout: Duration::from_secs(10),
        }
    }

    /// Returns the token's identity (`auth.test`).
    ///
    /// # Errors
    /// [`ErrorKind::Unauthorized`] if the token is not valid any more, and the errors of the call.
    pub async fn identity(&self) -> Result<SlackIdentity> {
        let answer = self.api.form("auth.test", &[]).await?;
        Ok(SlackIdentity {
            team: answer.text("team_id").unwrap_or_default(),
            team_name: answer.text("team").unwrap_or_default(),
            user: answer.text("user_id").unwrap_or_default(),
        })
    }

    /// Revokes the token (`auth.revoke`), which ends the app's access to the workspace.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthorized`] if the token was not valid any more, and the errors of the call.
    pub async fn revoke(&self) -> Result<()> {
        self.api.form("auth.revoke", &[]).await.map(drop)
    }

    /// Replies are posted in the thread, because Slack has no quoting.
    async fn send(
        &self,
        (to, via): (&ConversationRef, &Via),
        key: &str,
        outgoing: Outgoing,
    ) -> Result<Receipt> {
        let outgoing = shown(outgoing);
        let within = |size: usize, max: usize| match size {
            size if size > max => Err(Error::new(
                ErrorKind::TooLarge,
                "text: too long for one message; split it with `render`",
            )),
            _ => Ok(()),
        };
        within(outgoing.text.len(), markdown::MAX_SOURCE)?;
        let mut text = markdown::translate(&outgoing.text, MRKDWN);
        let blocks = match &outgoing.choices {
            Some(choices) => {
                let section = markdown::translate(&outgoing.text, VERBATIM);
                within(section.encode_utf16().count(), MAX_SECTION)?;
                if text.is_empty() {
                    text = label(choices).to_owned();
                }
                blocks(&section, choices)
            }
            None => Vec::new(),
        };
        if text.is_empty() {
            return Err(Error::invalid("text", "must not be empty"));
        }
        within(text.encode_utf16().count(), LONGEST_TEXT)?;
        let thread_ts = to.thread.as_deref();
        let unmarked = |blocks| Message {
            text: &text,
            blocks,
            thread_ts,
        };
        let (answer, id) = match via {
            Via::Conversation => {
                let message = PostMessage {
                    channel: &to.id,
                    text: &text,
                    blocks,
                    thread_ts,
                    metadata: Metadata {
                        event_type: wire::SEND_EVENT,
                        event_payload: SendMark { key },
                    },
                    link_names: false,
                    unfurl_links: false,
                    unfurl_media: false,
                };
                (self.api.json("chat.postMessage", &message).await?, "ts")
            }
            Via::Ephemeral { person } => {
                let message = PostEphemeral {
                    channel: &to.id,
                    user: person,
                    message: unmarked(blocks),
                    link_names: false,
                };
                let answer = self.api.json("chat.postEphemeral", &message).await?;
                (answer, "message_ts")
            }
            Via::Response { url, ephemeral } => {
                let response = Respond {
                    response_type: if *ephemeral {
                        "ephemeral"
                    } else {
                        "in_channel"
                    },
                    replace_original: false,
                    message: unmarked(blocks),
                };
                // Slack does not return the id of such a message.
                return self
                    .api
                    .respond(url, &response)
                    .await
                    .map(|()| Receipt::default());
            }
            _ => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "slack has no such way to send a message",
                ));
            }
        };
        match answer.text(id) {
            Some(ts) => Ok(Receipt { message: Some(ts) }),
            None => Err(Error::new(
                ErrorKind::Ambiguous,
                "the response contains no message id",
            )),
        }
    }

    /// Shows a status, which only threads support. Errors are ignored, except a rejected token.
    async fn progress(&self, to: &ConversationRef, message: Option<&str>) -> Result<Receipt> {
        if let Some(thread_ts) = to.thread.as_deref().or(message) {
            let status = SetStatus {
                channel_id: &to.id,
                thread_ts,
                status: "is typing…",
            };
            if let Err(error) = self.api.json("assistant.threads.setStatus", &status).await {
                // A rejected token should be detected before a model is paid.
                if error.kind() == ErrorKind::Unauthorized {
                    return Err(error);
                }
                tracing::debug!(%error, "could not show progress in slack");
            }
        }
        Ok(Receipt::default())
    }

    /// Reads one page of a thread or a channel.
    async fn page(&self, query: &FindQuery, cursor: &str) -> Result<Value> {
        let oldest = wire::ts(query.since - CLOCK_SKEW);
        let mut form = vec![
            ("channel", query.to.id.as_str()),
            ("oldest", &oldest),
            ("inclusive", "true"),
            ("include_all_metadata", "true"),
            ("limit", PAGE),
        ];
        if !cursor.is_empty() {
            form.push(("cursor", cursor));
        }
        match &query.to.thread {
            Some(thread) => {
                form.push(("ts", thread));
                self.api.form("conversations.replies", &form).await
            }
            None => self.api.form("conversations.history", &form).await,
        }
    }
}

/// Returns the message as displayed: choices that fit neither buttons nor a menu become text.
fn shown(outgoing: Outgoing) -> Outgoing {
    match &outgoing.choices {
        Some(choices) if !BUTTONS.takes(choices) && !MENU.takes(choices) => as_text(&outgoing),
        _ => outgoing,
    }
}

fn label(choices: &Choices) -> &str {
    choices.prompt.as_deref().unwrap_or("Choose")
}

/// Converts choices to buttons or a menu. The labels are plain text, which cannot mention anybody.
fn blocks(section: &str, choices: &Choices) -> Vec<Value> {
    let plain = |text: &str| json!({"type": "plain_text", "text": text});
    let options = choices.options.iter();
    let elements: Vec<Value> = if BUTTONS.takes(choices) {
        let button = options.map(|choice| {
            json!({"type": "button", "action_id": choice.id, "value": choice.id, "text": plain(&choice.label)})
        });
        button.collect()
    } else {
        let option = options.map(|choice| {
            let mut option = json!({"text": plain(&choice.label), "value": choice.id});
            if let Some(description) = &choice.description {
                option["description"] = plain(description);
            }
            option
        });
        vec![json!({
            "type": "static_select",
            "action_id": wire::CHOICE,
            "placeholder": plain(&label(choices).chars().take(75).collect::<String>()),
            "options": option.collect::<Vec<_>>(),
        })]
    };
    // `verbatim`: names of channels and people in the text are not turned into mentions.
    let text = json!({"type": "mrkdwn", "text": section, "verbatim": true});
    let text = (!section.is_empty()).then(|| json!({"type": "section", "text": text}));
    let actions = json!({"type": "actions", "elements": elements});
    text.into_iter().chain([actions]).collect()
}

#[async_trait]
impl Channel for Slack {
    fn kind(&self) -> ChannelKind {
        ChannelKind::SLACK
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn render(&self, outgoing: &Outgoing, max_parts: usize) -> Rendered {
        let outgoing = shown(outgoing.clone());
        let (notation, max) = match &outgoing.choices {
            Some(_) => (VERBATIM, MAX_SECTION),
            None => (MRKDWN, MAX_TEXT),
        };
        let limits = Limits {
            max,
            with_choices: max,
            measure: &|text| markdown::translate(text, notation).encode_utf16().count(),
        };
        markdown::render(&outgoing, max_parts, &limits)
    }

    async fn perform(&self, op: Op) -> Result<Receipt> {
        match op {
            Op::Send {
                to,
                key,
                outgoing,
                via,
            } => self.send((&to, &via), &key, outgoing).await,
            Op::Progress { to, message } => self.progress(&to, message.as_deref()).await,
            Op::MarkRead { .. } => Err(Error::new(
                ErrorKind::Unsupported,
                "slack shows nobody that a message was read",
            )),
        }
    }

    async fn find(&self, query: FindQuery) -> Result<Option<Receipt>> {
        let mut cursor = String::new();
        for _ in 0..PAGES {
            let page = self.page(&query, &cursor).await?;
            if !page.at("messages").is_array() {
                return Err(Error::new(
                    ErrorKind::Protocol,
                    "the response contains no list of messages",
                ));
            }
            let ours = |message: &&Value| {
                message.text("metadata.event_type").as_deref() == Some(wire::SEND_EVENT)
                    && message.text("metadata.event_payload.key").as_ref() == Some(&query.key)
            };
            if let Some(message) = page.items("messages").iter().find(ours) {
                let message = message.text("ts");
                return Ok(Some(Receipt { message }));
            }
            match page.text("response_metadata.next_cursor") {
                Some(next) => cursor = next,
                None if page.flag("has_more") => {
                    return Err(Error::new(
                        ErrorKind::Protocol,
                        "the response announces more pages but has no cursor",
                    ));
                }
                None => return Ok(None),
            }
        }
        // `None` must mean that the message was not posted.
        Err(Error::new(
            ErrorKind::TooLarge,
            "too many messages to search",
        ))
    }

    async fn fetch_media(&self, attachment: &Attachment, max_bytes: u64) -> Result<Bytes> {
        if attachment.size.is_some_and(|size| size > max_bytes) {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("the file is larger than {max_bytes} bytes"),
            ));
        }
        let Some(url) = &attachment.url else {
            return Err(Error::not_found("file"));
        };
        let (bytes, mime) = self.files.fetch(url, max_bytes).await?;
        let wanted = attachment.mime.as_deref().unwrap_or_default();
        // Without the scope `files:read`, Slack returns its sign-in page.
        if mime.starts_with("text/html") && !wanted.starts_with("text/html") {
            return Err(Error::new(
                ErrorKind::Forbidden,
                "slack returned its sign-in page; grant the app the scope `files:read`",
            ));
        }
        if let Some(announced) = &attachment.sha256 {
            media::check_digest(&bytes, announced)?;
        }
        Ok(bytes)
    }
}

impl fmt::Debug for Slack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slack")
            .field("api", &self.api.base.as_str())
            .finish_non_exhaustive()
    }
}
