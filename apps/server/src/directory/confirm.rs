//! Confirmation: asks the vendor whether a connection's token belongs to its account.

use std::sync::PoisonError;

use konstruct_channels::{Slack, WhatsApp};
use konstruct_core::{AccountId, ChannelKind, Error, ErrorKind, Result};

use super::{NewConnection, ServerDirectory};

/// The vendor's response about a token.
#[derive(Debug)]
pub(crate) enum Confirmation {
    /// The token belongs to this account.
    Confirmed(AccountId),
    /// The vendor rejected the token, or does not know the account.
    Refused(Error),
    /// The vendor gave no answer; the request can be repeated.
    Unknown(Error),
}

impl ServerDirectory {
    /// Asks the vendor which account a connection's token belongs to.
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
                return Err(Error::new(ErrorKind::Protocol, "slack returned no team id"));
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

    /// Makes the gateway reject events of a configured connection until [`ServerDirectory::settled`], so that the provider
    /// delivers them again. It rejects events of this account or, if the account is not known yet, of every unknown account.
    pub(crate) fn await_confirmation(&self, channel: ChannelKind, account: Option<AccountId>) {
        let mut awaited = self.awaited.write().unwrap_or_else(PoisonError::into_inner);
        awaited.insert(channel, account);
    }

    /// Ends the wait that [`ServerDirectory::await_confirmation`] started.
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
