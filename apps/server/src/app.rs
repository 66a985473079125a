//! The app: the state shared by the routes and the workers, built from the configuration.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use konstruct_channels::{Gateway, SlackWebhook, WhatsAppWebhook};
use konstruct_core::{
    ChannelKind, Clock, MemoryStore, Result, Secret, SystemClock,
    learn::{LearnLoop, Learner},
    limit::{LocalLimiter, RateLimiter},
    store::Store,
    turn::Driver,
};
use konstruct_memory::Documents;
use tokio::sync::Notify;

use crate::{
    config::Config,
    connect::ConfiguredConnection,
    crawls::Crawls,
    demo,
    directory::{Endpoints, Lease, Principal, ServerDirectory},
    embedder::{self, ChosenEmbedder},
    erasures::ErasureLog,
    http::{Counts, Streams},
    limit::RedisLimiter,
    links::Links,
    mail::Mailer,
    model::Models,
    password::Passwords,
    restored, secrets,
    simulator::{Sessions, Simulator},
    store::{StoreHealth, Stores},
    tasks::Health,
    tenant_jobs::TenantJobs,
};

/// The lease of a conversation, which a turn renews while it runs. After a crash on PostgreSQL, another process continues once it
/// has ended; on the embedded store the restart does at once.
const LEASE: Duration = Duration::from_secs(20);

/// The state shared by the routes and the workers.
#[derive(Debug)]
#[non_exhaustive]
pub struct App {
    /// The configuration.
    pub config: Config,
    /// Turns, as the engine stores them.
    pub journal: Arc<dyn Store>,
    /// Memory: recall and knowledge.
    pub memory: Arc<dyn MemoryStore>,
    /// How the store is.
    pub store: Arc<dyn StoreHealth>,
    /// What was erased.
    pub(crate) erasures: ErasureLog,
    /// Tenants, employees and connections.
    pub directory: ServerDirectory,
    /// Accepts webhooks.
    pub gateway: Arc<Gateway>,
    /// Runs turns.
    pub driver: Driver,
    /// Limits rates, also those of the admin API.
    pub(crate) limiter: Arc<dyn RateLimiter>,
    /// Makes links to this server.
    pub(crate) links: Links,
    /// Sends mail, if a mail server is configured.
    pub(crate) mail: Option<Mailer>,
    /// Notified when a mail was added.
    pub(crate) mails_changed: Notify,
    /// Hashes passwords.
    pub(crate) passwords: Passwords,
    /// Crawls websites.
    pub(crate) crawls: Arc<Crawls>,
    /// Performs the jobs of tenants.
    pub(crate) tenant_jobs: TenantJobs,
    /// The learner's background work, until the workers start; `None` if the model only quotes.
    pub(crate) learning: Mutex<Option<LearnLoop>>,
    /// The configured connections, until they are confirmed.
    pub(crate) configured: Mutex<Vec<ConfiguredConnection>>,
    /// The operator's bearer token.
    pub operator_token: Secret,
    /// Whether the token was generated at this start and must be printed.
    pub token_is_new: bool,
    /// The demo's simulator, unless the demo is off.
    pub simulator: Option<Simulator>,
    /// The open event streams of the admin API.
    pub(crate) streams: Streams,
    /// What the listeners have counted.
    pub(crate) counts: Arc<Counts>,
    /// The state of the background tasks.
    pub(crate) health: Health,
    /// When the process started.
    pub started: Instant,
}

