//! From a connection to the channel that speaks for it.

use std::sync::{Arc, PoisonError};

use konstruct_channels::{Slack, WhatsApp};
use konstruct_core::{Channel, ChannelKind, ConnectionId, Error, Result, TenantId};

use super::ServerDirectory;

/// Where the providers' APIs are, unless a connection says otherwise.
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
        let known = self
            .channels
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&(tenant, id))
            .cloned();
        if let Some(channel) = known {
            return Ok(channel);
        }
        let connection = self.connection(tenant, id).await?;
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
        let mut channels = self
            .channels
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(channels.entry((tenant, id)).or_insert(channel)))
    }

    pub(super) fn forget_channel(&self, tenant: TenantId, id: ConnectionId) {
        self.channels
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&(tenant, id));
    }
}
