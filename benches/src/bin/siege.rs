//! Lays siege to the built server: clients that take what they can, a full disk, and a model and a vendor that hang. Meanwhile it is asked
//! as its customers and owners ask.
//!
//! Ends with `p99_ms=N rss_mb=N unexplained=0`: the slowest p99 of the good requests and the most memory of all cases, and the answers that
//! are neither a success nor a refusal that the server's README documents. Everything is on loopback, and bounded in count and time.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

#[path = "siege/crowd.rs"]
mod crowd;
#[path = "siege/good.rs"]
mod good;
#[path = "siege/line.rs"]
mod line;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use konstruct_admin_api::{Client, EmployeeSettings, NewOwnModel};
use konstruct_benches::{
    Failed, process,
    quick::Quick,
    server::{self, Server, Setup, add_shop},
};
use konstruct_core::TenantId;
use tempfile::TempDir;

use self::{crowd::Crowd, good::Good};

/// The business numbers of the tenant that is served, and of the one whose model or vendor hangs.
const NUMBER: &str = "106500000000001";
const HANGING: &str = "106500000000002";
/// A file size limit that is smaller than the store.
const FULL: Option<u64> = Some(8192);
/// The bounds that are checked: the p99 of good requests, and the memory.
const MOST_P99: Duration = Duration::from_millis(250);
const MOST_MB: u64 = 150;

