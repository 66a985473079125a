//! The delay of quiet tenants by a busy one, without faults.

use std::{
    collections::HashMap,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use konstruct_admin_api::EmployeeSettings;
use konstruct_benches::{
    Failed,
    dice::Dice,
    embedder::number,
    office::SECRET,
    quick::{Quick, webhook},
    sender::{Sender, Vendor},
    server::{Setup, add_shop},
};
use konstruct_core::Secret;
use tokio::task::JoinSet;

use super::{Arguments, Cluster};

/// The load of the busy tenant, compared with each of the others.
const TIMES: f64 = 100.0;
/// How long after a phase every message must be answered.
const PATIENCE: Duration = Duration::from_secs(300);
/// The most that the p99 may grow.
const LARGEST_RATIO: f64 = 2.0;

/// A message of a customer of its own.
struct Written {
    at: Instant,
    from: String,
}

pub(super) async fn run(arguments: &Arguments, dir: &Path) -> Result<ExitCode, Failed> {
    let quick = Quick::start().await?;
    let connect = |setup: &mut Setup| {
        quick.connect(setup);
        if arguments.at_once > 0 {
            setup.settings(&format!(
                "[limits]\nconversations_at_once = {}\n",
                arguments.at_once
            ))?;
        }
        Ok(())
    };
    let cluster = Cluster::start(arguments, dir, |_, setup| connect(setup)).await?;
    let admin = cluster.setups[0].admin()?;
    let settings: EmployeeSettings = serde_json::from_value(serde_json::json!({
        "name": "Ava", "role": "front desk of a bicycle shop",
        // What is measured is the share of the workers, not the rate limits.
        "rates": {"turns": {}, "model_calls": {}},
    }))?;
    for nth in 0..=arguments.quiet {
        add_shop(&admin, nth, &number(nth), &settings).await?;
    }
    let load = Load {
        quick,
        urls: cluster.setups.iter().map(Setup::url).collect(),
        quiet: arguments.quiet,
        per_second: arguments.rate,
        window: Duration::from_secs(arguments.seconds),
    };
    load.quick.record();
    let mut dice = Dice::new(arguments.seed);
    // Connections and caches are warm afterwards.
    load.phase("warm-up", "0", 0.0, &mut dice).await?;
    let (before, _) = load.phase("quiet", "1", 0.0, &mut dice).await?;
    let busy = arguments.rate * TIMES;
    let (during, lost) = load.phase("busy", "2", busy, &mut dice).await?;
    let ratio = during.as_secs_f64() / before.as_secs_f64().max(f64::EPSILON);
    for server in cluster.servers {
        server.terminate().await?;
    }
    println!("delayed_ratio={ratio:.2}");
    Ok(if ratio < LARGEST_RATIO && lost == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

struct Load {
    quick: Quick,
    urls: Vec<String>,
    quiet: usize,
    /// Messages a second of each quiet tenant.
    per_second: f64,
    window: Duration,
}

impl Load {
    /// Lets all tenants write at random times. Returns the p99 of the answers to the quiet ones, and the number of messages without an
    /// answer.
    async fn phase(
        &self,
        name: &str,
        prefix: &str,
        busy: f64,
        dice: &mut Dice,
    ) -> Result<(Duration, usize), Failed> {
        let seconds = self.window.as_secs_f64();
        let mut times = Vec::new();
        for tenant in 0..=self.quiet {
            let rate = if tenant == 0 { busy } else { self.per_second };
            for _ in 0..count(rate * seconds) {
                let at = self.window.mul_f64(dice.below(1_000_000) as f64 / 1e6);
                times.push((at, tenant));
            }
        }
        times.sort_unstable();
        // The busy tenant's webhooks do not delay those of others before they reach a server.
        let senders = [(); 2].map(|()| Sender::new(self.urls.clone(), Secret::new(SECRET)));
        let [of_busy, of_quiet] = senders;
        let senders = [of_busy?, of_quiet?];
        let begun = tokio::time::Instant::now();
        let (mut written, mut delivering) = (Vec::new(), JoinSet::new());
        for (nth, (at, tenant)) in times.into_iter().enumerate() {
            tokio::time::sleep_until(begun + at).await;
            let from = format!("1555{prefix}{nth:06}");
            let body = webhook(
                &number(tenant),
                &from,
                &format!("wamid.F{prefix}{nth:06}"),
                "When are you open?",
            );
            let sender = senders[usize::from(tenant > 0)].clone();
            let at = Instant::now();
            written.push((tenant, Written { at, from }));
            delivering.spawn(async move { sender.deliver(Vendor::WhatsApp, &body).await });
        }
        delivering.join_all().await;
        let deadline = Instant::now() + PATIENCE;
        let answered_then = self.waits(&written, 0..1).len();
        let mut lost = usize::MAX;
        while lost > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(200)).await;
            lost = written.len() - self.waits(&written, 0..self.quiet + 1).len();
        }
        let mut waits = self.waits(&written, 1..self.quiet + 1);
        waits.sort_unstable();
        let at = |share: usize| {
            let nth = (waits.len() * share / 100).min(waits.len().saturating_sub(1));
            waits.get(nth).copied().unwrap_or_default()
        };
        println!(
            "phase={name} quiet_messages={} quiet_p50_ms={} quiet_p99_ms={} quiet_max_ms={} busy_messages={} busy_answered_in_time={answered_then} lost={lost} seconds={}",
            waits.len(),
            at(50).as_millis(),
            at(99).as_millis(),
            at(100).as_millis(),
            written.iter().filter(|(tenant, _)| *tenant == 0).count(),
            begun.elapsed().as_secs(),
        );
        Ok((at(99), lost))
    }

    /// Returns how long the answered messages of some tenants waited.
    fn waits(
        &self,
        written: &[(usize, Written)],
        tenants: std::ops::Range<usize>,
    ) -> Vec<Duration> {
        let sent = self.quick.sent();
        let answers: HashMap<_, _> = sent.iter().map(|sent| (&*sent.to, sent.at)).collect();
        written
            .iter()
            .filter(|(tenant, _)| tenants.contains(tenant))
            .filter_map(|(_, written)| {
                let answered = answers.get(&*written.from)?;
                Some(answered.saturating_duration_since(written.at))
            })
            .collect()
    }
}

fn count(messages: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small positive number"
    )]
    let count = messages.round() as usize;
    count
}
