//! Spends under caps from 20 runs at the same time, in a process that is killed again and again while prices change, and compares the
//! ledger with the bill.
//!
//! The provider's bill is a file to which every call is appended while it is answered, so that it survives the kills. After a kill,
//! a run settles the call that it had begun, as the engine does.
//!
//! Ends with `operations=N overshoot=0 usable=P ledger_differs=0`: the reservations and settlements, how often a sum was seen above
//! its cap, the least percentage of a tenant's cap that was spent before its calls were refused, and the rows of the ledger that
//! contradict the bill.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::{
    collections::{BTreeMap, HashMap},
    fs::{File, OpenOptions},
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use clap::Parser;
use konstruct_benches::{Failed, dice::Dice};
use konstruct_core::{
    ConnectionId, EmployeeId, NanoUsd, PersonId, TenantId, Timestamp,
    limit::{AppliedCap, Attempt, Budget as _, BudgetKey, BudgetScope, Period, Spent},
    money::{Basis, LedgerRow, Usage},
    store::{Charge, LedgerQuery, Store},
    testkit::VirtualClock,
    turn::{CallBudget, pay_lost},
};
use konstruct_memory::Redb;
use tokio::task::JoinSet;

/// The month of the clock.
const MONTH: &str = "2026-11";
/// The runs, which spend the money of as many tenants as divide them.
const RUNS: u64 = 20;
const TENANTS: u64 = 4;
const PERSONS: u64 = 10;
/// The cost of a call that fills its bound, in nano-USD; a call costs 1 to 100 % of it.
const WORST: u64 = 1_000;

/// Spends under caps, and compares the ledger with the bill.
#[derive(Parser)]
struct Arguments {
    /// Number of reservations and settlements.
    #[arg(long, default_value_t = 1_000_000)]
    operations: u64,
    /// Number of times that the process is killed.
    #[arg(long, default_value_t = 50)]
    kills: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The folder of the store, for the process that spends.
    #[arg(long, hide = true)]
    spend: Option<PathBuf>,
}

impl Arguments {
    /// The calls of a run. Each reserves and settles.
    fn calls(&self) -> u64 {
        self.operations.div_ceil(2 * RUNS)
    }

