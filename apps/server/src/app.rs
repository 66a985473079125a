//! The app: everything that the routes and the workers share, put together from the configuration.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use konstruct_channels::{Gateway, SlackWebhook, WhatsAppWebhook};
use konstruct_core::{
    AccountId, ChannelKind, Clock, Error, ErrorKind, MemoryStore, Result, Secret, SystemClock,
    learn::{Learner, Learning},
    turn::{Driver, Journal},
};
use konstruct_memory::Redb;

use crate::{
    config::Config,
    demo,
    directory::{ANY, Endpoints, NewConnection, ServerDirectory},
    embedder::{self, Chosen},
    expanding::ExpandingMemory,
    model::Models,
    secrets,
    simulator::Simulator,
    store::open_store,
};

/// What the routes and the workers share.
#[derive(Debug)]
#[non_exhaustive]
pub struct App {
    /// The configuration.
    pub config: Config,
    /// The embedded store.
    pub store: Redb,
    /// The journal.
    pub journal: Arc<dyn Journal>,
    /// Recall and knowledge.
    pub memory: Arc<dyn MemoryStore>,
    /// Who is who.
    pub directory: ServerDirectory,
    /// Where webhooks come in.
    pub gateway: Arc<Gateway>,
    /// What performs turns.
    pub driver: Driver,
    /// What learns from conversations, until the workers start; `None` where the model only quotes.
    pub(crate) learning: Mutex<Option<Learning>>,
    /// The operator's bearer token.
    pub operator_token: Secret,
    /// Whether that token was made at this start, and has to be shown.
    pub token_is_new: bool,
    /// The simulator, unless it is switched off.
    pub simulator: Option<Simulator>,
    /// When the process started.
    pub started: Instant,
}

impl App {
    /// Opens the store and puts everything together. `listening` is where the server is reached by its own simulator.
    ///
    /// # Errors
    /// Those of the configuration and the store.
    pub async fn open(
        config: Config,
        listening: SocketAddr,
        started: Instant,
    ) -> Result<Arc<Self>> {
        let models = Models::open(&config).await?;
        let Chosen { embedder, paid } = embedder::choose(&config, models.prices()).await?;
        let store = open_store(&config.data_dir, &config.master_key, embedder)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let journal: Arc<dyn Journal> = Arc::new(store.clone());
        let mut memory: Arc<dyn MemoryStore> = Arc::new(store.clone());
        let quotes_only = models.shared().describe().provider == "extract";
        if quotes_only {
            memory = Arc::new(ExpandingMemory(memory));
        }
        let endpoints = Endpoints {
            slack: config.slack.api_url.clone(),
            graph: config.whatsapp.graph_api_url.clone(),
            graph_version: config.whatsapp.graph_api_version.clone(),
        };
        let directory = ServerDirectory::new(store.clone(), endpoints, models)?;
        let shared: Arc<dyn konstruct_core::Directory> = Arc::new(directory.clone());
        if let Some(paid) = paid {
            paid.pay_from(&journal, &shared);
        }
        let (operator_token, token_is_new) =
            secrets::ensure(&store, "operator_token", &config.operator_token).await?;
        let (signing_secret, _) =
            secrets::ensure(&store, "slack_signing", &config.slack.signing_secret).await?;
        let (app_secret, _) =
            secrets::ensure(&store, "whatsapp_app", &config.whatsapp.app_secret).await?;
        let (verify_token, _) =
            secrets::ensure(&store, "whatsapp_verify", &config.whatsapp.verify_token).await?;
        demo::create(&directory, &*memory).await?;
        connect_demo(&directory, &config).await?;
        let simulator = if config.has_sandbox() {
            Some(
                Simulator::open(
                    &directory,
                    listening,
                    signing_secret.clone(),
                    app_secret.clone(),
                )
                .await?,
            )
        } else {
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
        );
        let mut learning = None;
        // What only quotes has nothing to learn with.
        if !quotes_only {
            let learner = Learner::new(Arc::clone(&journal), Arc::clone(&memory), shared, clock);
            let (lessons, work) = learner.lessons();
            driver = driver.with_lessons(lessons);
            learning = Some(work);
        }
        Ok(Arc::new(Self {
            config,
            store,
            journal,
            memory,
            directory,
            gateway: Arc::new(gateway),
            driver,
            learning: Mutex::new(learning),
            operator_token,
            token_is_new,
            simulator,
            started,
        }))
    }
}

impl App {
    /// Takes what learns from conversations, for whoever runs it; once.
    pub(crate) fn take_learning(&self) -> Option<Learning> {
        self.learning
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// Connects the demo tenant to the workspace and the number that the configuration names, for one business.
async fn connect_demo(directory: &ServerDirectory, config: &Config) -> Result<()> {
    if !config.slack.bot_token.is_empty() && !is_learned(directory, &config.slack.bot_token).await {
        let new = NewConnection {
            channel: ChannelKind::SLACK,
            // The workspace is learned from Slack once the server listens; until then every unknown one is taken.
            account: AccountId(ANY.into()),
            name: "Slack".into(),
            token: config.slack.bot_token.clone(),
            api_url: None,
        };
        keep(directory, demo::SLACK, new).await?;
    }
    if !config.whatsapp.phone_number_id.is_empty() {
        if config.whatsapp.access_token.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "WHATSAPP_ACCESS_TOKEN: must be set with the phone number id",
            ));
        }
        let new = NewConnection {
            channel: ChannelKind::WHATSAPP,
            account: AccountId(config.whatsapp.phone_number_id.clone()),
            name: "WhatsApp".into(),
            token: config.whatsapp.access_token.clone(),
            api_url: None,
        };
        keep(directory, demo::WHATSAPP, new).await?;
    }
    Ok(())
}

/// Whether it is known which workspace this token belongs to.
async fn is_learned(directory: &ServerDirectory, token: &Secret) -> bool {
    let known = directory
        .connection(demo::TENANT, demo::connection(demo::SLACK))
        .await;
    known.is_ok_and(|known| known.token == *token && known.account.0 != ANY)
}

/// Makes one of the demo tenant's own connections what the configuration says; without the demo tenant, does nothing.
pub(crate) async fn keep(
    directory: &ServerDirectory,
    number: u8,
    new: NewConnection,
) -> Result<()> {
    if directory.tenant(demo::TENANT).await.is_err() {
        return Ok(());
    }
    directory
        .keep_connection(demo::TENANT, demo::connection(number), new)
        .await
        .map(drop)
}