#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// The number of slow and idle connections.
    #[arg(long, default_value_t = 2_000)]
    connections: usize,
    /// The number of bodies that are sent at the same time.
    #[arg(long, default_value_t = 600)]
    bodies: usize,
    /// The number of messages to the tenant whose model or vendor hangs.
    #[arg(long, default_value_t = 600)]
    messages: usize,
    /// The seconds of each case.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Runs only these cases.
    #[arg(long)]
    case: Vec<Case>,
    /// The server's binary. Default: next to this program.
    #[arg(long)]
    server: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Case {
    /// Nothing else happens.
    Quiet,
    /// Slow and idle connections.
    Slow,
    /// Bodies that nobody signed.
    Flood,
    /// Slow and idle connections to a server with 256 descriptors.
    Descriptors,
    /// A disk that is full for a third of the time.
    Disk,
    /// The model of another tenant hangs.
    Model,
    /// The vendor of another tenant hangs.
    Vendor,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failed> {
    let arguments = Arguments::parse();
    konstruct_server::raise_descriptor_limit();
    let binary = server::binary(arguments.server.clone())?;
    let cases = match arguments.case.as_slice() {
        [] => Case::value_variants(),
        chosen => chosen,
    };
    let (mut p99, mut memory, mut unexplained) = (Duration::ZERO, 0, 0);
    for case in cases {
        let figures = World::open(&binary, *case).await?.run(&arguments).await?;
        let name = case.to_possible_value().ok_or("a case without a name")?;
        println!("case={} {}", name.get_name(), figures.row());
        for what in figures.unexplained.iter().take(5) {
            println!("  unexplained: {what}");
        }
        p99 = p99.max(figures.p99);
        memory = memory.max(figures.peak_mb);
        unexplained += figures.unexplained.len();
    }
    println!(
        "p99_ms={} rss_mb={memory} unexplained={unexplained}",
        p99.as_millis()
    );
    let well = p99 <= MOST_P99 && memory <= MOST_MB && unexplained == 0;
    Ok(if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What a case has shown.
struct Figures {
    good: usize,
    refused: usize,
    p50: Duration,
    p99: Duration,
    peak_mb: u64,
    crowd: Crowd,
    /// From the room on the disk to the next success.
    recovery: Option<Duration>,
    unexplained: Vec<String>,
}

impl Figures {
    fn row(&self) -> String {
        let recovery = self.recovery.map_or_else(String::new, |time| {
            format!(" recovery_ms={}", time.as_millis())
        });
        format!(
            "good={} refused={} p50_ms={:.1} p99_ms={:.1} rss_mb={} crowd_refused={} crowd_closed={} unexplained={}{recovery}",
            self.good,
            self.refused,
            self.p50.as_secs_f64() * 1e3,
            self.p99.as_secs_f64() * 1e3,
            self.peak_mb,
            self.crowd.refused,
            self.crowd.closed,
            self.unexplained.len(),
        )
    }
}

/// A server with a served tenant and another one.
struct World {
    case: Case,
    quick: Quick,
    server: Server,
    host: String,
    admin: Client,
    another: TenantId,
    _folder: TempDir,
}

impl World {
    async fn open(binary: &Path, case: Case) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let quick = Quick::start().await?;
        let mut setup = Setup::new(binary.to_owned(), folder.path())?;
        setup.settings("allowed_hosts = [\"127.0.0.1\"]\n")?;
        quick.connect(&mut setup);
        setup.set("RUST_LOG", "warn");
        if case == Case::Descriptors {
            setup.limit_descriptors(256);
        }
        let mut server = setup.start()?;
        server.listening().await?;
        let admin = setup.admin()?;
        let settings: EmployeeSettings = serde_json::from_value(serde_json::json!({
            "name": "Ava", "role": "front desk of a bicycle shop",
        }))?;
        add_shop(&admin, 1, NUMBER, &settings).await?;
        add_shop(&admin, 2, HANGING, &settings).await?;
        let tenants = admin.tenants(None).await?.items;
        let another = tenants.iter().find(|tenant| tenant.name == "Shop 2");
        let another = another.ok_or("the second tenant is missing")?.id;
        quick.record();
        Ok(Self {
            case,
            quick,
            server,
            host: setup.url().trim_start_matches("http://").to_owned(),
            admin,
            another,
            _folder: folder,
        })
    }

    async fn run(self, arguments: &Arguments) -> Result<Figures, Failed> {
        let until = Instant::now() + Duration::from_secs(arguments.seconds);
        let asked = good::ask(&self.host, NUMBER, until);
        let (asked, crowd) = tokio::join!(asked, self.disturb(arguments, until));
        let (mut asked, (crowd, recovery)) = (asked?, crowd?);
        asked.wait_for_replies(&self.quick).await;
        let id = self.server.id().ok_or("the server has ended")?;
        let peak_mb = process::peak_kib(id)? >> 10;
        self.server.kill().await?;
        Ok(figures(asked, crowd, recovery, peak_mb))
    }

    /// Does what the case is about.
    async fn disturb(
        &self,
        arguments: &Arguments,
        until: Instant,
    ) -> Result<(Crowd, Option<Duration>), Failed> {
        let crowd = match self.case {
            Case::Quiet => Crowd::default(),
            Case::Slow | Case::Descriptors => {
                crowd::slow(&self.host, arguments.connections, until).await?
            }
            Case::Flood => crowd::flood(&self.host, arguments.bodies, until).await?,
            Case::Disk => {
                let third = until.saturating_duration_since(Instant::now()) / 3;
                return Ok((Crowd::default(), Some(self.fill_the_disk(third).await?)));
            }
            Case::Model => {
                let model = NewOwnModel {
                    provider: "openai".into(),
                    model: "hanging".into(),
                    api_key: "sk-hanging".into(),
                    base_url: Some(crowd::hanging_server().await?),
                    purpose: Some("quality".into()),
                };
                self.admin
                    .put_model(self.another, "hanging", None, &model)
                    .await?;
                self.write_to_the_hanging(arguments.messages).await?
            }
            Case::Vendor => {
                self.quick.hang(HANGING);
                self.write_to_the_hanging(arguments.messages).await?
            }
        };
        Ok((crowd, None))
    }

    /// Fills the disk for a time. Returns how long the server needs afterwards until it accepts a message.
    async fn fill_the_disk(&self, time: Duration) -> Result<Duration, Failed> {
        tokio::time::sleep(time).await;
        self.server.limit_files(FULL)?;
        tokio::time::sleep(time).await;
        self.server.limit_files(None)?;
        let room = Instant::now();
        for nth in 0.. {
            let request = good::message(&self.host, NUMBER, &format!("1777{nth:07}"));
            let answer = line::ask(&self.host, &request).await?;
            if answer.is_ok() || room.elapsed() > Duration::from_secs(30) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(room.elapsed())
    }

    /// Customers of the tenant whose model or vendor hangs write.
    async fn write_to_the_hanging(&self, messages: usize) -> Result<Crowd, Failed> {
        let mut crowd = Crowd::default();
        for nth in 0..messages {
            let request = good::message(&self.host, HANGING, &format!("1666{nth:07}"));
            let answer = line::ask(&self.host, &request).await?;
            if answer.is_documented_refusal() {
                crowd.refused += 1;
            } else if !answer.is_ok() {
                crowd.unexplained.push(format!("hanging: {answer:?}"));
            }
        }
        Ok(crowd)
    }
}

fn figures(mut asked: Good, mut crowd: Crowd, recovery: Option<Duration>, peak_mb: u64) -> Figures {
    asked.times.sort_unstable();
    let percentile = |percent: usize| {
        let at = asked.times.len().saturating_sub(1) * percent / 100;
        asked.times.get(at).copied().unwrap_or_default()
    };
    let (p50, p99) = (percentile(50), percentile(99));
    let mut unexplained = asked.unexplained;
    unexplained.append(&mut crowd.unexplained);
    Figures {
        good: asked.ok,
        refused: asked.refused,
        p50,
        p99,
        peak_mb,
        crowd,
        recovery,
        unexplained,
    }
}
