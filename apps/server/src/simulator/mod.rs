//! The simulator of the demo: a phone and a Slack window in the browser, with simulated vendors behind them.
//!
//! Its accounts and its visitors' addresses have a separate namespace: they contain characters that no real account, number or
//! user id has. A visitor is identified by a session cookie ([`session`]), never by a field of a request.
//!
//! A person's message becomes a signed webhook over HTTP, delivered with retries as by the vendor. The employee's messages arrive
//! over the vendor's API at this server, and are answered with delivery statuses.

mod deliver;
mod feed;
mod graph;
mod page;
mod session;
mod slack;

use std::{net::SocketAddr, sync::Arc};

use axum::Router;
use konstruct_core::{AccountId, ChannelKind, Result, Secret};
use tokio::sync::{Semaphore, watch};

pub(crate) use self::session::Sessions;
use self::{deliver::Delivery, feed::Feed};
use crate::{
    App, demo,
    directory::{NewConnection, ServerDirectory},
};

/// The simulated accounts of the demo tenant. Real accounts contain no lower-case letters and no hyphens.
const SLACK_TEAM: &str = "Tdemo-team";
const SLACK_BOT: &str = "Udemo-bot";
const PHONE_NUMBER_ID: &str = "demo-number";

/// The prefixes of a visitor's addresses: as a customer, as a colleague, and for the channel between visitor and employee.
const PHONE: &str = "demo-";
const USER: &str = "Udemo-";
const CHANNEL: &str = "Ddemo-";

/// The maximum number of open feeds; each uses one of the listener's connections.
const FEEDS: usize = 256;

/// The maximum number of visitors' messages being delivered to the webhooks.
const DELIVERIES: usize = 64;

/// The simulator. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Simulator {
    feed: Arc<Feed>,
    delivery: Delivery,
    /// The bearer token of the simulated vendors' APIs, so that nobody else can send messages as the employee.
    token: Secret,
    sessions: Sessions,
    feeds: Arc<Semaphore>,
    deliveries: Arc<Semaphore>,
    closed: Arc<watch::Sender<bool>>,
}

impl Simulator {
    /// Connects the demo tenant to the simulated vendors of the server at this address.
    ///
    /// # Errors
    /// Those of the store, and of the system's random number generator.
    pub(crate) async fn open(
        directory: &ServerDirectory,
        listening: SocketAddr,
        (signing_secret, app_secret): (Secret, Secret),
        sessions: Sessions,
    ) -> Result<Self> {
        let host = if listening.ip().is_unspecified() {
            [127, 0, 0, 1].into()
        } else {
            listening.ip()
        };
        let base = format!("http://{}", SocketAddr::new(host, listening.port()));
        let token = Secret::new(deliver::random("demo-")?);
        let new = |channel, account: &str, path: &str| NewConnection {
            channel,
            account: AccountId(account.into()),
            name: "Demo".into(),
            token: token.clone(),
            api_url: Some(format!("{base}{path}")),
        };
        for (id, connection) in [
            (
                demo::SLACK,
                new(ChannelKind::SLACK, SLACK_TEAM, "/demo/slack/api"),
            ),
            (
                demo::WHATSAPP,
                new(ChannelKind::WHATSAPP, PHONE_NUMBER_ID, "/demo/graph"),
            ),
        ] {
            directory
                .keep_connection(demo::TENANT, id, connection)
                .await?;
        }
        let delivery = Delivery::new(base, signing_secret, app_secret)?;
        Ok(Self {
            feed: Arc::default(),
            delivery,
            token,
            sessions,
            feeds: Arc::new(Semaphore::new(FEEDS)),
            deliveries: Arc::new(Semaphore::new(DELIVERIES)),
            closed: Arc::new(watch::Sender::new(false)),
        })
    }

    /// Ends the pages' feeds, so that they do not delay the shutdown.
    pub(crate) fn close(&self) {
        let _ = self.closed.send(true);
    }

    pub(crate) fn routes(&self) -> Router<Arc<App>> {
        page::routes(self.clone())
            .merge(slack::routes(self.clone()))
            .merge(graph::routes(self.clone()))
    }

    fn authorized(&self, headers: &axum::http::HeaderMap) -> bool {
        use subtle::ConstantTimeEq as _;
        let expected = format!("Bearer {}", self.token.expose());
        headers
            .get("authorization")
            .is_some_and(|given| given.as_bytes().ct_eq(expected.as_bytes()).into())
    }
}

/// Returns a message followed by the labels of its buttons or its list, because the page shows only text.
fn with_choices<'a>(text: &str, labels: impl Iterator<Item = &'a serde_json::Value>) -> String {
    let labels = labels.filter_map(|label| label.as_str());
    labels.fold(text.to_owned(), |text, label| {
        format!("{text}\n[ {label} ]")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::with_choices;

    #[test]
    fn choices_are_shown_below_the_text() {
        let labels = [json!("Yes"), json!(null), json!("No")];
        assert_eq!(
            with_choices("Go on?", labels.iter()),
            "Go on?\n[ Yes ]\n[ No ]"
        );
        assert_eq!(with_choices("Hi.", [].iter()), "Hi.");
    }
}
