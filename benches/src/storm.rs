//! Traffic that meets faults: people write, vendors misbehave, and everything that was acknowledged is recorded.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use konstruct_admin_api::Client;
use konstruct_core::TenantId;
use tokio::task::JoinSet;

use crate::{
    Failed,
    dice::Dice,
    office::Office,
    sender::{Sender, Vendor},
    server::{POLL, Setup},
    traffic::Traffic,
    verdict::Seen,
};

/// The percentage of messages accepted by WhatsApp for which no status is ever sent.
const SILENT: u64 = 4;

/// The state shared by the tasks. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Storm {
    /// The vendors.
    pub office: Arc<Office>,
    sender: Sender,
    accepted: Arc<Mutex<BTreeSet<String>>>,
    over: Arc<AtomicBool>,
    /// The number of pending statuses, and of messages with a status.
    statuses: Arc<(AtomicUsize, AtomicUsize)>,
}

impl Storm {
    /// Creates a storm before its traffic.
    pub fn new(office: Arc<Office>, sender: Sender) -> Self {
        Self {
            office,
            sender,
            accepted: Arc::default(),
            over: Arc::default(),
            statuses: Arc::default(),
        }
    }

    /// Ends the faults of the vendors.
    pub fn end(&self) {
        self.over.store(true, SeqCst);
    }

    /// Delivers everything at its time, and records the acknowledged messages.
    pub async fn deliver(self, traffic: Traffic) {
        let begun = tokio::time::Instant::now();
        let mut delivering = JoinSet::new();
        for delivery in traffic.deliveries {
            tokio::time::sleep_until(begun + delivery.at).await;
            let text = traffic.messages[delivery.message].text.clone();
            delivering.spawn(self.clone().say(delivery.vendor, text, delivery.body));
            while delivering.try_join_next().is_some() {}
        }
        while delivering.join_next().await.is_some() {}
    }

    /// Delivers a message until it is acknowledged, and records it.
    pub async fn say(self, vendor: Vendor, text: String, body: Vec<u8>) {
        self.sender.deliver(vendor, &body).await;
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.insert(text);
    }

    /// Injects faults of the vendors while there is traffic. Returns the number of those that hide the outcome of a send.
    pub async fn inject_faults(self, mut dice: Dice) -> usize {
        let mut hidden = 0;
        while !self.over.load(SeqCst) {
            tokio::time::sleep(Duration::from_millis(dice.below(300))).await;
            hidden += usize::from(self.office.misbehave(&mut dice));
        }
        hidden
    }

    /// Sends the delivery statuses of most messages that WhatsApp accepted.
    pub async fn send_statuses(self, mut dice: Dice) {
        let mut telling = JoinSet::new();
        loop {
            tokio::time::sleep(POLL * 4).await;
            let posts = self.office.graph.posts();
            let (open, statuses_sent) = &*self.statuses;
            for post in &posts[statuses_sent.load(SeqCst)..] {
                if dice.percent(SILENT) {
                    continue;
                }
                open.fetch_add(1, SeqCst);
                let bodies = ["sent", "delivered"].map(|far| self.office.graph.status(post, far));
                let (storm, wait) = (self.clone(), Duration::from_millis(dice.below(800)));
                telling.spawn(async move {
                    tokio::time::sleep(wait).await;
                    for body in bodies {
                        storm.sender.deliver(Vendor::WhatsApp, &body).await;
                    }
                    storm.statuses.0.fetch_sub(1, SeqCst);
                });
            }
            statuses_sent.store(posts.len(), SeqCst);
            while telling.try_join_next().is_some() {}
        }
    }

    /// Waits until the vendors have accepted sends that they have not answered.
    pub async fn wait_for_sends(&self, until: Instant) {
        const HELD: usize = 3;
        let before = self.office.taken();
        self.office.hold_answers(HELD);
        // One may already have been in progress.
        while self.office.taken() < before + HELD && Instant::now() < until {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until every conversation is processed. Returns whether that succeeded in time.
    ///
    /// # Errors
    /// The server does not list its conversations.
    pub async fn settle(
        &self,
        admin: &Client,
        tenant: TenantId,
        patience: Duration,
    ) -> Result<bool, Failed> {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if self.statuses_sent() && all_processed(admin, tenant).await? && self.statuses_sent() {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(false)
    }

    /// Returns whether no status is pending.
    fn statuses_sent(&self) -> bool {
        let (open, statuses_sent) = &*self.statuses;
        statuses_sent.load(SeqCst) == self.office.graph.posts().len() && open.load(SeqCst) == 0
    }

    /// Returns what was observed outside the store.
    ///
    /// # Errors
    /// The server does not list its questions.
    pub async fn seen(&self, setup: &Setup, tenant: TenantId) -> Result<Seen, Failed> {
        let slack = self.office.slack.posts().into_iter().map(|post| post.key);
        let graph = self.office.graph.posts().into_iter().map(|post| post.key);
        let keyed = "every send has a key";
        let questions = setup.questions(tenant).await?;
        let accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Seen {
            accepted: accepted.clone(),
            taken: vec![
                slack.collect::<Option<_>>().ok_or(keyed)?,
                graph.collect::<Option<_>>().ok_or(keyed)?,
            ],
            questions,
            ..Seen::default()
        })
    }
}

/// Returns whether no events wait in any conversation, and no turn is open.
async fn all_processed(admin: &Client, tenant: TenantId) -> Result<bool, Failed> {
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = admin.conversations(tenant, after.as_deref()).await?;
        if page
            .items
            .iter()
            .any(|conversation| conversation.waiting > 0)
        {
            return Ok(false);
        }
        all.extend(page.items.into_iter().map(|conversation| conversation.id));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    for id in all {
        let conversation = admin.conversation(tenant, id).await?;
        if conversation.turns.iter().any(|turn| turn.outcome == "open") {
            return Ok(false);
        }
    }
    Ok(true)
}
