//! The configuration: defaults, overridden by a file, overridden by the environment.

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroU64},
    path::{Path, PathBuf},
};

use axum::http::Uri;
use konstruct_core::{
    Error, ErrorKind, Result, Secret,
    limit::{PlanRates, Rate},
    store::Share,
};
use serde::Deserialize;
use toml::{Table, Value};

use crate::networks::Networks;

/// The documented defaults, which contain every key.
pub const DEFAULTS: &str = include_str!("../config.default.toml");

/// The environment variables, and the keys that they set.
const VARIABLES: &[(&str, &[&str])] = &[
    ("KONSTRUCT_LISTEN", &["listen"]),
    ("KONSTRUCT_METRICS_LISTEN", &["metrics_listen"]),
    ("KONSTRUCT_DATA_DIR", &["data_dir"]),
    ("DATABASE_URL", &["database", "url"]),
    ("DATABASE_WORKER_URL", &["database", "worker_url"]),
    ("DATABASE_OWNER_URL", &["database", "owner_url"]),
    ("REDIS_URL", &["redis", "url"]),
    ("SMTP_URL", &["mail", "url"]),
    ("KONSTRUCT_MASTER_KEY", &["master_key"]),
    ("KONSTRUCT_PUBLIC_URL", &["public_url"]),
    ("KONSTRUCT_TRUSTED_PROXIES", &["trusted_proxies"]),
    ("KONSTRUCT_OPERATOR_TOKEN", &["operator_token"]),
    ("KONSTRUCT_MODEL", &["model"]),
    ("KONSTRUCT_FAST_MODEL", &["fast_model"]),
    ("KONSTRUCT_PRICES", &["prices"]),
    ("KONSTRUCT_EMBEDDER", &["embedder", "model"]),
    ("KONSTRUCT_TRANSCRIBER", &["transcriber", "model"]),
    ("WHISPER_CPP_HOST", &["transcriber", "whisper_cpp_host"]),
    ("KONSTRUCT_CONCURRENCY", &["concurrency"]),
    ("KONSTRUCT_DRAIN_SECS", &["drain_secs"]),
    ("KONSTRUCT_DEMO", &["demo"]),
    ("SLACK_SIGNING_SECRET", &["slack", "signing_secret"]),
    ("SLACK_API_URL", &["slack", "api_url"]),
    ("SLACK_BOT_TOKEN", &["slack", "bot_token"]),
    ("WHATSAPP_APP_SECRET", &["whatsapp", "app_secret"]),
    ("WHATSAPP_VERIFY_TOKEN", &["whatsapp", "verify_token"]),
    ("GRAPH_API_URL", &["whatsapp", "graph_api_url"]),
    ("GRAPH_API_VERSION", &["whatsapp", "graph_api_version"]),
    ("WHATSAPP_PHONE_NUMBER_ID", &["whatsapp", "phone_number_id"]),
    ("WHATSAPP_ACCESS_TOKEN", &["whatsapp", "access_token"]),
    ("OPENAI_API_KEY", &["openai", "api_key"]),
    ("OPENAI_BASE_URL", &["openai", "base_url"]),
    ("ANTHROPIC_API_KEY", &["anthropic", "api_key"]),
    ("ANTHROPIC_BASE_URL", &["anthropic", "base_url"]),
    ("OLLAMA_HOST", &["ollama", "host"]),
];

/// The least budget for request bodies.
const LEAST_BODY_BYTES: usize = 8 * 1024 * 1024;

/// Returns a key's name for errors: its variable, and its path in the file.
pub(crate) fn named(key: &str) -> String {
    let path: Vec<&str> = key.split('.').collect();
    let variable = VARIABLES.iter().find(|(_, known)| **known == path);
    match variable {
        Some((name, _)) => format!("{name} (`{key}`)"),
        None => format!("`{key}`"),
    }
}

/// Names that are part of the deployment contract but have no effect in this version; the start reports them.
const WITHOUT_EFFECT: &[&str] = &[
    "KONSTRUCT_LOG_FORMAT",
    "KONSTRUCT_PLANS",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OIDC_ISSUER",
    "WHATSAPP_APP_ID",
    "WHATSAPP_SIGNUP_CONFIG_ID",
];

