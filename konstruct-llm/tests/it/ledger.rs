//! Compares the ledger with the bill: ten thousand random calls with faults, cached input, long requests, cancels and kills, paid
//! from a store, and a biller that computes every attempt independently.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use konstruct_core::{
    Clock as _, Error, ErrorKind, LlmBackend, NanoUsd, Result, SystemClock, TenantId,
    limit::Budget,
    limit::BudgetSum,
    llm::{
        BlockKind, CallContext, Finish, ModelEvent, ModelInfo, ModelRequest, ModelStream, OnBreak,
    },
    money::{Basis, LedgerRow, Price, Rates, Usage},
    store::{Charge, Charged, Exported, Reserve, Store},
    testkit::{ReferenceStore, VirtualClock},
    turn::{CallBudget, Paid, settle_lost},
};
use konstruct_llm::{BreakerPolicy, Deployment, Pool};
use proptest::{
    prelude::Rng as _,
    test_runner::{RngAlgorithm, TestRng},
};

use crate::ask;

const CALLS: usize = 10_000;

type Dice = Arc<Mutex<TestRng>>;

fn throw(dice: &Dice, below: u64) -> u64 {
    dice.lock().unwrap().next_u64() % below
}

/// Nano-USD per token: input, cache read, cache writes of five minutes and an hour, output; then the same above 1,500 input
/// tokens.
type Tariff = [[u64; 5]; 2];
const ABOVE: u64 = 1_500;

/// What the provider charges for an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Billed {
    amount: u64,
    /// Whether the caller received a finish with the usage.
    told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Whole,
    WholeWithoutUsage,
    Refused,
    /// A status 500 after the work was done.
    Died,
    CutBeforeHeaders,
    ErrorFirst,
    ErrorMidway,
    Cut,
    Stall,
}

/// A provider that charges for its work.
#[derive(Debug)]
struct Provider {
    info: ModelInfo,
    tariff: Tariff,
    dice: Dice,
    bill: Arc<Mutex<HashMap<String, Billed>>>,
}

impl Provider {
    fn new(
        name: &str,
        tariff: Tariff,
        dice: &Dice,
        bill: &Arc<Mutex<HashMap<String, Billed>>>,
    ) -> Self {
        let rates = |[input, cache_read, cache_write_5m, cache_write_1h, output]: [u64; 5]| Rates {
            input: input * 1_000_000,
            cache_read: cache_read * 1_000_000,
            cache_write_5m: cache_write_5m * 1_000_000,
            cache_write_1h: cache_write_1h * 1_000_000,
            output: output * 1_000_000,
        };
        let price = Price::from(rates(tariff[0])).with_tier(ABOVE, rates(tariff[1]));
        Self {
            info: ModelInfo::new("billed", name).with_price(price),
            tariff,
            dice: Arc::clone(dice),
            bill: Arc::clone(bill),
        }
    }

    fn fate(&self) -> Fate {
        match throw(&self.dice, 16) {
            7 => Fate::Died,
            0 => Fate::WholeWithoutUsage,
            1 => Fate::Refused,
            2 => Fate::CutBeforeHeaders,
            3 => Fate::ErrorFirst,
            4 => Fate::ErrorMidway,
            5 => Fate::Cut,
            6 => Fate::Stall,
            _ => Fate::Whole,
        }
    }

    /// Returns the attempt's usage, within the request's limits.
    fn usage(&self, request: &ModelRequest, spoken: u64) -> Usage {
        let mut left = 1 + throw(&self.dice, request.input_bound() - 1_024);
        let mut bucket = |share: bool| {
            let part = if share {
                throw(&self.dice, left + 1)
            } else {
                left
            };
            left -= part;
            part
        };
        let cached = throw(&self.dice, 2) == 0;
        let (cache_read, cache_write_5m, cache_write_1h) = if cached {
            (bucket(true), bucket(true), bucket(true))
        } else {
            (0, 0, 0)
        };
        Usage {
            input: bucket(false),
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output: spoken,
            reasoning: throw(&self.dice, u64::from(request.max_tokens) - spoken + 1),
        }
    }

    fn amount(&self, usage: &Usage) -> u64 {
        let input = usage.input + usage.cache_read + usage.cache_write_5m + usage.cache_write_1h;
        let [a, b, c, d, e] = self.tariff[usize::from(input > ABOVE)];
        usage.input * a
            + usage.cache_read * b
            + usage.cache_write_5m * c
            + usage.cache_write_1h * d
            + (usage.output + usage.reasoning) * e
    }
}

#[async_trait]
impl LlmBackend for Provider {
    fn describe(&self) -> &ModelInfo {
        &self.info
    }

