//! Kills a working server repeatedly at random instants, and counts what was lost, duplicated or out of order.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::{
    collections::BTreeSet,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use konstruct_admin_api::Client;
use konstruct_benches::{
    Failed,
    dice::Dice,
    office::{Office, SECRET},
    prefill::prefill,
    sender::{self, Sender, Vendor},
    server::{self, POLL, Server, Setup},
    traffic::{self, Traffic},
    verdict::{Seen, Verdict, verdict},
};
use konstruct_core::{Secret, TenantId};
use tokio::task::JoinSet;

/// The number of messages a second.
const PACE: usize = 25;
/// How long after the traffic every message must be answered or reported as unresolved: longer than a receipt is waited for.
const PATIENCE: Duration = Duration::from_secs(150);
/// The percentage of messages accepted by WhatsApp for which no status is ever sent.
const SILENT: u64 = 4;

/// Kills a working server at random instants.
#[derive(Parser)]
struct Arguments {
    /// Number of messages that people write.
    #[arg(long, default_value_t = 2_000)]
    messages: usize,
    /// Number of kills.
    #[arg(long, default_value_t = 50)]
    kills: u32,
    /// Seed of everything that is random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The server's binary. Default: next to this program.
    #[arg(long)]
    server: Option<PathBuf>,
    /// Size of the store before the test, in GB.
    #[arg(long, default_value_t = 0.0)]
    data_gb: f64,
    /// Keeps the store and the server's log in this folder.
    #[arg(long)]
    keep: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failed> {
    let arguments = Arguments::parse();
    let temporary = tempfile::tempdir()?;
    let dir = arguments.keep.as_deref().unwrap_or(temporary.path());
    let mut setup = Setup::new(server::binary(arguments.server.clone())?, dir)?;
    let office = Arc::new(Office::open().await?);
    office.connect(&mut setup);
    setup.set("RUST_LOG", "warn");
    if arguments.data_gb > 0.0 {
        let begun = Instant::now();
        let conversations = prefill(&setup.store(), bytes(arguments.data_gb)).await?;
        println!(
            "prefilled {conversations} conversations in {:.0} s",
            begun.elapsed().as_secs_f64()
        );
    }
    let mut server = setup.start()?;
    server.listening().await?;
    let admin = setup.admin()?;
    let tenants = admin.tenants(None).await?;
    let tenant = tenants.items.first().ok_or("no demo tenant")?.id;

    let crash = Crash {
        office,
        sender: Sender::new(setup.url(), Secret::new(SECRET))?,
        accepted: Arc::default(),
        over: Arc::default(),
        statuses: Arc::default(),
    };
    let mut dice = Dice::new(arguments.seed);
    let paced = Duration::from_secs_f64(arguments.messages as f64 / PACE as f64);
    let window = paced.max(Duration::from_secs(u64::from(arguments.kills)));
    let traffic = Traffic::new(arguments.messages, window, &mut dice);
    println!(
        "{} messages, {} deliveries, {} kills within {} s",
        traffic.messages.len(),
        traffic.deliveries.len(),
        arguments.kills,
        window.as_secs()
    );
    let inject_faults = tokio::spawn(crash.clone().inject_faults(Dice::new(dice.roll())));
    let telling = tokio::spawn(crash.clone().send_statuses(Dice::new(dice.roll())));
    let delivering = tokio::spawn(crash.clone().deliver(traffic));
    let (server, recovery) = crash
        .kill(&setup, server, arguments.kills, window, &mut dice)
        .await?;
    delivering.await?;
    crash.over.store(true, SeqCst);
    inject_faults.await?;
    let settled = crash.settle(&admin, tenant).await?;
    telling.abort();
    let seen = crash.seen(&setup, tenant).await?;
    server.terminate().await?;
    let verdict = verdict(&setup.store(), tenant, &seen).await?;
    Ok(report(&verdict, &recovery, settled))
}

fn bytes(gb: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a size in GB"
    )]
    let bytes = (gb * 1e9) as u64;
    bytes
}

