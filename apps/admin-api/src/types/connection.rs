//! Connections, and a tenant's own models.

use konstruct_core::ConnectionId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A tenant's own language model at a provider, to add or to replace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOwnModel {
    /// `anthropic`, `openai` (Chat Completions and compatible servers), `openai_responses` or `ollama`.
    pub provider: String,
    /// The provider's name for the model.
    pub model: String,
    /// The tenant's API key at the provider. It is never returned.
    #[serde(default)]
    pub api_key: String,
    /// The provider's URL, if it differs from the default: `https`, and reachable from the public internet.
    #[serde(default)]
    pub base_url: Option<String>,
    /// `quality` for replies, `fast` for summaries and facts; both if absent.
    #[serde(default)]
    pub purpose: Option<String>,
}

/// A tenant's own language model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OwnModel {
    /// Its name, chosen by the tenant.
    pub name: String,
    /// `anthropic`, `openai`, `openai_responses` or `ollama`.
    pub provider: String,
    /// The provider's name for the model.
    pub model: String,
    /// The provider's URL, if it differs from the default.
    pub base_url: Option<String>,
    /// `quality` or `fast`; both if absent.
    pub purpose: Option<String>,
    /// The last characters of the API key, to identify it.
    pub key_end: String,
    /// Whether its price is known. Under a cap, a model without a price is not used.
    pub priced: bool,
    /// Its version, which is also its ETag: the number of times that it was put.
    pub version: u32,
}

/// A connection to add: one Slack workspace or one WhatsApp number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewConnection {
    /// `slack` or `whatsapp`.
    pub channel: String,
    /// The provider's id: a Slack team (`T…`), a WhatsApp phone number id.
    pub account: String,
    /// The display name.
    #[serde(default)]
    pub name: String,
    /// The bot token or access token. It is never returned.
    pub token: String,
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Connection {
    /// Its id.
    #[schemars(with = "String")]
    pub id: ConnectionId,
    /// `slack` or `whatsapp`.
    pub channel: String,
    /// The provider's id.
    pub account: String,
    /// The display name.
    pub name: String,
    /// The last characters of the token, to identify it.
    pub token_end: String,
    /// Its state.
    pub state: ConnectionState,
    /// Why it is paused, such as `unauthorized` or `quota_exhausted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when it is paused or disconnected, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// The provider has not confirmed yet that the account belongs to the tenant. The server keeps asking; until then, the
    /// account's events are not the tenant's.
    Pending,
    /// It receives and sends.
    Active,
    /// It receives events, but sends nothing until the reason is resolved.
    Paused,
    /// The provider has ended it; connect the account again.
    Disconnected,
}
