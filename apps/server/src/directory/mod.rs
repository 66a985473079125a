//! The directory: tenants, their employees with all versions, their connections, their websites, the questions passed on to
//! them, and the people who sign in.

mod access;
mod account;
mod audit;
mod cache;
mod channels;
mod confirm;
mod device;
mod disconnection;
mod email;
mod employee;
mod invitation;
mod job;
mod lease;
mod login;
mod member;
mod model;
mod once;
mod one_time;
mod opaque;
mod outbox;
mod question;
mod replaces;
mod retention;
mod session;
mod tenant;
mod token;
mod website;

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

use async_trait::async_trait;
use konstruct_core::{
    AccountId, Channel, ChannelKind, ConnectionId, Directory, Error, ErrorKind, Result, TenantId,
    directory::{ConnectionState, Route, Staff},
    limit::PlanRates,
    store::Store,
    tool::Toolbox,
};
use konstruct_memory::RowStore;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::Notify;

pub(crate) use self::{
    account::checked,
    audit::{AuditLog, Audited},
    confirm::Confirmation,
    device::{DeviceCode, LIFETIME as DEVICE_CODE_LIFETIME, Polled},
    disconnection::{Disconnection, Progress, may_succeed_later},
    email::Email,
    invitation::{Invitation, Joining},
    job::{Job, Queue, Work},
    lease::Lease,
    login::{Login, checked_name},
    member::Member,
    once::{Answer, Kept},
    one_time::OneTime,
    outbox::{NextMail, Taken},
    replaces::Replaces,
    retention::Waiting,
    session::{LIFETIME as SESSION_LIFETIME, Principal, Session, SessionKind},
    tenant::tenants,
    token::ApiToken,
    website::{Crawl, CrawlState, Website, WebsitePage},
};
pub use self::{
    account::{Connection, NewConnection},
    channels::Endpoints,
    question::PassedOn,
    tenant::{Cancellation, Retention, Tenant},
};
use self::{cache::RowCache, model::StaffModels};
use crate::{model::Models, store::Stores};

/// The directory of the hosted service, in rows of the store. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct ServerDirectory {
    rows: Arc<dyn RowStore>,
    journal: Arc<dyn Store>,
    endpoints: Arc<Endpoints>,
    models: Arc<Models>,
    tools: Arc<Toolbox>,
    /// The rates of every tenant.
    plan: PlanRates,
    /// The channels of connections used so far.
    channels: Arc<RowCache<(TenantId, ConnectionId), Arc<dyn Channel>>>,
    /// The models of tenants with their own.
    pools: Arc<RowCache<TenantId, StaffModels>>,
    /// The configured connections that are not confirmed yet, with the account if it is known.
    awaited: Arc<RwLock<HashMap<ChannelKind, Option<AccountId>>>>,
    /// Notified when a connection must be confirmed in the background.
    unconfirmed: Arc<Notify>,
}

impl ServerDirectory {
    /// Creates a directory on a store; employees use these models.
    ///
    /// # Errors
    /// Those of the toolbox.
    pub fn new(stores: &Stores, endpoints: Endpoints, models: Models) -> Result<Self> {
        let tools = Toolbox::builder()
            .tool(question::PassOn::new(Arc::clone(&stores.rows)))
            .build()?;
        Ok(Self {
            rows: Arc::clone(&stores.rows),
            journal: Arc::clone(&stores.journal),
            endpoints: Arc::new(endpoints),
            models: Arc::new(models),
            tools: Arc::new(tools),
            plan: PlanRates::default(),
            channels: Arc::default(),
            pools: Arc::default(),
            awaited: Arc::default(),
            unconfirmed: Arc::default(),
        })
    }

    /// Sets the rates of every tenant's plan.
    #[must_use]
    pub fn with_plan(mut self, plan: PlanRates) -> Self {
        self.plan = plan;
        self
    }

    /// Returns the tools that an employee can be granted.
    pub fn tools(&self) -> &Arc<Toolbox> {
        &self.tools
    }

    /// Returns the models that employees use.
    pub fn models(&self) -> &Models {
        &self.models
    }

    /// Returns the audit logs.
    pub(crate) fn audit_log(&self) -> AuditLog<'_> {
        AuditLog::new(&*self.rows)
    }

    async fn read<T: DeserializeOwned>(
        &self,
        tenant: Option<TenantId>,
        table: &str,
        key: &str,
    ) -> Result<Option<T>> {
        self.rows
            .get_row(tenant, table, key)
            .await?
            .map(|bytes| decode(&bytes))
            .transpose()
    }

    async fn list<T: DeserializeOwned>(
        &self,
        tenant: Option<TenantId>,
        table: &str,
    ) -> Result<Vec<T>> {
        let rows = self.rows.rows(tenant, table, None, usize::MAX).await?;
        rows.iter().map(|(_, bytes)| decode(bytes)).collect()
    }
}

/// How many rows with a prefix are read at a time.
const READ: usize = 64;

/// Lists the rows of a table whose keys have a prefix.
pub(crate) async fn rows_of(
    rows: &dyn RowStore,
    tenant: Option<TenantId>,
    table: &str,
    prefix: &str,
) -> Result<Vec<(String, Vec<u8>)>> {
    let (mut found, mut after) = (Vec::new(), prefix.to_owned());
    loop {
        let page = rows.rows(tenant, table, Some(&after), READ).await?;
        let is_last = page.len() < READ;
        for (key, value) in page {
            // Other keys follow.
            if !key.starts_with(prefix) {
                return Ok(found);
            }
            after.clone_from(&key);
            found.push((key, value));
        }
        if is_last {
            return Ok(found);
        }
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| Error::internal("could not serialize a row").with_source(error))
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::new(ErrorKind::Corrupt, "could not parse a row").with_source(error))
}

