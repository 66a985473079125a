//! The simulator of the demo: a phone and a Slack window in the browser, with the vendors' wire protocols behind them.
//!
//! Its accounts and the addresses of its visitors are in a namespace of their own: they contain characters that no real
//! account, number or user id has. A visitor is known by a session cookie ([`session`]), never by a field of a request.
//!
//! What a person types becomes a signed webhook over HTTP, delivered as the vendor would, with retries. What the employee
//! sends comes in over the vendor's API, at an address of this server, and is answered with delivery statuses.

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

/// The accounts that the simulator plays, both of the demo tenant. Real ones have no lower-case letters and no hyphens.
const SLACK_TEAM: &str = "Tdemo-team";
const SLACK_BOT: &str = "Udemo-bot";
const PHONE_NUMBER_ID: &str = "demo-number";

/// What a visitor's addresses begin with: as a customer, as a colleague, and the channel that the two talk in.
const PHONE: &str = "demo-";
const USER: &str = "Udemo-";
const CHANNEL: &str = "Ddemo-";

/// How many pages may be followed at the same time: each holds one of the listener's connections.
const FEEDS: usize = 256;

/// How many messages of visitors may be on their way to the webhooks at the same time.
const DELIVERIES: usize = 64;

/// The simulator. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Simulator {
    feed: Arc<Feed>,
    delivery: Delivery,
    /// What the simulated vendors expect as a bearer token, so that nobody else can speak for the employee.
    token: Secret,
    sessions: Sessions,
    feeds: Arc<Semaphore>,
    deliveries: Arc<Semaphore>,
    closed: Arc<watch::Sender<bool>>,
}

impl Simulator {
    /// Connects the demo tenant to the simulated vendors of a server that listens there.
    ///
    /// # Errors
    /// Those of the store, and of the system's source of randomness.
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

    /// Ends the pages' feeds, so that they do not hold the server's end up.
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

/// Returns a message with the labels of its buttons or its list below it: the page shows text only.
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