/// Returns the variables that are set but have no effect.
pub fn without_effect(variable: impl Fn(&str) -> Option<String>) -> Vec<&'static str> {
    let set = |name: &&&str| variable(name).is_some_and(|value| !value.is_empty());
    WITHOUT_EFFECT.iter().filter(set).copied().collect()
}

/// Names that are part of the deployment contract but not supported in this version. The server refuses to start with them.
const NOT_YET: &[(&str, &str)] = &[
    (
        "SLACK_CLIENT_ID",
        "this version installs no Slack apps by OAuth",
    ),
    ("SLACK_APP_TOKEN", "this version has no Socket Mode"),
    ("STRIPE_SECRET_KEY", "this version has no billing"),
];

/// The server's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// What the process does, an argument of the command line.
    #[serde(skip)]
    pub role: Role,
    /// The listen address.
    pub listen: SocketAddr,
    /// The listen address of the metrics.
    pub metrics_listen: SocketAddr,
    /// The directory of the embedded store.
    pub data_dir: PathBuf,
    /// The PostgreSQL database, instead of the embedded store.
    pub database: Database,
    /// Redis, which shares rate limits between processes.
    pub redis: Redis,
    /// Mail to people who sign in.
    pub mail: Mail,
    /// The limits of the listeners.
    pub http: Http,
    /// The rate limits of every tenant and of the admin API.
    pub limits: Limits,
    /// The key ring that encrypts the store. Empty: the key ring in the data directory.
    pub master_key: Secret,
    /// The public URL of this server.
    pub public_url: String,
    /// Additional host names of this server.
    pub hosts: Vec<String>,
    /// The proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Networks,
    /// Bearer token of the operator.
    pub operator_token: Secret,
    /// `provider/model`, several separated by commas: the first is used, the others are its fallbacks.
    pub model: String,
    /// The same for summaries and facts.
    pub fast_model: String,
    /// A file with model prices. Empty: only the built-in prices.
    pub prices: PathBuf,
    /// Non-public hosts that tenants' own models may use.
    pub allowed_hosts: Vec<String>,
    /// What becomes of tenants.
    pub tenants: Tenants,
    /// The crawling of websites.
    pub websites: Websites,
    /// The embedder for semantic search.
    pub embedder: Embedder,
    /// The transcriber of voice messages.
    pub transcriber: Transcriber,
    /// The number of conversations processed at the same time.
    pub concurrency: std::num::NonZeroUsize,
    /// The number of tenants for which the learner works at the same time.
    pub learning_lanes: std::num::NonZeroUsize,
    /// Seconds that open turns may continue after SIGTERM.
    pub drain_secs: u64,
    /// Whether the public demo is served.
    pub demo: Demo,
    /// Slack.
    pub slack: Slack,
    /// WhatsApp.
    pub whatsapp: WhatsApp,
    /// OpenAI, or a compatible server.
    pub openai: Provider,
    /// Anthropic.
    pub anthropic: Provider,
    /// Ollama.
    pub ollama: Ollama,
}

/// What a process does. Processes of one deployment share a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
#[non_exhaustive]
pub enum Role {
    /// Accepts webhooks and serves the admin API.
    Web,
    /// Runs turns, learns, and crawls websites.
    Worker,
    /// Both.
    #[default]
    All,
}

impl Role {
    /// Returns whether the process accepts webhooks and serves the admin API.
    pub fn serves(self) -> bool {
        self != Self::Worker
    }

    /// Returns whether the process runs turns and jobs.
    pub fn works(self) -> bool {
        self != Self::Web
    }
}

/// The PostgreSQL database.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Database {
    /// The URL of the server's login. Empty: the embedded store is used.
    pub url: Secret,
    /// The URL of the login of processes that only work. Empty: `url`.
    pub worker_url: Secret,
    /// The URL of the owner, which only `migrate` uses. Empty: `url`.
    pub owner_url: Secret,
    /// The most connections of this process.
    pub connections: NonZeroU32,
}