    async fn stream(&self, request: ModelRequest, call: &CallContext) -> Result<ModelStream> {
        let fate = self.fate();
        let words = 1 + throw(&self.dice, 8);
        let mut usage = self.usage(&request, words);
        if fate == Fate::WholeWithoutUsage {
            // This model does not think, so it has no hidden tokens.
            usage.reasoning = 0;
        }
        let amount = if fate == Fate::Refused {
            0
        } else {
            self.amount(&usage)
        };
        let key = call.idempotency_key.clone();
        let billed = |told| Billed { amount, told };
        let before = self.bill.lock().unwrap().insert(key.clone(), billed(false));
        assert_eq!(before, None, "two attempts under one key: {key}");
        match fate {
            Fate::Refused => return Err(Error::new(ErrorKind::Unavailable, "503")),
            Fate::Died => return Err(Error::new(ErrorKind::Ambiguous, "500")),
            Fate::CutBeforeHeaders => return Err(Error::new(ErrorKind::Truncated, "cut")),
            _ => {}
        }
        let mut events = vec![Ok(ModelEvent::Start {
            id: "1".into(),
            model: "m".into(),
        })];
        if throw(&self.dice, 2) == 0 {
            // Some providers count the input at once.
            let counted = Usage {
                output: 1,
                reasoning: 0,
                ..usage
            };
            events.push(Ok(ModelEvent::Usage(counted)));
        }
        if fate == Fate::ErrorFirst {
            events.push(Err(Error::new(ErrorKind::Unavailable, "overloaded")));
            return Ok(stream::iter(events).boxed());
        }
        events.push(Ok(ModelEvent::BlockStart {
            index: 0,
            kind: BlockKind::Text,
        }));
        events.extend((0..words).map(|_| {
            Ok(ModelEvent::Text {
                index: 0,
                delta: "word ".into(),
            })
        }));
        match fate {
            Fate::ErrorMidway => events.push(Err(Error::new(ErrorKind::Unavailable, "broke"))),
            Fate::Cut | Fate::Stall => {}
            _ => {
                events.push(Ok(ModelEvent::BlockEnd { index: 0 }));
                if fate == Fate::Whole {
                    events.push(Ok(ModelEvent::Usage(usage)));
                }
                events.push(Ok(ModelEvent::Finish(Finish::Stop)));
            }
        }
        let bill = Arc::clone(&self.bill);
        let told = billed(true);
        let stalls = fate == Fate::Stall;
        let said = stream::iter(events).inspect(move |event| {
            if fate == Fate::Whole && matches!(event, Ok(ModelEvent::Finish(_))) {
                bill.lock().unwrap().insert(key.clone(), told);
            }
        });
        Ok(if stalls {
            said.chain(stream::pending()).boxed()
        } else {
            said.boxed()
        })
    }
}

/// What the caller does with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Reads,
    CancelsAfter(u64),
    CancelsAtOnce,
    DiesAfter(u64),
}

struct Office {
    journal: Arc<dyn Store>,
    tenant: TenantId,
    pool: Pool,
}

impl Office {
    /// Makes a call as the driver does; returns whether the answer was complete.
    async fn call(
        &self,
        key: &str,
        request: ModelRequest,
        caller: Caller,
        on_break: OnBreak,
    ) -> bool {
        let price = self.pool.describe().price.clone().unwrap();
        let worst = price.worst_case(request.input_bound(), u64::from(request.max_tokens));
        let reserve = Reserve {
            call: key.to_owned(),
            amount: worst,
            caps: Vec::new(),
        };
        let intent = Charge {
            reserve: Some(reserve),
            ..Charge::default()
        };
        let charged = self.journal.charge(self.tenant, intent).await.unwrap();
        assert_eq!(charged, Charged::Granted);
        let budget = Arc::new(CallBudget::new(
            &self.journal,
            self.tenant,
            key,
            (Some(worst), Vec::new()),
        ));
        let context = CallContext::new(self.tenant, key, Duration::from_secs(60))
            .on_break(on_break)
            .with_budget(Arc::clone(&budget) as Arc<dyn Budget>);
        let mut whole = false;
        let asking = self.pool.stream(request, &context);
        match caller {
            Caller::CancelsAtOnce => {
                let soon = tokio::time::timeout(Duration::ZERO, asking).await;
                drop(soon);
            }
            Caller::Reads | Caller::CancelsAfter(_) | Caller::DiesAfter(_) => {
                if let Ok(mut stream) = asking.await {
                    let most = match caller {
                        Caller::CancelsAfter(most) | Caller::DiesAfter(most) => most,
                        _ => u64::MAX,
                    };
                    let mut read = 0;
                    while read < most
                        && let Some(event) = stream.next().await
                    {
                        whole = matches!(event, Ok(ModelEvent::Finish(_)));
                        read += 1;
                    }
                    if matches!(caller, Caller::DiesAfter(_)) {
                        // A kill drops nothing: unwritten data is lost.
                        std::mem::forget(stream);
                        std::mem::forget(budget);
                        let model = ("billed", "m", true);
                        let paid =
                            settle_lost(&*self.journal, self.tenant, key, model, SystemClock.now())
                                .await;
                        self.book(paid.unwrap()).await;
                        return whole;
                    }
                }
            }
        }
        let paid = if matches!(caller, Caller::DiesAfter(_)) {
            std::mem::forget(budget);
            let model = ("billed", "m", true);
            settle_lost(&*self.journal, self.tenant, key, model, SystemClock.now())
                .await
                .unwrap()
        } else {
            budget.close(SystemClock.now())
        };
        self.book(paid).await;
        whole
    }

