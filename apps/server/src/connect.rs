//! Confirms connections in the background: those of the configuration, and those that wait for the vendor's word.

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

/// The first and the longest wait between two questions to a vendor. Webhooks wait for the configured connections.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
const LONGEST_CONFIGURED: Duration = Duration::from_secs(15);
/// How many connections are asked about at the same time.
const AT_ONCE: usize = 8;

/// A connection that the configuration names, for one business.
#[derive(Clone, Debug)]
pub(crate) struct Configured {
    id: ConnectionId,
    /// Of Slack, the account is unknown until the vendor names it.
    new: NewConnection,
}

impl Configured {
    /// Reads the connections of a configuration.
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

    /// Has the connection's events refused until the vendor confirms it, unless it did so at an earlier start.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn prepare(&self, directory: &ServerDirectory) -> Result<()> {
        let known = match directory.connection(demo::BUSINESS, self.id).await {
            Ok(known) => Some(known),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if !known.is_some_and(|known| self.is(&known)) {
            let account = Some(self.new.account.clone());
            let account = account.filter(|account| !account.0.is_empty());
            directory.await_confirmation(self.new.channel.clone(), account);
        }
        Ok(())
    }

    /// Whether this is the known connection, and confirmed.
    fn is(&self, known: &Connection) -> bool {
        let account = &self.new.account;
        known.confirmed
            && known.token == self.new.token
            && (account.0.is_empty() || *account == known.account)
    }

    /// Asks the vendor once. Returns whether there is no need to ask again.
    async fn confirm(&self, directory: &ServerDirectory) -> bool {
        let channel = self.new.channel.as_str();
        match directory.confirm(&self.new).await {
            Confirmation::Confirmed(account) => self.claim(directory, account).await,
            Confirmation::Refused(error) => {
                tracing::error!(%error, channel, "the vendor refuses the configured token; its webhooks are answered with 503");
                self.pause(directory, error.kind()).await
            }
            Confirmation::Unknown(error) => {
                tracing::warn!(%error, channel, "the vendor has not confirmed the configured connection; asking again");
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
                tracing::error!(%error, channel = channel.as_str(), "the configured connection is not used");
            }
            Err(error) => {
                tracing::error!(%error, channel = channel.as_str(), "the configured connection cannot be stored; trying again");
                return false;
            }
        }
        directory.settled(channel);
        true
    }

    /// Pauses the connection if it was confirmed before, which the other task goes on with.
    async fn pause(&self, directory: &ServerDirectory, reason: ErrorKind) -> bool {
        let known = directory.connection(demo::BUSINESS, self.id).await;
        if !known.is_ok_and(|known| self.is(&known)) || reason != ErrorKind::Unauthorized {
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

/// Asks the vendors of the configured connections once. Returns those that are to be asked about again.
pub(crate) async fn confirm_once(
    directory: &ServerDirectory,
    configured: Vec<Configured>,
) -> Vec<Configured> {
    let asked = configured.into_iter().map(|one| async {
        let done = one.confirm(directory).await;
        (!done).then_some(one)
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Asks the vendors until every connection is confirmed, and goes on with those that are added or paused. Never ends.
pub(crate) async fn confirm_all(app: Arc<App>, configured: Vec<Configured>) {
    let directory = &app.directory;
    let configured = async {
        let (mut left, mut wait) = (configured, FIRST);
        while !left.is_empty() {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_CONFIGURED);
            left = confirm_once(directory, left).await;
        }
    };
    let others = async {
        let mut wait = FIRST;
        loop {
            let left = match directory.unconfirmed().await {
                Ok(left) => left,
                Err(error) => {
                    tracing::error!(%error, "the unconfirmed connections cannot be listed");
                    Vec::new()
                }
            };
            if left.is_empty() {
                directory.until_unconfirmed().await;
                wait = FIRST;
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
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(LONGEST),
                () = directory.until_unconfirmed() => wait = FIRST,
            }
        }
    };
    tokio::join!(configured, others);
}

/// Asks the vendor about one connection, and records what it says.
async fn ask(directory: &ServerDirectory, tenant: TenantId, id: ConnectionId) {
    if let Err(error) = settle(directory, tenant, id).await {
        tracing::error!(%error, %tenant, connection = %id, "a connection cannot be confirmed");
    }
}

async fn settle(directory: &ServerDirectory, tenant: TenantId, id: ConnectionId) -> Result<()> {
    let connection = directory.connection(tenant, id).await?;
    let account = connection.account.clone();
    let since = SystemClock.now();
    let pending = connection.state == ConnectionState::Pending;
    let state = match directory.confirm(&connection.into()).await {
        Confirmation::Confirmed(confirmed) if confirmed == account => ConnectionState::Active,
        // The account is not the tenant's: asking again cannot help.
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