#[async_trait]
impl Directory for ServerDirectory {
    async fn route(&self, channel: &ChannelKind, account: &AccountId) -> Result<Option<Route>> {
        self.find_route(channel, account).await
    }

    async fn staff(&self, tenant: TenantId, version: Option<u32>) -> Result<Staff> {
        let (version, employee) = self
            .employee(tenant, version)
            .await?
            .ok_or_else(|| Error::not_found("employee"))?;
        let StaffModels { model, transcriber } = self.models_of(tenant).await?;
        Ok(Staff {
            employee: Arc::new(employee),
            version,
            model,
            transcriber,
            tools: Arc::clone(&self.tools),
            plan: self.plan,
        })
    }

    async fn channel(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
    ) -> Result<Arc<dyn Channel>> {
        self.open_channel(tenant, connection).await
    }

    async fn connection_state(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
    ) -> Result<ConnectionState> {
        Ok(self.connection(tenant, connection).await?.state)
    }

    async fn set_connection_state(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
        state: ConnectionState,
    ) -> Result<()> {
        // An event that was accepted before its tenant was cancelled must not connect it again.
        if state.is_active() && self.is_cancelled(tenant).await? {
            return Ok(());
        }
        self.change_state(tenant, connection, state, false).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use konstruct_core::Secret;

    use super::*;
    use crate::{App, Config, model::OwnModel};

    fn own(key: &str) -> OwnModel {
        let own = serde_json::json!({
            "name": "own", "provider": "openai", "model": "gpt", "api_key": key, "base_url": null, "purpose": null, "version": 0,
        });
        serde_json::from_value(own).unwrap()
    }

    /// Opens the app on a store of its own.
    async fn open(data: &tempfile::TempDir) -> Arc<App> {
        let path = data.path().display().to_string();
        let variable = |name: &str| match name {
            "KONSTRUCT_DATA_DIR" => Some(path.clone()),
            "KONSTRUCT_MODEL" => Some("extract".to_owned()),
            _ => None,
        };
        let config = Config::load(None, variable).unwrap();
        let address = "127.0.0.1:9".parse().unwrap();
        App::open(config, address, Instant::now()).await.unwrap()
    }

    /// As when processes of one database start together.
    #[tokio::test]
    async fn a_connection_is_kept_by_many_at_once() {
        let data = tempfile::tempdir().unwrap();
        let app = open(&data).await;
        let (tenant, id) = (TenantId::new(), ConnectionId::new());
        let new = |token: String| NewConnection {
            channel: ChannelKind::SLACK,
            account: AccountId("T1".into()),
            name: String::new(),
            token: Secret::new(token),
            api_url: None,
        };
        let keep = |n| {
            let new = new(format!("xoxb-{n}"));
            app.directory.keep_connection(tenant, id, new)
        };
        for kept in futures_util::future::join_all((0..20).map(keep)).await {
            kept.unwrap();
        }
        let kept = app.directory.connections(tenant).await.unwrap();
        assert_eq!(kept.len(), 1);
        // No other connection can have the account.
        let other = app
            .directory
            .keep_connection(TenantId::new(), ConnectionId::new(), new("xoxb".into()))
            .await;
        assert_eq!(other.unwrap_err().kind(), ErrorKind::Conflict);
    }

    #[tokio::test]
    async fn a_removed_tenants_keys_and_tokens_are_dropped_from_memory() {
        let data = tempfile::tempdir().unwrap();
        let app = open(&data).await;
        let directory = &app.directory;
        let (tenant, id) = (TenantId::new(), ConnectionId::new());
        directory.add_tenant(tenant, "Shop").await.unwrap();
        let new = NewConnection {
            channel: ChannelKind::SLACK,
            account: AccountId("T1".into()),
            name: String::new(),
            token: Secret::new("xoxb-1"),
            api_url: None,
        };
        directory.connect(tenant, id, new.clone()).await.unwrap();
        let model_of = async |tenant| directory.models_of(tenant).await.unwrap().model;
        let shared = model_of(tenant).await;
        assert_eq!(shared.describe().provider, "extract");
        let keep = async |key: &str| {
            let own = own(key);
            directory.keep_model(tenant, own, Replaces::Anything).await
        };
        keep("sk-1").await.unwrap();
        let one = model_of(tenant).await;
        assert_eq!(one.describe().provider, "openai");
        assert!(Arc::ptr_eq(&one, &model_of(tenant).await));
        keep("sk-2").await.unwrap();
        assert!(!Arc::ptr_eq(&one, &model_of(tenant).await));

        let channel = directory.channel(tenant, id).await.unwrap();
        let same = directory.channel(tenant, id).await.unwrap();
        assert!(Arc::ptr_eq(&channel, &same));
        let rotated = NewConnection {
            token: Secret::new("xoxb-2"),
            ..new
        };
        directory
            .keep_connection(tenant, id, rotated)
            .await
            .unwrap();
        let other = directory.channel(tenant, id).await.unwrap();
        assert!(!Arc::ptr_eq(&channel, &other));

        assert_eq!((directory.pools.len(), directory.channels.len()), (1, 1));
        directory.remove_tenant(tenant).await.unwrap();
        assert_eq!((directory.pools.len(), directory.channels.len()), (0, 0));
        let model = model_of(tenant).await;
        assert_eq!(model.describe().provider, "extract");
    }
}