/// Redis.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Redis {
    /// The URL. Empty: each process limits rates on its own.
    pub url: Secret,
}

/// Mail to people who sign in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Mail {
    /// The URL of the mail server. Empty: links are shown instead.
    pub url: Secret,
    /// The sender. Empty: `konstruct` at the host of the public URL.
    pub from: String,
}

/// The limits of the listeners.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Http {
    /// The most connections of the public listener. 0: as many as the limit of open files allows, and at most 4,096.
    pub connections: usize,
    /// The descriptors that connections leave for outgoing calls, the store and the database; at most half of the limit.
    pub reserved_descriptors: usize,
    /// The most bytes of request bodies in memory, over all requests.
    pub body_bytes: usize,
    /// Seconds for the headers of a request.
    pub header_secs: NonZeroU64,
    /// Seconds for the body of a request.
    pub body_secs: NonZeroU64,
    /// Seconds that a connection stays open without a request.
    pub keep_alive_secs: NonZeroU64,
}

/// The rate limits that the operator sets. 0: no limit.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// The most turns of a tenant, in a minute.
    pub turns_per_minute: u32,
    /// The most model calls of a tenant, in a minute.
    pub model_calls_per_minute: u32,
    /// The most conversations of a tenant that are processed at a time, by all processes together.
    pub conversations_at_once: u32,
    /// The most requests to the admin API with a token, in a minute.
    pub api_requests_per_minute: u32,
}

impl Limits {
    /// Returns the rates of every tenant's plan.
    pub(crate) fn plan(&self) -> PlanRates {
        PlanRates {
            turns: per_minute(self.turns_per_minute),
            model_calls: per_minute(self.model_calls_per_minute),
        }
    }

    /// Returns the share of the workers of every tenant that has no other.
    pub(crate) fn share(&self) -> Share {
        Share {
            most: NonZeroU32::new(self.conversations_at_once),
            ..Share::default()
        }
    }
}

fn per_minute(count: u32) -> Option<Rate> {
    (count > 0).then(|| Rate::new(count, 60))
}

/// Whether the public demo is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Demo {
    /// Always.
    #[serde(alias = "true")]
    On,
    /// Never.
    #[serde(alias = "false")]
    Off,
    /// Only on a loopback address, without a public URL and without real credentials.
    Auto,
}

/// What becomes of tenants.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Tenants {
    /// How many days after its cancellation a tenant is erased.
    pub erase_after_days: std::num::NonZeroU16,
}

/// The crawling of websites.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Websites {
    /// The number of websites crawled at the same time, one of a tenant.
    pub crawls: std::num::NonZeroUsize,
    /// The most pages of a website.
    pub pages: usize,
    /// The most links between the start page and another.
    pub depth: usize,
    /// The most bytes of a page.
    pub page_bytes: usize,
    /// The most bytes of a crawl.
    pub site_bytes: usize,
    /// Milliseconds between the starts of two requests to a website.
    pub delay_millis: u64,
    /// The most minutes of a crawl.
    pub minutes: u64,
    /// Non-public hosts that may be crawled, over HTTP as well.
    pub allowed_hosts: Vec<String>,
}

/// The model that converts texts into vectors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Embedder {
    /// `static`, `none`, `openai/MODEL` or `ollama/MODEL`.
    pub model: String,
    /// The dimension. 0: the model's default.
    pub dim: usize,
    /// The prefix of a query.
    pub query_prefix: String,
    /// The prefix of a stored text.
    pub document_prefix: String,
}

/// The model that converts speech into text.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Transcriber {
    /// `openai/MODEL` or `whisper.cpp`, several separated by commas: the first is used, the others are its fallbacks. Empty: none.
    pub model: String,
    /// The base URL of another server with OpenAI's API. Empty: that of [`Config::openai`], with its key.
    pub base_url: String,
    /// The key for `base_url`.
    pub api_key: Secret,
    /// The URL of whisper.cpp's server.
    pub whisper_cpp_host: String,
}

/// The Slack app.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Slack {
    /// The app's signing secret.
    pub signing_secret: Secret,
    /// The URL of the Web API.
    pub api_url: String,
    /// The bot token of the demo tenant's workspace.
    pub bot_token: Secret,
}