impl App {
    /// Opens the store and builds the app. `listening` is the address at which the server's own simulator reaches it.
    ///
    /// # Errors
    /// Those of the configuration and the store.
    pub async fn open(
        config: Config,
        listening: SocketAddr,
        started: Instant,
    ) -> Result<Arc<Self>> {
        let models = Models::open(&config).await?;
        let ChosenEmbedder { embedder, paid } = embedder::choose(&config, models.prices()).await?;
        // A model that only quotes cannot learn.
        let learns = models.shared().describe().provider != "extract";
        let stores = Stores::open(&config, embedder).await?;
        let Stores {
            rows,
            journal,
            memory,
            health: store,
            shared: _,
        } = stores.clone();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mail = Mailer::open(&config)?;
        let links = Links::new(&config, listening);
        let endpoints = Endpoints {
            slack: config.slack.api_url.clone(),
            graph: config.whatsapp.graph_api_url.clone(),
            graph_version: config.whatsapp.graph_api_version.clone(),
        };
        let directory =
            ServerDirectory::new(&stores, endpoints, models)?.with_plan(config.limits.plan());
        let (erasures, missed) = ErasureLog::open(&rows, &config.data_dir).await?;
        erasures
            .repeat(missed, &directory, &*journal, &*memory)
            .await?;
        let limiter: Arc<dyn RateLimiter> = if config.redis.url.expose().is_empty() {
            Arc::new(LocalLimiter::new(Arc::clone(&clock)))
        } else {
            Arc::new(RedisLimiter::open(&config.redis.url, Arc::clone(&clock)).await?)
        };
        let shared: Arc<dyn konstruct_core::Directory> = Arc::new(directory.clone());
        if let Some(paid) = paid {
            paid.pay_from(&journal, &shared);
        }
        let (operator_token, token_is_new) =
            secrets::ensure(&*rows, "operator_token", &config.operator_token).await?;
        restored::settle(&directory, &config.data_dir).await?;
        if config.role.serves() {
            directory.note_operator_token(&operator_token).await?;
        }
        let (signing_secret, _) =
            secrets::ensure(&*rows, "slack_signing", &config.slack.signing_secret).await?;
        let (app_secret, _) =
            secrets::ensure(&*rows, "whatsapp_app", &config.whatsapp.app_secret).await?;
        let (verify_token, _) =
            secrets::ensure(&*rows, "whatsapp_verify", &config.whatsapp.verify_token).await?;
        let mut configured = ConfiguredConnection::read(&config)?;
        if !configured.is_empty() && directory.is_cancelled(demo::BUSINESS).await? {
            tracing::error!(
                "the configured connections are not used, because their tenant is cancelled; withdraw the cancellation and restart"
            );
            configured.clear();
        }
        if !configured.is_empty() {
            demo::create(&directory, &*memory, demo::BUSINESS, "Acme Bikes").await?;
        }
        for connection in &configured {
            connection.prepare(&directory).await?;
        }
        let simulator = if config.without_demo().is_none() {
            demo::create(&directory, &*memory, demo::TENANT, "Acme Bikes (demo)").await?;
            let (key, _) = secrets::ensure(&*rows, "demo_session", &Secret::new("")).await?;
            let secure = links.are_secure();
            let secrets = (signing_secret.clone(), app_secret.clone());
            let sessions = Sessions::new(key, secure);
            Some(Simulator::open(&directory, listening, secrets, sessions).await?)
        } else {
            if config.role.serves() {
                demo::close(&directory).await?;
            }
            None
        };
        let gateway = Gateway::new(
            Arc::clone(&shared),
            Arc::clone(&journal),
            Arc::clone(&clock),
        )
        .with(ChannelKind::SLACK, SlackWebhook::new(signing_secret)?)
        .with(
            ChannelKind::WHATSAPP,
            WhatsAppWebhook::new(app_secret, verify_token)?,
        );
        let mut driver = Driver::new(
            Arc::clone(&journal),
            Arc::clone(&shared),
            Some(Arc::clone(&memory)),
            Arc::clone(&clock),
        )
        .with_lease(LEASE)
        .with_document_reader(Arc::new(Documents::new()))
        .with_limiter(Arc::clone(&limiter));
        let mut learning = None;
        if learns {
            let learner = Learner::new(Arc::clone(&journal), Arc::clone(&memory), shared);
            let (learn_queue, learn_loop) = learner.into_queue_and_loop();
            driver = driver.with_learn_queue(learn_queue);
            learning = Some(learn_loop);
        }
        let crawls = Crawls::new(&config.websites, Lease::new(&stores, "crawls"));
        Ok(Arc::new(Self {
            config,
            links,
            mail,
            mails_changed: Notify::new(),
            passwords: Passwords::default(),
            crawls,
            tenant_jobs: TenantJobs::new(Lease::new(&stores, "tenant_jobs")),
            store,
            erasures,
            journal,
            memory,
            directory,
            gateway: Arc::new(gateway),
            driver,
            limiter,
            learning: Mutex::new(learning),
            configured: Mutex::new(configured),
            operator_token,
            token_is_new,
            simulator,
            streams: Streams::default(),
            counts: Arc::default(),
            health: Health::default(),
            started,
        }))
    }
}

impl App {
    /// Returns a link that signs the operator in once, within 15 minutes.
    ///
    /// # Errors
    /// Those of the store, and of the system's random number generator.
    pub async fn operator_link(&self) -> Result<Secret> {
        let principal = Principal::Operator;
        let (code, _) = self.directory.issue_code(principal).await?;
        Ok(Secret::new(self.links.one_time(principal, &code)))
    }

    /// Takes the learner's background work; returns it once.
    pub(crate) fn take_learning(&self) -> Option<LearnLoop> {
        self.learning
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Takes the configured connections; returns them once.
    pub(crate) fn take_configured(&self) -> Vec<ConfiguredConnection> {
        let mut configured = self
            .configured
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut configured)
    }
}
