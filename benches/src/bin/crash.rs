//! Kills a working server again and again, at any instant, and counts afterwards what was lost, doubled or out of order.

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
    server::{self, LOOK, Server, Setup},
    traffic::{self, Traffic},
    verdict::{Seen, Verdict, verdict},
};
use konstruct_core::{Secret, TenantId};
use tokio::task::JoinSet;

/// How many messages are written a second.
const PACE: usize = 25;
/// How long after the traffic everything has to be answered or asked about: longer than a receipt is waited for.
const PATIENCE: Duration = Duration::from_secs(150);
/// Of a hundred messages that WhatsApp took, how many it never says another word about.
const SILENT: u64 = 4;

/// Kills a working server at random instants.
#[derive(Parser)]
struct Arguments {
    /// How many messages people write.
    #[arg(long, default_value_t = 2_000)]
    messages: usize,
    /// How often the server is killed.
    #[arg(long, default_value_t = 50)]
    kills: u32,
    /// What decides everything that is random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The server's binary. Without it, the one beside this program.
    #[arg(long)]
    server: Option<PathBuf>,
    /// How large the store is before anything begins, in GB.
    #[arg(long, default_value_t = 0.0)]
    data_gb: f64,
    /// Keeps the store and the server's log here.
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
    let mischief = tokio::spawn(crash.clone().mischief(Dice::new(dice.roll())));
    let telling = tokio::spawn(crash.clone().tell_statuses(Dice::new(dice.roll())));
    let delivering = tokio::spawn(crash.clone().deliver(traffic));
    let (server, recovery) = crash
        .kill(&setup, server, arguments.kills, window, &mut dice)
        .await?;
    delivering.await?;
    crash.over.store(true, SeqCst);
    mischief.await?;
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

/// Prints the figures. A law that was broken is a failure.
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

/// What the tasks of the proof share.
#[derive(Clone)]
struct Crash {
    office: Arc<Office>,
    sender: Sender,
    accepted: Arc<Mutex<BTreeSet<String>>>,
    over: Arc<AtomicBool>,
    /// How many statuses are on their way, and of how many messages they were told.
    statuses: Arc<(AtomicUsize, AtomicUsize)>,
}

impl Crash {
    /// Delivers everything at its time, and notes which messages were acknowledged.
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

    /// Delivers a message until it is acknowledged, and notes that it was.
    async fn say(self, vendor: Vendor, text: String, body: Vec<u8>) {
        self.sender.deliver(vendor, &body).await;
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.insert(text);
    }

    /// Lets the vendors misbehave while there is traffic.
    async fn mischief(self, mut dice: Dice) {
        while !self.over.load(SeqCst) {
            tokio::time::sleep(Duration::from_millis(dice.below(300))).await;
            self.office.misbehave(&mut dice);
        }
    }

    /// Tells how far each message came that WhatsApp took, but for a few.
    async fn tell_statuses(self, mut dice: Dice) {
        let mut telling = JoinSet::new();
        loop {
            tokio::time::sleep(LOOK * 4).await;
            let posts = self.office.graph.posts();
            let (open, told) = &*self.statuses;
            for post in &posts[told.load(SeqCst)..] {
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
            told.store(posts.len(), SeqCst);
            while telling.try_join_next().is_some() {}
        }
    }

    /// Kills the server so many times, half of them between a vendor's taking a send and its answer, and starts it again at
    /// once. Returns the last server, and how long the others took to their first claim where they lived to see one.
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
            // However little is going on: what is measured is the start, not the wait for work.
            let (text, body) = traffic::knock(nth);
            knocking.spawn(self.clone().say(Vendor::WhatsApp, text, body));
        }
        let claimed = first_claim(&server, &client, Instant::now() + Duration::from_secs(10)).await;
        recovery.extend(claimed);
        while knocking.join_next().await.is_some() {}
        Ok((server, recovery))
    }

    /// Waits until the vendors have taken sends that they have not answered.
    async fn wait_for_sends(&self, until: Instant) {
        const HELD: usize = 3;
        let before = self.office.taken();
        self.office.hold_answers(HELD);
        // One may have been under way already.
        while self.office.taken() < before + HELD && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until every conversation is worked off. Returns whether that came about in time.
    async fn settle(&self, admin: &Client, tenant: TenantId) -> Result<bool, Failed> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if self.told() && worked_off(admin, tenant).await? && self.told() {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(false)
    }

    /// Returns whether no status is on its way.
    fn told(&self) -> bool {
        let (open, told) = &*self.statuses;
        told.load(SeqCst) == self.office.graph.posts().len() && open.load(SeqCst) == 0
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

/// Asks a server until it tells of its first claim, or until it is to be killed.
async fn first_claim(
    server: &Server,
    client: &reqwest::Client,
    until: Instant,
) -> Option<Duration> {
    while Instant::now() < until {
        if let Some(claimed) = server.first_claim(client).await {
            return Some(claimed);
        }
        tokio::time::sleep(LOOK).await;
    }
    None
}

/// Returns whether nothing waits in any conversation, and no turn is open.
async fn worked_off(admin: &Client, tenant: TenantId) -> Result<bool, Failed> {
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