    async fn book(&self, paid: Paid) {
        let charge = Charge {
            reserve: None,
            settle: paid.settle,
            ledger: paid.rows,
        };
        let charged = self.journal.charge(self.tenant, charge).await.unwrap();
        assert_eq!(charged, Charged::Granted);
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_calls_add_up_to_the_bill() {
    let dice: Dice = Arc::new(Mutex::new(TestRng::deterministic_rng(RngAlgorithm::ChaCha)));
    let bill = Arc::default();
    let provider = |name: &str, tariff| Provider::new(name, tariff, &dice, &bill);
    let deployment = |name: &str, tariff| {
        Deployment::new(name, provider(name, tariff)).idle(Duration::from_secs(2))
    };
    let pool = Pool::builder()
        .deployment(deployment("one", [[3, 1, 4, 6, 15], [6, 2, 8, 12, 22]]))
        .deployment(deployment("two", [[2, 1, 2, 4, 10], [2, 1, 2, 4, 10]]))
        .deployment(deployment("three", [[5, 1, 6, 10, 25], [10, 1, 12, 20, 40]]).fallback(1))
        // The deployment stays in use, so that faults keep occurring.
        .breaker(BreakerPolicy::default().with_failures(u32::MAX))
        .build()
        .unwrap();
    let office = Office {
        journal: Arc::new(ReferenceStore::new(Arc::new(VirtualClock::default()))),
        tenant: TenantId::new(),
        pool,
    };
    let mut whole = 0;
    for number in 0..CALLS {
        let mut request = ask(&"x".repeat(throw(&dice, 1_200) as usize));
        request.max_tokens = 20 + throw(&dice, 200) as u32;
        let caller = match throw(&dice, 12) {
            0 => Caller::CancelsAfter(throw(&dice, 9)),
            1 => Caller::CancelsAtOnce,
            2 => Caller::DiesAfter(throw(&dice, 14)),
            _ => Caller::Reads,
        };
        let on_break =
            [OnBreak::Fail, OnBreak::Restart, OnBreak::Continue][throw(&dice, 3) as usize];
        whole += usize::from(
            office
                .call(&format!("c{number}"), request, caller, on_break)
                .await,
        );
    }
    let mut rows: Vec<LedgerRow> = Vec::new();
    let mut spent = NanoUsd(0);
    let mut export = office.journal.export(office.tenant).await.unwrap();
    while let Some(item) = export.next().await {
        match item.unwrap() {
            Exported::Ledger(row) => rows.push(row),
            Exported::Budget(BudgetSum { sum, .. }) => {
                assert_eq!(sum.reserved, NanoUsd(0), "no reservation leaks");
                spent = spent.saturating_add(sum.spent);
            }
            _ => {}
        }
    }
    let bill = bill.lock().unwrap();
    let (mut reported, mut told, mut total) = (0, 0, 0);
    for row in &rows {
        let cost = row.cost.unwrap().0;
        total += cost;
        let billed = bill[&row.call];
        if row.basis == Basis::Reported {
            assert_eq!(cost, billed.amount, "{row:?}");
            reported += cost;
        } else {
            assert!(cost >= billed.amount, "{row:?} is below {billed:?}");
        }
    }
    for billed in bill.values().filter(|billed| billed.told) {
        told += billed.amount;
    }
    let due: u64 = bill.values().map(|billed| billed.amount).sum();
    assert_eq!(rows.len(), bill.len(), "a row for each attempt");
    assert!(bill.len() > CALLS, "some took more than one");
    assert!(whole > CALLS * 2 / 3, "{whole}");
    assert_eq!(
        NanoUsd(total),
        spent,
        "the budget must equal the ledger's sum"
    );
    assert!(total >= due);
    assert!(reported <= told, "a finish may be lost in a kill");
    println!(
        "calls={CALLS} attempts={} whole={whole} reported={reported} billed={due} ledger={total}",
        bill.len()
    );
}
