//! Confirmation: the vendor's word that a token is the account's that a connection names.

use std::sync::PoisonError;

use konstruct_channels::{Slack, WhatsApp};
use konstruct_core::{AccountId, ChannelKind, Error, ErrorKind, Result};

use super::{NewConnection, ServerDirectory};

/// What the vendor says about a token.
#[derive(Debug)]
pub(crate) enum Confirmation {
    /// The token is this account's.
    Confirmed(AccountId),
    /// The vendor refuses the token, or does not know the account.
    Refused(Error),
    /// The vendor did not say: it can be asked again.
    Unknown(Error),
}

impl ServerDirectory {
    /// Asks the vendor whose token a connection has.
    pub(crate) async fn confirm(&self, new: &NewConnection) -> Confirmation {
        match self.identity(new).await {
            Ok(account) => Confirmation::Confirmed(account),
            Err(error) => match error.kind() {
                ErrorKind::Unauthorized
                | ErrorKind::Forbidden
                | ErrorKind::NotFound
                | ErrorKind::InvalidInput
                | ErrorKind::Unsupported => Confirmation::Refused(error),
                _ => Confirmation::Unknown(error),
            },
        }
    }

    async fn identity(&self, new: &NewConnection) -> Result<AccountId> {
        let endpoints = &self.endpoints;
        if new.channel == ChannelKind::SLACK {
            let url = new.api_url.as_ref().unwrap_or(&endpoints.slack);
            let slack = Slack::builder(new.token.clone()).api_url(url).build()?;
            let identity = slack.identity().await?;
            if identity.team.is_empty() {
                return Err(Error::new(ErrorKind::Protocol, "Slack names no team"));
            }
            Ok(AccountId(identity.team))
        } else {
            let url = new.api_url.as_ref().unwrap_or(&endpoints.graph);
            let graph = WhatsApp::builder(&new.account.0, new.token.clone())
                .api_url(url)
                .api_version(&endpoints.graph_version)
                .build()?;
            graph.identity().await?;
            Ok(new.account.clone())
        }
    }

    /// Has events refused that may be of a configured connection, until [`ServerDirectory::settled`]: of this account, or of every
    /// account that nobody has if the vendor has not named the connection's yet. The provider delivers them again.
    pub(crate) fn await_confirmation(&self, channel: ChannelKind, account: Option<AccountId>) {
        let mut awaited = self.awaited.write().unwrap_or_else(PoisonError::into_inner);
        awaited.insert(channel, account);
    }

    /// Ends what [`ServerDirectory::await_confirmation`] began.
    pub(crate) fn settled(&self, channel: &ChannelKind) {
        let mut awaited = self.awaited.write().unwrap_or_else(PoisonError::into_inner);
        awaited.remove(channel);
    }

    pub(super) fn is_awaited(&self, channel: &ChannelKind, account: &AccountId) -> bool {
        let awaited = self.awaited.read().unwrap_or_else(PoisonError::into_inner);
        awaited
            .get(channel)
            .is_some_and(|awaited| awaited.as_ref().is_none_or(|awaited| awaited == account))
    }

    /// Waits until there may be another connection to confirm.
    pub(crate) async fn until_unconfirmed(&self) {
        self.unconfirmed.notified().await;
    }
}
