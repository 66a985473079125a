//! Requests of those who are served: webhooks of a tenant's customers, reads of the admin API and health checks.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use konstruct_benches::{
    Failed,
    office::SECRET,
    quick::{Quick, webhook},
    server::TOKEN,
};
use konstruct_channels::testkit::signed_whatsapp;
use konstruct_core::Secret;
use tokio::task::JoinSet;

use crate::line::{self, Answer};

/// Callers at the same time, and the pause of each.
const CALLERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(50);
/// How long the replies to acknowledged messages are waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was asked, and how it was answered.
#[derive(Debug, Default)]
pub(crate) struct Good {
    pub(crate) times: Vec<Duration>,
    pub(crate) ok: usize,
    pub(crate) refused: usize,
    pub(crate) unexplained: Vec<String>,
    /// The customers whose message was acknowledged.
    pub(crate) customers: BTreeSet<String>,
}

impl Good {
    fn note(&mut self, what: &str, time: Duration, answer: std::io::Result<Answer>) -> bool {
        self.times.push(time);
        match answer {
            Ok(answer) if answer.is_ok() => {
                self.ok += 1;
                return true;
            }
            Ok(answer) if answer.is_documented_refusal() && answer.status != 401 => {
                self.refused += 1;
            }
            other => self.unexplained.push(format!("{what}: {other:?}")),
        }
        false
    }

    /// Waits for the replies to all acknowledged messages. Each missing one is unexplained.
    pub(crate) async fn wait_for_replies(&mut self, quick: &Quick) {
        let begun = Instant::now();
        loop {
            let reached: BTreeSet<String> = quick.sent().into_iter().map(|sent| sent.to).collect();
            let missing: Vec<_> = self.customers.difference(&reached).cloned().collect();
            if missing.is_empty() {
                return;
            }
            if begun.elapsed() > PATIENCE {
                let missing = missing
                    .iter()
                    .map(|customer| format!("no reply to {customer}"));
                self.unexplained.extend(missing);
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Returns a webhook of a customer, as it is sent.
pub(crate) fn message(host: &str, number: &str, customer: &str) -> Vec<u8> {
    let id = format!("wamid.{customer}");
    let body = webhook(number, customer, &id, "When are you open?");
    let signed = signed_whatsapp(&Secret::new(SECRET), body.clone());
    let mut head = format!("POST /webhooks/whatsapp HTTP/1.1\r\nhost: {host}\r\n");
    for (name, value) in signed.headers() {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), &body].concat()
}

/// Asks until the time is over.
pub(crate) async fn ask(host: &str, number: &str, until: Instant) -> Result<Good, Failed> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(call(
            host.to_owned(),
            number.to_owned(),
            until,
            Arc::clone(&next),
        ));
    }
    let mut all = Good::default();
    while let Some(good) = callers.join_next().await {
        let good = good?;
        all.times.extend(good.times);
        all.ok += good.ok;
        all.refused += good.refused;
        all.unexplained.extend(good.unexplained);
        all.customers.extend(good.customers);
    }
    Ok(all)
}

async fn call(host: String, number: String, until: Instant, next: Arc<AtomicUsize>) -> Good {
    let get = |path: &str| {
        let token = format!("authorization: Bearer {TOKEN}");
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{token}\r\n\r\n").into_bytes()
    };
    let mut good = Good::default();
    while Instant::now() < until {
        let nth = next.fetch_add(1, Relaxed);
        let customer = format!("1555{nth:07}");
        let (what, request) = match nth % 4 {
            0 | 1 => ("webhook", message(&host, &number, &customer)),
            2 => ("admin", get("/api/v1/tenants?limit=10")),
            _ => ("ready", get("/readyz")),
        };
        let begun = Instant::now();
        let answer = line::ask(&host, &request).await;
        if good.note(what, begun.elapsed(), answer) && what == "webhook" {
            good.customers.insert(customer);
        }
        tokio::time::sleep(PAUSE).await;
    }
    good
}