    /// The cap of a tenant's month, which about nine tenths of its calls reach.
    fn cap(&self) -> u64 {
        self.calls() * (RUNS / TENANTS) * WORST / 2 * 9 / 10
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failed> {
    let arguments = Arguments::parse();
    if let Some(folder) = &arguments.spend {
        spend(&arguments, folder).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let folder = tempfile::tempdir()?;
    let mut dice = Dice::new(arguments.seed);
    for _ in 0..arguments.kills {
        let mut child = child(&arguments, folder.path())?;
        // Kills are spread over the run: by progress, because time depends on the machine.
        let until =
            done(folder.path())? + 1 + dice.below(arguments.operations / (arguments.kills + 1));
        while done(folder.path())? < until && child.try_wait()?.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        child.kill()?;
        child.wait()?;
    }
    if !child(&arguments, folder.path())?.wait()?.success() {
        return Err("the process that spends has failed".into());
    }
    let (usable, differs) = compare(&arguments, folder.path()).await?;
    let overshoot = std::fs::read_to_string(folder.path().join("overshoot")).unwrap_or_default();
    let overshoot = overshoot.lines().count();
    let operations = 2 * arguments.calls() * RUNS;
    println!(
        "operations={operations} overshoot={overshoot} usable={usable:.1} ledger_differs={differs}"
    );
    let holds = overshoot == 0 && differs == 0 && usable >= 95.0;
    Ok(ExitCode::from(u8::from(!holds)))
}

fn child(arguments: &Arguments, folder: &Path) -> Result<std::process::Child, Failed> {
    let child = Command::new(std::env::current_exe()?)
        .args(["--operations", &arguments.operations.to_string()])
        .args(["--seed", &arguments.seed.to_string()])
        .arg("--spend")
        .arg(folder)
        .spawn()?;
    Ok(child)
}

/// Returns the number of calls that have begun.
fn done(folder: &Path) -> Result<u64, Failed> {
    let mut sum = 0;
    for run in 0..RUNS {
        sum += Progress::open(folder, run)?.read()?;
    }
    Ok(sum)
}

/// The number of the call that a run has begun last, from 1, which survives a kill.
struct Progress(File);

impl Progress {
    fn open(folder: &Path, run: u64) -> Result<Self, Failed> {
        let path = folder.join(format!("run-{run}"));
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).read(true).write(true);
        Ok(Self(file.open(path)?))
    }

    fn read(&self) -> Result<u64, Failed> {
        let mut bytes = [0; 8];
        let read = self.0.read_at(&mut bytes, 0)?;
        Ok(if read == 8 {
            u64::from_be_bytes(bytes)
        } else {
            0
        })
    }

    fn write(&self, call: u64) -> Result<(), Failed> {
        Ok(self.0.write_all_at(&call.to_be_bytes(), 0)?)
    }
}

fn id(kind: u8, n: u64) -> [u8; 16] {
    let mut bytes = [kind; 16];
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    bytes
}

fn tenant(n: u64) -> TenantId {
    TenantId::from_bytes(id(1, n))
}

fn clock() -> Arc<VirtualClock> {
    Arc::new(VirtualClock::new(Timestamp::from_secs(1_794_657_600)))
}

fn open(folder: &Path) -> Result<Arc<dyn Store>, Failed> {
    let store = Redb::builder().clock(clock()).open(folder.join("store"))?;
    Ok(Arc::new(store))
}

/// Returns the caps of a call.
fn caps(tenant: u64, person: u64, most: u64) -> Vec<AppliedCap> {
    let cap = |scope, period, cap| AppliedCap {
        budget: BudgetKey { scope, period },
        cap: NanoUsd(cap),
    };
    let person = tenant * PERSONS + person;
    vec![
        cap(BudgetScope::Tenant, Period::Month, most),
        cap(
            BudgetScope::Employee(EmployeeId::from_bytes(id(2, tenant))),
            Period::Month,
            most,
        ),
        cap(
            BudgetScope::Channel(ConnectionId::from_bytes(id(3, tenant))),
            Period::Day,
            most,
        ),
        cap(
            BudgetScope::Person(PersonId::from_bytes(id(4, person))),
            Period::Day,
            most / 8,
        ),
        cap(
            BudgetScope::Person(PersonId::from_bytes(id(4, person))),
            Period::Hour,
            most / 8,
        ),
    ]
}

/// Makes the calls of all runs that were not made yet.
async fn spend(arguments: &Arguments, folder: &Path) -> Result<(), Failed> {
    let store = open(folder)?;
    let mut append = OpenOptions::new();
    let append = append.create(true).append(true);
    let bill = Arc::new(append.open(folder.join("bill"))?);
    let overshoot = Arc::new(append.open(folder.join("overshoot"))?);
    let made = Arc::new(AtomicU64::new(0));
    let (calls, most, seed) = (arguments.calls(), arguments.cap(), arguments.seed);
    let mut runs = JoinSet::new();
    for run in 0..RUNS {
        let (store, bill) = (Arc::clone(&store), Arc::clone(&bill));
        let (overshoot, made) = (Arc::clone(&overshoot), Arc::clone(&made));
        let progress = Progress::open(folder, run)?;
        runs.spawn(async move {
            let begun = progress.read()?;
            if begun > 0 {
                let key = format!("{run}.{begun}");
                let at = Timestamp::from_secs(1);
                pay_lost(&*store, tenant(run % TENANTS), &key, ("p", "m", true), at).await?;
            }
            for call in begun + 1..=calls {
                progress.write(call)?;
                one(&store, &bill, (run, call), (most, seed)).await?;
                if made.fetch_add(1, Relaxed) % 64 == 0 {
                    watch(&store, &overshoot, run % TENANTS).await?;
                }
            }
            Ok::<(), Failed>(())
        });
    }
    while let Some(run) = runs.join_next().await {
        run??;
    }
    Ok(())
}

/// Makes one call, if the caps allow it.
async fn one(
    store: &Arc<dyn Store>,
    mut bill: &File,
    (run, call): (u64, u64),
    (most, seed): (u64, u64),
) -> Result<(), Failed> {
    let mut dice = Dice::new(seed ^ (run << 40) ^ call);
    let of = run % TENANTS;
    let key = format!("{run}.{call}");
    // The price changes every ten calls.
    let worst = WORST * (1 + call / 10 % 3) / 2;
    let budget = CallBudget::new(
        store,
        tenant(of),
        &key,
        (None, caps(of, dice.below(PERSONS), most)),
    );
    let attempt = Attempt {
        call: key.clone(),
        number: 0,
        provider: "p".into(),
        model: "m".into(),
        worst: Some(NanoUsd(worst)),
    };
    if budget.reserve(&attempt).await.is_err() {
        return Ok(());
    }
    let cost = 1 + worst * dice.below(100) / 100;
    bill.write_all(format!("{key} {cost}\n").as_bytes())?;
    let spent = Spent {
        usage: Usage::default(),
        cost: Some(NanoUsd(cost)),
        basis: Basis::Reported,
    };
    budget.settle(&attempt, spent);
    let paid = budget.close(Timestamp::from_secs(1));
    let charge = Charge {
        reserve: None,
        settle: paid.settle,
        ledger: paid.rows,
    };
    store.charge(tenant(of), charge).await?;
    Ok(())
}

/// Notes the sums of a tenant that are above their cap.
async fn watch(store: &Arc<dyn Store>, mut overshoot: &File, of: u64) -> Result<(), Failed> {
    let query = LedgerQuery::new(MONTH).limit(0).budgets(100);
    for sum in store.ledger(tenant(of), query).await?.budgets {
        let taken = sum.sum.spent.saturating_add(sum.sum.reserved);
        if sum.sum.cap.is_some_and(|cap| taken > cap) {
            overshoot.write_all(format!("{} {taken}\n", sum.budget).as_bytes())?;
        }
    }
    Ok(())
}

/// Compares the ledger with the bill. Returns the least percentage of a cap that is spent, and the number of differences.
async fn compare(arguments: &Arguments, folder: &Path) -> Result<(f64, u64), Failed> {
    let text = std::fs::read_to_string(folder.join("bill"))?;
    let mut bill: HashMap<&str, u64> = HashMap::new();
    for line in text.lines() {
        let (call, cost) = line.split_once(' ').ok_or("a line of the bill is torn")?;
        bill.insert(call, cost.parse()?);
    }
    let store = open(folder)?;
    let (mut usable, mut differs, mut worst_cases) = (100.0_f64, 0, 0);
    for of in 0..TENANTS {
        let rows = rows(&store, of).await?;
        let sum: u64 = rows
            .iter()
            .filter_map(|row| row.cost)
            .map(|cost| cost.0)
            .sum();
        // A lost call has a row for each of its reservations.
        let mut calls: BTreeMap<&str, (u64, Basis)> = BTreeMap::new();
        for row in &rows {
            let call = row.call.trim_end_matches(".a0");
            calls.entry(call).or_insert((0, row.basis)).0 += row.cost.unwrap_or_default().0;
        }
        for (call, (cost, basis)) in calls {
            worst_cases += u64::from(basis == Basis::WorstCase);
            // A call that was killed before the provider answered is paid for at its worst case, but not billed.
            let right = match (bill.remove(call), basis) {
                (Some(billed), Basis::Reported) => cost == billed,
                (Some(billed), Basis::WorstCase) => cost >= billed,
                (None, Basis::WorstCase) => true,
                _ => false,
            };
            differs += u64::from(!right);
        }
        let page = store
            .ledger(tenant(of), LedgerQuery::new(MONTH).limit(0))
            .await?;
        differs += u64::from(page.spent != NanoUsd(sum) || page.reserved != NanoUsd(0));
        usable = usable.min(page.spent.0 as f64 * 100.0 / arguments.cap() as f64);
    }
    // What was billed, but has no row.
    differs += bill.len() as u64;
    println!("worst_cases={worst_cases}");
    Ok((usable, differs))
}

async fn rows(store: &Arc<dyn Store>, of: u64) -> Result<Vec<LedgerRow>, Failed> {
    let (mut rows, mut after) = (Vec::new(), 0);
    loop {
        let query = LedgerQuery::new(MONTH).after(after).limit(1_000);
        let page = store.ledger(tenant(of), query).await?.rows;
        let Some((last, _)) = page.last() else {
            return Ok(rows);
        };
        after = *last;
        rows.extend(page.into_iter().map(|(_, row)| row));
    }
}
