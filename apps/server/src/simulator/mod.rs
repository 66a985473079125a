//! The simulator: a phone and a Slack window in the browser, with the vendors' wire protocols behind them.
//!
//! What a person types becomes a signed webhook over HTTP, delivered as the vendor would, with retries. What the employee
//! sends comes in over the vendor's API, at an address of this server, and is answered with delivery statuses.

mod deliver;
mod feed;
mod graph;
mod page;
mod slack;

use std::{net::SocketAddr, sync::Arc};

use axum::Router;
use konstruct_core::{AccountId, ChannelKind, Result, Secret};
use tokio::sync::watch;

use self::{deliver::Delivery, feed::Feed};
use crate::{
    App,
    app::keep,
    demo,
    directory::{NewConnection, ServerDirectory},
};

/// The accounts that the simulator plays, both of the demo tenant.
const SLACK_TEAM: &str = "TSANDBOX";
const SLACK_BOT: &str = "USANDBOXBOT";
const PHONE_NUMBER_ID: &str = "100000000000000";

/// The simulator. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Simulator {
    feed: Arc<Feed>,
    delivery: Delivery,
    /// What the simulated vendors expect as a bearer token, so that nobody else can speak for the employee.
    token: Secret,
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
        signing_secret: Secret,
        app_secret: Secret,
    ) -> Result<Self> {
        let host = if listening.ip().is_unspecified() {
            [127, 0, 0, 1].into()
        } else {
            listening.ip()
        };
        let base = format!("http://{}", SocketAddr::new(host, listening.port()));
        let token = Secret::new(deliver::random("sandbox-")?);
        let new = |channel, account: &str, path: &str| NewConnection {
            channel,
            account: AccountId(account.into()),
            name: "Sandbox".into(),
            token: token.clone(),
            api_url: Some(format!("{base}{path}")),
        };
        keep(
            directory,
            demo::SANDBOX_SLACK,
            new(ChannelKind::SLACK, SLACK_TEAM, "/sandbox/slack/api"),
        )
        .await?;
        keep(
            directory,
            demo::SANDBOX_WHATSAPP,
            new(ChannelKind::WHATSAPP, PHONE_NUMBER_ID, "/sandbox/graph"),
        )
        .await?;
        let delivery = Delivery::new(base, signing_secret, app_secret)?;
        Ok(Self {
            feed: Arc::default(),
            delivery,
            token,
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
