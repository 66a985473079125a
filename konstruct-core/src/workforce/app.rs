//! The built-in channel, for apps that call the employee directly and read the replies from the log.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    AccountId, Channel, ChannelKind, ConnectionId, Directory, Error, ErrorKind, Outgoing, Result,
    TenantId,
    channel::{Capabilities, Find, FindQuery, Op, Receipt},
    directory::{ConnectionState, Route, Staff, connection_id},
    message::Attachment,
    outgoing::Rendered,
};

/// The most characters of a message. An app shows a text unchanged.
const MAX_TEXT: usize = 1_000_000;

/// Returns the connection of every tenant's built-in channel.
pub(super) fn connection() -> ConnectionId {
    connection_id(&ChannelKind::APP, &AccountId::default())
}

/// A channel that delivers messages by recording them.
#[derive(Debug)]
struct App(Capabilities);

#[async_trait]
impl Channel for App {
    fn kind(&self) -> ChannelKind {
        ChannelKind::APP
    }

    fn capabilities(&self) -> &Capabilities {
        &self.0
    }

    fn render(&self, outgoing: &Outgoing, max_parts: usize) -> Rendered {
        Rendered::plain(outgoing, self.0.max_text, max_parts)
    }

    async fn perform(&self, op: Op) -> Result<Receipt> {
        match op {
            Op::Send { key, .. } => Ok(Receipt { message: Some(key) }),
            Op::Progress { .. } | Op::MarkRead { .. } => Err(Error::new(
                ErrorKind::Unsupported,
                "the app channel shows only messages",
            )),
        }
    }

    /// A recorded send is in the log, so it has arrived.
    async fn find(&self, query: FindQuery) -> Result<Option<Receipt>> {
        Ok(Some(Receipt {
            message: Some(query.key),
        }))
    }

    async fn fetch_media(&self, _: &Attachment, _: u64) -> Result<Bytes> {
        Err(Error::not_found("attachment"))
    }
}

/// A directory that adds the built-in channel to every tenant.
#[derive(Debug)]
pub(super) struct WithApp {
    inner: Arc<dyn Directory>,
    app: Arc<dyn Channel>,
    connection: ConnectionId,
}

impl WithApp {
    pub(super) fn new(inner: Arc<dyn Directory>) -> Self {
        let mut capabilities = Capabilities::new(Find::Query, MAX_TEXT);
        capabilities.bursts = false;
        Self {
            inner,
            app: Arc::new(App(capabilities)),
            connection: connection(),
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Directory for WithApp {
    async fn route(&self, channel: &ChannelKind, account: &AccountId) -> Result<Option<Route>> {
        self.inner.route(channel, account).await
    }

    async fn staff(&self, tenant: TenantId, version: Option<u32>) -> Result<Staff> {
        self.inner.staff(tenant, version).await
    }

    async fn channel(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
    ) -> Result<Arc<dyn Channel>> {
        if connection == self.connection {
            return Ok(Arc::clone(&self.app));
        }
        self.inner.channel(tenant, connection).await
    }

    async fn connection_state(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
    ) -> Result<ConnectionState> {
        if connection == self.connection {
            return Ok(ConnectionState::Active);
        }
        self.inner.connection_state(tenant, connection).await
    }

    async fn set_connection_state(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
        state: ConnectionState,
    ) -> Result<()> {
        if connection == self.connection {
            return Ok(());
        }
        self.inner
            .set_connection_state(tenant, connection, state)
            .await
    }
}
