//! A program that embeds Konstruct on PostgreSQL, built from the published parts: the gateway's routes, a worker, a learner, and
//! a directory of many tenants with a WhatsApp number each. It is configured by the same variables as the server.

use std::{collections::HashMap, env, num::NonZeroUsize, sync::Arc};

use async_trait::async_trait;
use konstruct_channels::{Gateway, WhatsApp, WhatsAppWebhook, routes};
use konstruct_core::{
    AccountId, Channel, ChannelKind, Clock, ConnectionId, Directory, Employee, Error, LlmBackend,
    MemoryStore, Result, Secret, SystemClock, TenantId,
    directory::{ConnectionState, ConnectionStates, Route, Staff},
    learn::Learner,
    store::Store,
    tool::Toolbox,
    turn::{Driver, Worker},
};
use konstruct_llm::{Deployment, OpenAi, Pool};
use konstruct_memory::{KeyRing, Postgres, StaticEmbedder};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::Failed;

/// Returns the phone number id of a tenant.
pub fn number(nth: usize) -> String {
    format!("10654035{nth:07}")
}

/// Serves this many tenants until SIGTERM, with this many connections to the database.
///
/// # Errors
/// A variable is missing or invalid; errors of the database.
pub async fn serve(tenants: usize, connections: u32) -> std::result::Result<(), Failed> {
    let mut terminated = signal(SignalKind::terminate())?;
    let store = Postgres::builder(Secret::new(variable("DATABASE_URL")?))
        .key_ring(KeyRing::parse(&variable("KONSTRUCT_MASTER_KEY")?)?)
        .embedder(Arc::new(StaticEmbedder::new()))
        .connections(connections)
        .connect()
        .await?;
    let (store, memory): (Arc<dyn Store>, Arc<dyn MemoryStore>) =
        (Arc::new(store.clone()), Arc::new(store));
    let directory: Arc<dyn Directory> = Arc::new(Shops::open(tenants)?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);

    let secret = |name| variable(name).map(Secret::new);
    let webhook = WhatsAppWebhook::new(
        secret("WHATSAPP_APP_SECRET")?,
        secret("WHATSAPP_VERIFY_TOKEN")?,
    )?;
    let gateway = Gateway::new(
        Arc::clone(&directory),
        Arc::clone(&store),
        Arc::clone(&clock),
    )
    .with(ChannelKind::WHATSAPP, webhook);
    let listener = TcpListener::bind(variable("KONSTRUCT_LISTEN")?).await?;
    tokio::spawn(async { axum::serve(listener, routes(Arc::new(gateway))).await });

    let learner = Learner::new(
        Arc::clone(&store),
        Arc::clone(&memory),
        Arc::clone(&directory),
    );
    let (lessons, learning) = learner.lessons();
    let driver = Driver::new(store, directory, Some(memory), clock).with_lessons(lessons);
    let concurrency: NonZeroUsize = variable("KONSTRUCT_CONCURRENCY")?.parse()?;
    let worker = Worker::new(driver).with_concurrency(concurrency);

    let (stop, stopped) = watch::channel(());
    let ended = |mut stopped: watch::Receiver<()>| async move {
        // An error means that the sender was dropped, which also ends the program.
        let _ = stopped.changed().await;
    };
    let learning = tokio::spawn(learning.run(ended(stopped.clone())));
    let working = tokio::spawn(worker.run(ended(stopped)));
    terminated.recv().await;
    drop(stop);
    working.await?;
    learning.await?;
    Ok(())
}

fn variable(name: &str) -> std::result::Result<String, Failed> {
    env::var(name).map_err(|_| format!("{name} is not set").into())
}

/// A fixed set of tenants, each with an employee and a WhatsApp number.
#[derive(Debug)]
struct Shops {
    staff: Staff,
    routes: HashMap<AccountId, Route>,
    channels: HashMap<(TenantId, ConnectionId), Arc<dyn Channel>>,
    states: ConnectionStates,
}

impl Shops {
    fn open(tenants: usize) -> std::result::Result<Self, Failed> {
        let model = OpenAi::new(Secret::new(variable("OPENAI_API_KEY")?), "fake")
            .base_url(variable("OPENAI_BASE_URL")?);
        let pool = Pool::builder().deployment(Deployment::new("openai/fake", model));
        let employee = Employee::builder("Ava").role("front desk of a bicycle shop");
        let mut shops = Self {
            staff: Staff {
                employee: Arc::new(employee.persona("warm and brief").build()?),
                version: 1,
                model: Arc::new(pool.build()?) as Arc<dyn LlmBackend>,
                tools: Arc::new(Toolbox::builder().build()?),
            },
            routes: HashMap::new(),
            channels: HashMap::new(),
            states: ConnectionStates::default(),
        };
        let graph = variable("GRAPH_API_URL")?;
        for nth in 0..tenants {
            let id = (nth as u128 + 1).to_be_bytes();
            let (tenant, connection) = (TenantId::from_bytes(id), ConnectionId::from_bytes(id));
            let channel = WhatsApp::builder(number(nth), Secret::new("EAAG-fake")).api_url(&graph);
            let route = Route { tenant, connection };
            shops.routes.insert(AccountId(number(nth)), route);
            shops
                .channels
                .insert((tenant, connection), Arc::new(channel.build()?));
        }
        Ok(shops)
    }
}

#[async_trait]
impl Directory for Shops {
    async fn route(&self, channel: &ChannelKind, account: &AccountId) -> Result<Option<Route>> {
        let route = self.routes.get(account).copied();
        Ok(route.filter(|_| *channel == ChannelKind::WHATSAPP))
    }

    async fn staff(&self, _: TenantId, _: Option<u32>) -> Result<Staff> {
        Ok(self.staff.clone())
    }

    async fn channel(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
    ) -> Result<Arc<dyn Channel>> {
        let found = self.channels.get(&(tenant, connection)).cloned();
        found.ok_or_else(|| Error::not_found("connection"))
    }

    async fn connection_state(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
    ) -> Result<ConnectionState> {
        Ok(self.states.get(tenant, connection))
    }

    async fn set_connection_state(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
        state: ConnectionState,
    ) -> Result<()> {
        self.states.set(tenant, connection, state);
        Ok(())
    }
}