/// The Meta app.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct WhatsApp {
    /// The app's secret.
    pub app_secret: Secret,
    /// The token that Meta sends when it verifies the webhook.
    pub verify_token: Secret,
    /// The URL of the Graph API.
    pub graph_api_url: String,
    /// Its version.
    pub graph_api_version: String,
    /// The demo tenant's number.
    pub phone_number_id: String,
    /// The demo tenant's access token.
    pub access_token: Secret,
}

/// A provider with a key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Provider {
    /// The key.
    pub api_key: Secret,
    /// The base URL.
    pub base_url: String,
    /// The model, if none is named.
    pub default_model: String,
}

/// An Ollama host.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Ollama {
    /// The host.
    pub host: String,
    /// The model, if none is named.
    pub default_model: String,
}

impl Config {
    /// Returns why the demo is not served, or `None` if it is.
    pub fn without_demo(&self) -> Option<String> {
        match self.demo {
            // Its vendors are simulated in the process that sends to them.
            _ if self.role != Role::All => {
                return Some("it needs a process with --role all".into());
            }
            Demo::On => return None,
            Demo::Off => return Some("KONSTRUCT_DEMO is off".into()),
            Demo::Auto => {}
        }
        if !self.listen.ip().is_loopback() {
            return Some(format!("{} is not a loopback address", self.listen.ip()));
        }
        let set = [
            ("KONSTRUCT_PUBLIC_URL", self.public_url.is_empty()),
            ("SLACK_SIGNING_SECRET", self.slack.signing_secret.is_empty()),
            ("SLACK_BOT_TOKEN", self.slack.bot_token.is_empty()),
            ("WHATSAPP_APP_SECRET", self.whatsapp.app_secret.is_empty()),
            (
                "WHATSAPP_ACCESS_TOKEN",
                self.whatsapp.access_token.is_empty(),
            ),
            ("ANTHROPIC_API_KEY", self.anthropic.api_key.is_empty()),
            ("OPENAI_API_KEY", self.openai.api_key.is_empty()),
        ];
        let (name, _) = set.into_iter().find(|(_, empty)| !empty)?;
        Some(format!("{name} is set"))
    }

    /// Returns the public URL, if one is set.
    pub fn public_uri(&self) -> Option<Uri> {
        self.public_url.parse().ok()
    }

    /// Loads the configuration.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] that names the file or variable and the key, also for an unknown key.
    pub fn load(file: Option<&Path>, variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let mut table = parse(DEFAULTS, "config.default.toml")?;
        if let Some(path) = file {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path).map_err(|error| {
                Error::invalid("--config", format!("could not read {name}: {error}"))
                    .with_source(error)
            })?;
            merge(&mut table, parse(&text, &name)?);
            // Reports an error with its source before the next source is merged.
            Self::read(&table, &name)?;
        }
        for (name, key) in VARIABLES {
            if let Some(value) = variable(name).filter(|value| !value.is_empty()) {
                set(&mut table, name, key, &value)?;
                Self::read(&table, name)?;
            }
        }
        for (name, why) in NOT_YET {
            if variable(name).is_some_and(|value| !value.is_empty()) {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("{name}: {why}; unset it to start"),
                ));
            }
        }
        let config = Self::read(&table, "config")?;
        config.check()?;
        Ok(config)
    }

    /// Checks rules that the types do not enforce.
    fn check(&self) -> Result<()> {
        let usable = |url: Uri| {
            let scheme = url.scheme_str().unwrap_or_default();
            ["http", "https"].contains(&scheme) && url.host().is_some_and(|host| !host.is_empty())
        };
        if !self.public_url.is_empty() && !self.public_uri().is_some_and(usable) {
            return Err(Error::invalid(
                "KONSTRUCT_PUBLIC_URL",
                "must be a URL such as https://konstruct.example.com",
            ));
        }
        if self.http.body_bytes < LEAST_BODY_BYTES {
            return Err(Error::invalid(
                "http.body_bytes",
                format!("must be at least {LEAST_BODY_BYTES}, the size of two large requests"),
            ));
        }
        self.limits.plan().validate("limits")?;
        Ok(())
    }

    /// Deserializes a table; `name` is the last source merged into it, for errors.
    fn read(table: &Table, name: &str) -> Result<Self> {
        table
            .clone()
            .try_into()
            .map_err(|error: toml::de::Error| Error::invalid(name, error.message()))
    }
}

