//! Opens the channel of a connection.

use std::sync::Arc;

use konstruct_channels::{Slack, WhatsApp};
use konstruct_core::{Channel, ChannelKind, ConnectionId, Error, Result, TenantId};
use sha2::{Digest as _, Sha256};

use super::ServerDirectory;

/// The URLs of the providers' APIs, unless a connection overrides them.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// The Slack Web API.
    pub slack: String,
    /// The Graph API.
    pub graph: String,
    /// The version of the Graph API.
    pub graph_version: String,
}

impl ServerDirectory {
    pub(super) async fn open_channel(
        &self,
        tenant: TenantId,
        id: ConnectionId,
    ) -> Result<Arc<dyn Channel>> {
        let ticket = self.channels.ticket();
        let stored = self.stored(tenant, id).await?;
        let (row, connection) = stored.ok_or_else(|| Error::not_found("connection"))?;
        let version = Sha256::digest(&row).to_vec();
        if let Some(channel) = self.channels.get(&(tenant, id), &version) {
            return Ok(channel);
        }
        let channel: Arc<dyn Channel> = if connection.channel == ChannelKind::SLACK {
            let url = connection.api_url.as_ref().unwrap_or(&self.endpoints.slack);
            Arc::new(
                Slack::builder(connection.token.clone())
                    .api_url(url)
                    .build()?,
            )
        } else if connection.channel == ChannelKind::WHATSAPP {
            let url = connection.api_url.as_ref().unwrap_or(&self.endpoints.graph);
            Arc::new(
                WhatsApp::builder(&connection.account.0, connection.token.clone())
                    .api_url(url)
                    .api_version(&self.endpoints.graph_version)
                    .build()?,
            )
        } else {
            return Err(Error::not_found("channel"));
        };
        let built = Arc::clone(&channel);
        self.channels.put(ticket, (tenant, id), version, built);
        Ok(channel)
    }

    pub(super) fn forget_channel(&self, tenant: TenantId, id: ConnectionId) {
        self.channels.forget(&(tenant, id));
    }
}
