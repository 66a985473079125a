//! A memory on a database of your own. It passes the suite that every memory has to pass.
//!
//! The conversations stay in their store. You provide two things: where remembered items are kept ([`Tables`]), and how texts are
//! split and ranked ([`WordSearch`]). [`ScanMemory`] makes a complete memory of them: who may see what, versions of documents,
//! superseded facts, forgetting, export and import.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use konstruct_core::{
    Document, DocumentFormat, Employee, Erase, Error, ErrorKind, Hit, NewDocument, Result,
    SystemClock, TenantId, Timestamp, Workforce,
    memory::{
        Candidate, ItemChange, ItemKey, ItemStore, Mark, PassageSearch, Question, Remembered,
        ScanMemory, Section, Signals,
    },
    testkit::{MEMORY_CASES, MemorySubject, ReferenceStore, VirtualClock, memory_suite},
    text::terms,
};
use konstruct_llm::Extract;
use konstruct_memory::{Redb, chunks, read_document};

/// The tables of the database. These are in memory, and have the columns that yours would have.
#[derive(Debug, Default)]
struct Tables(Mutex<HashMap<TenantId, Rows>>);

/// What the tables hold of a tenant.
#[derive(Debug, Default)]
struct Rows {
    /// The number of the last change.
    mark: u64,
    /// `(tenant, key) -> JSON`. In SQL, the key is the column of [`ItemKey::to_bytes`].
    items: BTreeMap<ItemKey, String>,
    /// `(tenant, number of the change, erasure)`.
    erased: Vec<(u64, Erase)>,
}

impl Tables {
    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, Rows>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn broken(error: serde_json::Error) -> Error {
    Error::new(
        ErrorKind::Internal,
        "items: a row cannot be read or written",
    )
    .with_source(error)
}

#[async_trait]
impl ItemStore for Tables {
    async fn mark(&self, tenant: TenantId) -> Result<Mark> {
        Ok(Mark(self.lock().get(&tenant).map_or(0, |rows| rows.mark)))
    }

    async fn items(
        &self,
        tenant: TenantId,
        keys: RangeInclusive<ItemKey>,
    ) -> Result<Vec<Remembered>> {
        let tables = self.lock();
        let rows = tables.get(&tenant).map(|rows| rows.items.range(keys));
        let rows = rows.into_iter().flatten();
        rows.map(|(_, json)| serde_json::from_str(json).map_err(broken))
            .collect()
    }

    async fn erased(&self, tenant: TenantId, since: Mark) -> Result<Vec<Erase>> {
        let tables = self.lock();
        let rows = tables.get(&tenant).map_or(&[][..], |rows| &rows.erased);
        let later = rows.iter().filter(|(number, _)| *number > since.0);
        Ok(later.map(|(_, erase)| *erase).collect())
    }

    /// A transaction: `UPDATE marks SET mark = mark + 1 WHERE tenant = ? AND mark = ?` changes one row, or nothing is committed.
    async fn commit(&self, tenant: TenantId, change: ItemChange) -> Result<bool> {
        let row = |item: &Remembered| {
            let json = serde_json::to_string(item).map_err(broken)?;
            Ok((item.key(), json))
        };
        let put = change.put.iter().map(row).collect::<Result<Vec<_>>>()?;
        let mut tables = self.lock();
        let rows = tables.entry(tenant).or_default();
        if rows.mark != change.after.0 {
            return Ok(false);
        }
        rows.mark += 1;
        rows.items.retain(|key, _| !change.remove.contains(key));
        rows.items.extend(put);
        rows.erased
            .extend(change.erase.map(|erase| (rows.mark, erase)));
        Ok(true)
    }
}

/// Finds what has the question's words. Yours may ask a search engine or compare vectors.
#[derive(Debug)]
struct WordSearch;

#[async_trait]
impl PassageSearch for WordSearch {
    fn read(&self, document: &NewDocument) -> Result<String> {
        read_document(document).map(|extracted| extracted.text)
    }

    fn split(&self, document: &Document, text: &str) -> Vec<Section> {
        let chunks = chunks(document.format, text).into_iter();
        chunks
            .map(|chunk| Section {
                title: chunk.title().to_owned(),
                headings: chunk.path,
                text: chunk.text,
            })
            .collect()
    }

    /// The best is what has most of the question's words, and of two that have as many the shorter.
    async fn rank(&self, question: Question<'_>, candidates: Vec<Candidate>) -> Result<Vec<Hit>> {
        let words = |text: &str| -> BTreeSet<String> {
            terms(question.language, text).into_iter().collect()
        };
        let wanted = words(&question.recall.text);
        let mut found: Vec<Hit> = Vec::new();
        for Candidate { mut hit, heading } in candidates {
            let words = words(&format!("{heading} {}", hit.text));
            let shared = wanted.intersection(&words).count();
            if shared == 0 {
                continue;
            }
            hit.coverage = shared as f32 / wanted.len() as f32;
            hit.score = hit.coverage + 1.0 / (8.0 + words.len() as f32);
            hit.signals = question.recall.explain.then_some(Signals {
                lexical: hit.score,
                terms: shared as u32,
                cosine: None,
                fused: hit.score,
                context: 0.0,
            });
            found.push(hit);
        }
        // Equal scores are ordered by their source, so that equal questions get equal answers.
        found.sort_by(|a, b| {
            let by_score = b.score.total_cmp(&a.score);
            by_score.then_with(|| a.source.cmp(&b.source))
        });
        found.truncate(question.limit);
        Ok(found)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    memory_suite(async || {
        let clock = VirtualClock::new(Timestamp::from_secs(1_794_657_600));
        let store = Arc::new(ReferenceStore::new(Arc::new(clock.clone())));
        let memory = ScanMemory::new(
            store.clone(),
            Arc::new(Tables::default()),
            Arc::new(WordSearch),
            Arc::new(clock.clone()),
        );
        MemorySubject {
            store,
            memory: Arc::new(memory),
            clock,
        }
    })
    .await;
    println!("The memory passes all {} cases.", MEMORY_CASES.len());

    // In an app: the conversations are in redb, and what the employee remembers is in your tables.
    let redb = Redb::in_memory()?;
    let memory = ScanMemory::new(
        Arc::new(redb.clone()),
        Arc::new(Tables::default()),
        Arc::new(WordSearch),
        Arc::new(SystemClock),
    );
    let workforce = Workforce::builder_without_memory(redb)
        .memory(memory)
        .model(Extract::new())
        .hire(Employee::builder("Ava").build()?)
        .build()?;
    let faq = "## Opening hours\nWe are open Tuesday to Saturday, 10 to 18.";
    workforce
        .teach(NewDocument::new("FAQ", DocumentFormat::Markdown, faq))
        .await?;
    let answer = workforce.ask("you", "When are you open?").await?;
    println!("Ava: {}", answer.text);
    assert!(answer.text.contains("Tuesday to Saturday"));
    Ok(())
}