/// Prints the figures. A broken guarantee is a failure.
fn report(verdict: &Verdict, recovery: &[Duration], settled: bool) -> ExitCode {
    for finding in verdict.findings.iter().take(50) {
        println!("{finding}");
    }
    let mut recovery = recovery.to_vec();
    recovery.sort_unstable();
    let millis = |at: usize| recovery.get(at).map_or(0, Duration::as_millis);
    println!(
        "settled={settled} turns={} late={} fallbacks={} restarts_measured={} recovery_ms_median={}",
        verdict.turns,
        verdict.late,
        verdict.fallbacks,
        recovery.len(),
        millis(recovery.len() / 2)
    );
    println!(
        "lost={} duplicates={} out_of_order={} unresolved={} recovery_ms_max={}",
        verdict.lost,
        verdict.duplicates,
        verdict.out_of_order,
        verdict.unresolved,
        millis(recovery.len().saturating_sub(1))
    );
    let broken = verdict.lost + verdict.duplicates + verdict.out_of_order;
    if broken == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The state shared by the tasks.
#[derive(Clone)]
struct Crash {
    office: Arc<Office>,
    sender: Sender,
    accepted: Arc<Mutex<BTreeSet<String>>>,
    over: Arc<AtomicBool>,
    /// The number of pending statuses, and of messages with a status.
    statuses: Arc<(AtomicUsize, AtomicUsize)>,
}

impl Crash {
    /// Delivers everything at its time, and records the acknowledged messages.
    async fn deliver(self, traffic: Traffic) {
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
    async fn say(self, vendor: Vendor, text: String, body: Vec<u8>) {
        self.sender.deliver(vendor, &body).await;
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.insert(text);
    }

    /// Injects faults of the vendors while there is traffic.
    async fn inject_faults(self, mut dice: Dice) {
        while !self.over.load(SeqCst) {
            tokio::time::sleep(Duration::from_millis(dice.below(300))).await;
            self.office.misbehave(&mut dice);
        }
    }

    /// Sends the delivery statuses of most messages that WhatsApp accepted.
    async fn send_statuses(self, mut dice: Dice) {
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
                let (crash, wait) = (self.clone(), Duration::from_millis(dice.below(800)));
                telling.spawn(async move {
                    tokio::time::sleep(wait).await;
                    for body in bodies {
                        crash.sender.deliver(Vendor::WhatsApp, &body).await;
                    }
                    crash.statuses.0.fetch_sub(1, SeqCst);
                });
            }
            statuses_sent.store(posts.len(), SeqCst);
            while telling.try_join_next().is_some() {}
        }
    }

    /// Kills the server this many times, half of them after a vendor accepted a send and before it answers, and restarts it
    /// immediately. Returns the last server, and the times to the first claim of the restarts that reached one.
    async fn kill(
        &self,
        setup: &Setup,
        mut server: Server,
        kills: u32,
        window: Duration,
        dice: &mut Dice,
    ) -> Result<(Server, Vec<Duration>), Failed> {
        let client = sender::client()?;
        let mut recovery = Vec::new();
        let mean = window / kills.max(1);
        let mut knocking = JoinSet::new();
        let mut restarted = false;
        for nth in 0..kills {
            let wait = mean.mul_f64(dice.below(2_000) as f64 / 1_000.0);
            let kill_at = Instant::now() + wait;
            let claimed = first_claim(&server, &client, kill_at).await;
            recovery.extend(claimed.filter(|_| restarted));
            tokio::time::sleep(kill_at.saturating_duration_since(Instant::now())).await;
            if nth % 2 == 1 {
                self.wait_for_sends(kill_at + mean).await;
            }
            server.kill().await?;
            server = setup.start()?;
            restarted = true;
            // One more message, so that the start is measured and not the wait for work.
            let (text, body) = traffic::knock(nth);
            knocking.spawn(self.clone().say(Vendor::WhatsApp, text, body));
        }
        let claimed = first_claim(&server, &client, Instant::now() + Duration::from_secs(10)).await;
        recovery.extend(claimed);
        while knocking.join_next().await.is_some() {}
        Ok((server, recovery))
    }

    /// Waits until the vendors have accepted sends that they have not answered.
    async fn wait_for_sends(&self, until: Instant) {
        const HELD: usize = 3;
        let before = self.office.taken();
        self.office.hold_answers(HELD);
        // One may already have been in progress.
        while self.office.taken() < before + HELD && Instant::now() < until {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until every conversation is processed. Returns whether that succeeded in time.
    async fn settle(&self, admin: &Client, tenant: TenantId) -> Result<bool, Failed> {
        let until = Instant::now() + PATIENCE;
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

    async fn seen(&self, setup: &Setup, tenant: TenantId) -> Result<Seen, Failed> {
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
        })
    }
}

/// Polls a server until it reports its first claim, or until it is to be killed.
async fn first_claim(
    server: &Server,
    client: &reqwest::Client,
    until: Instant,
) -> Option<Duration> {
    while Instant::now() < until {
        if let Some(claimed) = server.first_claim(client).await {
            return Some(claimed);
        }
        tokio::time::sleep(POLL).await;
    }
    None
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
