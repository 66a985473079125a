//! Confirms connections with the vendors in the background: the configured ones, and pending ones of tenants.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, future::join_all, stream};
use konstruct_core::{
    AccountId, ChannelKind, Clock as _, ConnectionId, Error, ErrorKind, Result, SystemClock,
    TenantId, directory::ConnectionState,
};

use crate::{
    App,
    config::Config,
    demo,
    directory::{Confirmation, Connection, NewConnection, ServerDirectory},
};

/// The first and the longest wait between two requests to a vendor. Webhooks of configured connections are rejected until then,
/// so their longest wait is shorter.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const LONGEST_CONFIGURED_WAIT: Duration = Duration::from_secs(15);
/// The number of connections confirmed at the same time.
const AT_ONCE: usize = 8;

/// A connection from the configuration, for one business.
#[derive(Clone, Debug)]
pub(crate) struct ConfiguredConnection {
    id: ConnectionId,
    /// For Slack, the account is unknown until the vendor reports it.
    new: NewConnection,
}

impl ConfiguredConnection {
    /// Reads the configured connections.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] that names the missing variable.
    pub(crate) fn read(config: &Config) -> Result<Vec<Self>> {
        let mut configured = Vec::new();
        if !config.slack.bot_token.is_empty() {
            configured.push(Self {
                id: demo::BUSINESS_SLACK,
                new: NewConnection {
                    channel: ChannelKind::SLACK,
                    account: AccountId(String::new()),
                    name: "Slack".into(),
                    token: config.slack.bot_token.clone(),
                    api_url: None,
                },
            });
        }
        if !config.whatsapp.phone_number_id.is_empty() {
            if config.whatsapp.access_token.is_empty() {
                return Err(Error::invalid(
                    "WHATSAPP_ACCESS_TOKEN",
                    "must be set with WHATSAPP_PHONE_NUMBER_ID",
                ));
            }
            configured.push(Self {
                id: demo::BUSINESS_WHATSAPP,
                new: NewConnection {
                    channel: ChannelKind::WHATSAPP,
                    account: AccountId(config.whatsapp.phone_number_id.clone()),
                    name: "WhatsApp".into(),
                    token: config.whatsapp.access_token.clone(),
                    api_url: None,
                },
            });
        }
        Ok(configured)
    }

    /// Makes the gateway reject the connection's events until the vendor confirms it, unless it was confirmed at an earlier
    /// start.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn prepare(&self, directory: &ServerDirectory) -> Result<()> {
        let known = match directory.connection(demo::BUSINESS, self.id).await {
            Ok(known) => Some(known),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if !known.is_some_and(|known| self.is_confirmed_as(&known)) {
            let account = Some(self.new.account.clone());
            let account = account.filter(|account| !account.0.is_empty());
            directory.await_confirmation(self.new.channel.clone(), account);
        }
        Ok(())
    }

    /// Returns whether this is the known connection and it is confirmed.
    fn is_confirmed_as(&self, known: &Connection) -> bool {
        let account = &self.new.account;
        known.confirmed
            && known.token == self.new.token
            && (account.0.is_empty() || *account == known.account)
    }

    /// Asks the vendor once. Returns whether no further request is needed.
    async fn confirm(&self, directory: &ServerDirectory) -> bool {
        let channel = self.new.channel.as_str();
        match directory.confirm(&self.new).await {
            Confirmation::Confirmed(account) => self.claim(directory, account).await,
            Confirmation::Refused(error) => {
                tracing::error!(%error, channel, "the vendor rejected the configured token; set a valid one (webhooks get 503 until then)");
                self.pause(directory, error.kind()).await
            }
            Confirmation::Unknown(error) => {
                tracing::warn!(%error, channel, "could not confirm the configured connection with the vendor; trying again");
                false
            }
        }
    }

