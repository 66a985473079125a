//! Learns which workspace the configured Slack token belongs to, once the server listens.

use std::{sync::Arc, time::Duration};

use konstruct_channels::Slack;
use konstruct_core::{AccountId, ChannelKind, ErrorKind};

use crate::{App, app::keep, demo, directory::NewConnection};

/// Asks Slack until it answers. Until then, and where it says that it does not know the method, events of every workspace
/// that no other connection has are taken as the demo tenant's.
pub(crate) async fn learn_workspace(app: Arc<App>) {
    let token = app.config.slack.bot_token.clone();
    if token.is_empty() {
        return;
    }
    let slack = match Slack::builder(token.clone())
        .api_url(&app.config.slack.api_url)
        .build()
    {
        Ok(slack) => slack,
        Err(error) => return tracing::error!(%error, "SLACK_BOT_TOKEN cannot be used"),
    };
    let mut wait = Duration::from_secs(1);
    loop {
        match slack.identity().await {
            Ok(identity) => {
                let account = AccountId(identity.team.clone());
                let new = NewConnection {
                    channel: ChannelKind::SLACK,
                    account,
                    name: "Slack".into(),
                    token,
                    api_url: None,
                };
                match keep(&app.directory, demo::SLACK, new).await {
                    Ok(()) => tracing::info!(team = identity.team, "connected to Slack"),
                    Err(error) => {
                        tracing::error!(%error, "the Slack workspace cannot be connected")
                    }
                }
                return;
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Unavailable | ErrorKind::Ambiguous | ErrorKind::RateLimited
                ) =>
            {
                tracing::warn!(%error, "Slack does not say which workspace the token is for; asking again");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(60));
            }
            Err(error) => {
                return tracing::error!(%error, "Slack refuses SLACK_BOT_TOKEN; run with a valid one to be sure of the workspace");
            }
        }
    }
}