fn parse(text: &str, name: &str) -> Result<Table> {
    text.parse()
        .map_err(|error: toml::de::Error| Error::invalid(name, error.message()))
}

fn merge(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => merge(under, over),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

/// Sets a key from text, converted to the type of its default.
fn set(table: &mut Table, name: &str, key: &[&str], text: &str) -> Result<()> {
    let [parents @ .., last] = key else {
        return Ok(());
    };
    let mut table = table;
    for parent in parents {
        match table.get_mut(*parent) {
            Some(Value::Table(inner)) => table = inner,
            _ => return Err(Error::invalid(name, format!("[{parent}] is not a table"))),
        }
    }
    let value = match table.get(*last) {
        Some(Value::Integer(_)) => Value::Integer(
            text.parse()
                .map_err(|_| Error::invalid(name, "must be a whole number"))?,
        ),
        _ => Value::String(text.to_owned()),
    };
    table.insert((*last).to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_complete() {
        let config = Config::load(None, |_| None).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
        for (name, _) in VARIABLES {
            assert!(
                DEFAULTS.contains(&format!("# {name}")),
                "{name} is not documented"
            );
        }
    }

    #[test]
    fn the_environment_overrides_and_errors_name_the_variable() {
        let load = |name: &'static str, value: &'static str| {
            Config::load(None, move |asked| (asked == name).then(|| value.to_owned()))
        };
        assert_eq!(
            load("SLACK_API_URL", "http://x").unwrap().slack.api_url,
            "http://x"
        );
        assert_eq!(load("KONSTRUCT_DEMO", "false").unwrap().demo, Demo::Off);
        for (name, value) in [
            ("KONSTRUCT_DRAIN_SECS", "soon"),
            ("STRIPE_SECRET_KEY", "sk_1"),
        ] {
            assert!(load(name, value).unwrap_err().message().contains(name));
        }
        assert!(load("KONSTRUCT_LISTEN", "nowhere").is_err());
    }

    #[test]
    fn the_demo_is_off_with_real_settings() {
        let without = |pairs: &'static [(&'static str, &'static str)]| {
            let value = move |asked: &str| {
                let found = pairs.iter().find(|(name, _)| *name == asked);
                found.map(|(_, value)| (*value).to_owned())
            };
            Config::load(None, value).unwrap().without_demo()
        };
        assert_eq!(without(&[]), None);
        for real in [
            &[("KONSTRUCT_LISTEN", "0.0.0.0:8080")] as &[_],
            &[("KONSTRUCT_PUBLIC_URL", "https://konstruct.example.com")],
            &[("SLACK_SIGNING_SECRET", "s")],
            &[("SLACK_BOT_TOKEN", "xoxb-1")],
            &[("WHATSAPP_APP_SECRET", "s")],
            &[("WHATSAPP_ACCESS_TOKEN", "EAAG")],
            &[("ANTHROPIC_API_KEY", "sk-ant-1")],
            &[("OPENAI_API_KEY", "sk-1")],
            &[("KONSTRUCT_DEMO", "off")],
        ] {
            assert!(without(real).is_some(), "{real:?}");
        }
        let asked_for = &[("KONSTRUCT_DEMO", "on"), ("OPENAI_API_KEY", "sk-1")];
        assert_eq!(without(asked_for), None);
    }

    #[test]
    fn an_unknown_key_of_a_file_is_an_error() {
        let dir = std::env::temp_dir().join(format!("konstruct-config-{}", std::process::id()));
        std::fs::write(&dir, "lissten = \"127.0.0.1:1\"").unwrap();
        let error = Config::load(Some(&dir), |_| None).unwrap_err();
        std::fs::remove_file(&dir).unwrap();
        assert!(error.message().contains("lissten"), "{error}");
    }
}