    async fn claim(&self, directory: &ServerDirectory, account: AccountId) -> bool {
        let channel = &self.new.channel;
        let new = NewConnection {
            account,
            ..self.new.clone()
        };
        let account = new.account.clone();
        let kept = match directory.tenant(demo::BUSINESS).await {
            Ok(_) => {
                let kept = directory.keep_connection(demo::BUSINESS, self.id, new);
                kept.await.map(drop)
            }
            Err(error) => Err(error),
        };
        match kept {
            Ok(()) => tracing::info!(channel = channel.as_str(), account = account.0, "connected"),
            Err(error) if [ErrorKind::Conflict, ErrorKind::NotFound].contains(&error.kind()) => {
                tracing::error!(%error, channel = channel.as_str(), "the configured connection is not used; disconnect its account elsewhere, or restart");
            }
            Err(error) => {
                tracing::error!(%error, channel = channel.as_str(), "could not store the configured connection; trying again");
                return false;
            }
        }
        directory.settled(channel);
        true
    }

    /// Pauses the connection if it was confirmed before; the other task then confirms it again.
    async fn pause(&self, directory: &ServerDirectory, reason: ErrorKind) -> bool {
        let known = directory.connection(demo::BUSINESS, self.id).await;
        if !known.is_ok_and(|known| self.is_confirmed_as(&known))
            || reason != ErrorKind::Unauthorized
        {
            return false;
        }
        let state = ConnectionState::Paused {
            reason,
            since: SystemClock.now(),
        };
        let paused = directory.change_state(demo::BUSINESS, self.id, state, false);
        paused.await.is_ok()
    }
}

/// Asks the vendors of the configured connections once. Returns the connections that are still unconfirmed.
pub(crate) async fn confirm_once(
    directory: &ServerDirectory,
    configured: Vec<ConfiguredConnection>,
) -> Vec<ConfiguredConnection> {
    let asked = configured.into_iter().map(|one| async {
        let done = one.confirm(directory).await;
        (!done).then_some(one)
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Confirms the configured connections, and all connections that are added or paused later. Never ends.
pub(crate) async fn confirm_all(app: Arc<App>, configured: Vec<ConfiguredConnection>) {
    let directory = &app.directory;
    let configured = async {
        let (mut left, mut wait) = (configured, FIRST_WAIT);
        while !left.is_empty() {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_CONFIGURED_WAIT);
            left = confirm_once(directory, left).await;
        }
    };
    let others = async {
        let mut wait = FIRST_WAIT;
        loop {
            let left = match directory.unconfirmed().await {
                Ok(left) => left,
                Err(error) => {
                    tracing::error!(%error, "could not list the unconfirmed connections");
                    Vec::new()
                }
            };
            if left.is_empty() {
                directory.until_unconfirmed().await;
                wait = FIRST_WAIT;
                continue;
            }
            let asked = left
                .into_iter()
                .map(|(tenant, id)| ask(directory, tenant, id));
            stream::iter(asked)
                .buffer_unordered(AT_ONCE)
                .for_each(|()| async {})
                .await;
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(LONGEST_WAIT),
                () = directory.until_unconfirmed() => wait = FIRST_WAIT,
            }
        }
    };
    tokio::join!(configured, others);
}

/// Asks the vendor about one connection and records the result.
async fn ask(directory: &ServerDirectory, tenant: TenantId, id: ConnectionId) {
    if let Err(error) = settle(directory, tenant, id).await {
        tracing::error!(%error, %tenant, connection = %id, "could not record the confirmation of a connection; trying again");
    }
}

async fn settle(directory: &ServerDirectory, tenant: TenantId, id: ConnectionId) -> Result<()> {
    let connection = directory.connection(tenant, id).await?;
    let account = connection.account.clone();
    let since = SystemClock.now();
    let pending = connection.state == ConnectionState::Pending;
    let state = match directory.confirm(&connection.into()).await {
        Confirmation::Confirmed(confirmed) if confirmed == account => ConnectionState::Active,
        // The account does not belong to the tenant, so another request cannot help.
        Confirmation::Confirmed(_) | Confirmation::Refused(_) if pending => {
            ConnectionState::Disconnected { since }
        }
        _ => return Ok(()),
    };
    let confirmed = state.is_active();
    match directory.change_state(tenant, id, state, confirmed).await {
        Err(error) if error.kind() == ErrorKind::Conflict && pending => {
            let state = ConnectionState::Disconnected { since };
            directory.change_state(tenant, id, state, false).await
        }
        changed => changed,
    }
}

impl From<Connection> for NewConnection {
    fn from(connection: Connection) -> Self {
        Self {
            channel: connection.channel,
            account: connection.account,
            name: connection.name,
            token: connection.token,
            api_url: connection.api_url,
        }
    }
}
