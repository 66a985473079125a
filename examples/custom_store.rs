//! A memory of your own: it looks through everything for every question, and passes the suite that every memory has to pass.
//!
//! The conversations are read from their store. The notebook keeps what was taught, learned and summed up. The decisions that do
//! not depend on how things are kept come from [`rules`].

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream, stream::BoxStream};
use konstruct_core::{
    Clock as _, ConversationId, Depth, Document, DocumentId, Erase, ErasureReceipt, Error,
    ErrorKind, Fact, FactId, FactStore, Facts, Hit, IndexProgress, KnowledgeStore, Language, Mark,
    MemoryArchive, MemoryStore, Neighbour, NewDocument, NewFact, NewSummary, PersonId, Recall,
    Remembered, Result, Signals, Source, Summary, SummaryStore, TenantId, Timestamp, Unanswered,
    memory::{Conversations, Line, rules},
    store::{Archive as _, History as _},
    testkit::{MEMORY_CASES, MemorySubject, ReferenceStore, VirtualClock, memory_suite},
};
use konstruct_memory::{chunks, read_document, terms};

/// A memory without an index.
#[derive(Clone, Debug)]
struct Notebook {
    store: ReferenceStore,
    clock: VirtualClock,
    pages: Arc<Mutex<HashMap<TenantId, Page>>>,
}

/// What is kept of a tenant.
#[derive(Clone, Debug, Default)]
struct Page {
    language: Language,
    items: BTreeMap<Key, Remembered>,
    /// What was erased, each at a mark: the number of those before it.
    erased: Vec<[u8; 16]>,
}

/// In the order of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Document(DocumentId, u32),
    Fact(FactId),
    Summary(ConversationId),
}

impl Page {
    /// The newest version of each document: versions follow each other.
    fn documents(&self) -> Vec<(&Document, &str)> {
        let all = self.items.values().filter_map(|item| match item {
            Remembered::Document { document, text } => Some((document.id, (document, &**text))),
            _ => None,
        });
        all.collect::<BTreeMap<_, _>>().into_values().collect()
    }

    fn facts(&self) -> impl Iterator<Item = &Fact> {
        self.items.values().filter_map(|item| match item {
            Remembered::Fact { fact } => Some(fact),
            _ => None,
        })
    }

    fn version(&self, id: DocumentId, version: u32) -> Option<(&Document, &str)> {
        match self.items.get(&Key::Document(id, version))? {
            Remembered::Document { document, text } => Some((document, text)),
            _ => None,
        }
    }

    fn summary(&self, of: ConversationId) -> Option<&Summary> {
        match self.items.get(&Key::Summary(of))? {
            Remembered::Summary { summary } => Some(summary),
            _ => None,
        }
    }

    /// Keeps something, and returns whether something with its key was there.
    fn keep(&mut self, item: Remembered) -> bool {
        let key = match &item {
            Remembered::Document { document, .. } => Key::Document(document.id, document.version),
            Remembered::Fact { fact } => Key::Fact(fact.id),
            Remembered::Summary { summary } => Key::Summary(summary.conversation),
            Remembered::Language { language } => {
                self.language = *language;
                return false;
            }
            _ => return true,
        };
        self.items.insert(key, item).is_some()
    }
}

/// The passages of a document, each with what is searched besides the text.
fn passages((document, text): (&Document, &str)) -> Vec<(Hit, String)> {
    let (id, version) = (document.id, document.version);
    let chunks = (0..).zip(chunks(document.format, text));
    let passage = |(chunk, of): (u32, konstruct_memory::Chunk)| {
        let source = Source::Document { id, version, chunk };
        let hit = Hit {
            name: document.title.clone(),
            title: of.title().to_owned(),
            url: document.url.clone(),
            ..Hit::new(source, of.text.clone(), document.updated_at)
        };
        (hit, format!("{} {}", document.title, of.path.join(" ")))
    };
    chunks.map(passage).collect()
}

impl Notebook {
    fn pages(&self) -> MutexGuard<'_, HashMap<TenantId, Page>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn page(&self, tenant: TenantId) -> Page {
        self.pages().get(&tenant).cloned().unwrap_or_default()
    }

    fn keep(&self, tenant: TenantId, item: Remembered) -> bool {
        self.pages().entry(tenant).or_default().keep(item)
    }

    /// Whether something of these may be kept: the persons are known, and nothing of them was erased since.
    fn may_keep(
        &self,
        tenant: TenantId,
        (conversation, persons): (ConversationId, &[PersonId]),
        mark: Option<Mark>,
    ) -> bool {
        let erased = self.page(tenant).erased;
        let since = mark.map_or(erased.len(), |mark| mark.0 as usize);
        let late = erased.get(since..).unwrap_or_default();
        let fine = |id: &[u8; 16]| !late.contains(id);
        let known =
            |person: &PersonId| self.store.knows(tenant, *person) && fine(person.as_bytes());
        fine(conversation.as_bytes()) && persons.iter().all(known)
    }
}

/// Finds the best of what is seen: what holds most of the question's words, and of two that hold as much the shorter.
fn best(language: Language, query: &Recall, seen: Vec<(Hit, String)>, limit: usize) -> Vec<Hit> {
    let wanted: BTreeSet<String> = terms(language, &query.text).into_iter().collect();
    let mut found: Vec<Hit> = Vec::new();
    for (mut hit, heading) in seen {
        let words = terms(language, &format!("{heading} {}", hit.text));
        let words: BTreeSet<String> = words.into_iter().collect();
        let shared = wanted.intersection(&words).count();
        if shared == 0 {
            continue;
        }
        hit.coverage = shared as f32 / wanted.len() as f32;
        hit.score = hit.coverage + 1.0 / (8.0 + words.len() as f32);
        hit.signals = query.explain.then_some(Signals {
            lexical: hit.score,
            terms: shared as u32,
            cosine: None,
            fused: hit.score,
            context: 0.0,
        });
        found.push(hit);
    }
    found.sort_by(|a, b| {
        b.score
            .total_cmp(&a.score)
            .then_with(|| a.source.cmp(&b.source))
    });
    found.truncate(limit);
    found
}

#[async_trait]
impl MemoryStore for Notebook {
    async fn recall(&self, tenant: TenantId, query: Recall) -> Result<Vec<Hit>> {
        let (page, talk, now) = (
            self.page(tenant),
            Conversations::read(&self.store, tenant).await?,
            self.clock.now(),
        );
        let in_time = |at: &Timestamp| query.when.as_ref().is_none_or(|when| when.contains(at));
        let mut hits = Vec::new();
        for (scope, limit) in &query.scopes {
            let mut seen: Vec<(Hit, String)> = Vec::new();
            if scope.knowledge {
                let documents = page.documents().into_iter();
                let current = documents.filter(|(of, _)| of.expires_at.is_none_or(|at| now < at));
                seen.extend(current.flat_map(passages));
            }
            if scope.facts {
                let facts = page.facts().filter(|fact| {
                    let holds = fact.holds_at(now) && in_time(&fact.known_from);
                    holds && talk.sees_fact(&query.audience, fact)
                });
                seen.extend(facts.map(|fact| (rules::fact(fact.clone()), String::new())));
            }
            if scope.history {
                let lines = talk.lines.iter().filter(|line| {
                    in_time(&line.said.at) && talk.sees(&query.audience, line.conversation, false)
                });
                let hit = |line: &Line| rules::message(line.source, line.said.clone());
                seen.extend(lines.map(|line| (hit(line), line.said.name.clone())));
            }
            hits.extend(best(page.language, &query, seen, *limit));
        }
        for hit in &mut hits {
            let at = talk.lines.iter().position(|line| line.source == hit.source);
            let Some(at) = at else { continue };
            let beside = at.checked_sub(1).into_iter().chain([at + 1]);
            let beside = beside.filter_map(|beside| talk.lines.get(beside));
            let beside = beside.filter(|line| line.conversation == talk.lines[at].conversation);
            let neighbour = |line: &Line| Neighbour {
                source: line.source,
                text: line.said.text.clone(),
            };
            hit.neighbours = beside.map(neighbour).collect();
        }
        Ok(hits)
    }

    async fn fetch(&self, tenant: TenantId, sources: &[Source]) -> Result<Vec<Option<Hit>>> {
        let (page, talk) = (
            self.page(tenant),
            Conversations::read(&self.store, tenant).await?,
        );
        let fetch = |source: &Source| match *source {
            Source::Document { id, version, chunk } => {
                let mut passages = passages(page.version(id, version)?).into_iter();
                passages.nth(chunk as usize).map(|(hit, _)| hit)
            }
            Source::Fact { id } => page
                .facts()
                .find(|fact| fact.id == id)
                .cloned()
                .map(rules::fact),
            other => talk
                .line(other)
                .map(|line| rules::message(other, line.said.clone())),
        };
        Ok(sources.iter().map(fetch).collect())
    }

    async fn mark(&self, tenant: TenantId) -> Result<Mark> {
        Ok(Mark(self.page(tenant).erased.len() as u64))
    }

    async fn set_language(&self, tenant: TenantId, language: Language) -> Result<()> {
        self.keep(tenant, Remembered::Language { language });
        Ok(())
    }

    async fn rebuild(&self, _: TenantId) -> Result<()> {
        Ok(())
    }

    async fn catch_up(&self, _: TenantId) -> Result<()> {
        Ok(())
    }

    async fn progress(&self, tenant: TenantId) -> Result<IndexProgress> {
        let (page, talk) = (
            self.page(tenant),
            Conversations::read(&self.store, tenant).await?,
        );
        let taught: usize = page
            .documents()
            .into_iter()
            .map(|of| passages(of).len())
            .sum();
        let records = self.store.feed(tenant, 0, usize::MAX).await?.len() as u64;
        let passages = talk.said + (taught + page.facts().count()) as u64;
        Ok(IndexProgress {
            indexed: records,
            records,
            passages,
            embedded: passages,
        })
    }
}

#[async_trait]
impl MemoryArchive for Notebook {
    async fn export_memory(
        &self,
        tenant: TenantId,
    ) -> Result<BoxStream<'static, Result<Remembered>>> {
        let Page {
            language, items, ..
        } = self.page(tenant);
        let language =
            (language != Language::default()).then_some(Remembered::Language { language });
        let items = language.into_iter().chain(items.into_values());
        Ok(stream::iter(items.map(Ok)).boxed())
    }

    async fn import_memory(&self, tenant: TenantId, items: Vec<Remembered>) -> Result<()> {
        let mut page = self.page(tenant);
        for item in items {
            let persons = match &item {
                Remembered::Fact { fact } => &*fact.persons,
                Remembered::Summary { summary } => &summary.persons,
                _ => &[],
            };
            let known = persons
                .iter()
                .all(|person| self.store.knows(tenant, *person));
            if !known || page.keep(item) {
                return Err(conflict(
                    "it is there already, or names somebody who is not known",
                ));
            }
        }
        self.pages().insert(tenant, page);
        Ok(())
    }

    async fn forget(&self, tenant: TenantId, what: Erase, depth: Depth) -> Result<ErasureReceipt> {
        let mut receipt = self.store.erase(tenant, what, depth).await?;
        let mut pages = self.pages();
        if what == Erase::Tenant {
            pages.remove(&tenant);
            return Ok(receipt);
        }
        let page = pages.entry(tenant).or_default();
        let before = page.facts().count();
        for item in std::mem::take(&mut page.items).into_values() {
            if let Some(left) = rules::after(item, &what) {
                page.keep(left);
            }
        }
        receipt.facts = (before - page.facts().count()) as u64;
        page.erased.extend(match what {
            Erase::Person { person } => Some(*person.as_bytes()),
            Erase::Conversation { conversation } | Erase::Message { conversation, .. } => {
                Some(*conversation.as_bytes())
            }
            _ => None,
        });
        Ok(receipt)
    }
}

fn conflict(why: &str) -> Error {
    Error::new(ErrorKind::Conflict, why)
}

#[async_trait]
impl KnowledgeStore for Notebook {
    async fn put_document(&self, tenant: TenantId, new: NewDocument) -> Result<Document> {
        let (text, page) = (read_document(&new)?, self.page(tenant));
        let mut documents = page.documents().into_iter();
        let before = documents.find(|(known, _)| known.title == new.title.trim());
        let mut document = new.version(before.map(|(known, _)| known), self.clock.now());
        document.chunks = chunks(new.format, &text).len() as u32;
        self.keep(
            tenant,
            Remembered::Document {
                document: document.clone(),
                text,
            },
        );
        Ok(document)
    }

    async fn documents(&self, tenant: TenantId) -> Result<Vec<Document>> {
        let page = self.page(tenant);
        let newest = page
            .documents()
            .into_iter()
            .map(|(document, _)| document.clone());
        let mut documents: Vec<Document> = newest.collect();
        documents.sort_by_key(|document| std::cmp::Reverse((document.updated_at, document.id)));
        Ok(documents)
    }

    async fn document(
        &self,
        tenant: TenantId,
        id: DocumentId,
        version: Option<u32>,
    ) -> Result<Option<(Document, String)>> {
        let page = self.page(tenant);
        let newest = page
            .documents()
            .into_iter()
            .find(|(document, _)| document.id == id);
        let version = version.or(newest.map(|(document, _)| document.version));
        let found = version.and_then(|version| page.version(id, version));
        Ok(found.map(|(document, text)| (document.clone(), text.to_owned())))
    }

    async fn delete_document(&self, tenant: TenantId, id: DocumentId) -> Result<bool> {
        let mut pages = self.pages();
        let items = &mut pages.entry(tenant).or_default().items;
        let before = items.len();
        items.retain(|_, item| item.document() != Some(id));
        Ok(items.len() < before)
    }

    async fn unanswered(&self, tenant: TenantId, limit: usize) -> Result<Vec<Unanswered>> {
        let mut found = Conversations::read(&self.store, tenant).await?.unanswered;
        found.truncate(limit);
        Ok(found)
    }
}

#[async_trait]
impl FactStore for Notebook {
    async fn remember(&self, tenant: TenantId, new: NewFact) -> Result<Fact> {
        let grounds = Conversations::read(&self.store, tenant)
            .await?
            .grounds(&new);
        let fact = rules::grounded(&new, &grounds, self.clock.now())?;
        let of = (fact.sources[0].conversation, &*fact.persons);
        if !self.may_keep(tenant, of, new.mark) {
            return Err(conflict("names somebody who is not known, or was erased"));
        }
        self.keep(tenant, Remembered::Fact { fact: fact.clone() });
        Ok(fact)
    }

    async fn supersede(
        &self,
        tenant: TenantId,
        old: FactId,
        new: Option<NewFact>,
    ) -> Result<Option<Fact>> {
        let page = self.page(tenant);
        let known = page.facts().find(|fact| fact.id == old).cloned();
        let mut known = known.ok_or_else(|| Error::not_found("fact"))?;
        if known.valid_to.is_some() {
            return Err(conflict("the fact was superseded before"));
        }
        let fact = match new {
            Some(new) => Some(self.remember(tenant, new).await?),
            None => None,
        };
        known.valid_to = Some(self.clock.now());
        known.superseded_by = fact.as_ref().map(|fact| fact.id);
        self.keep(tenant, Remembered::Fact { fact: known });
        Ok(fact)
    }

    async fn facts(&self, tenant: TenantId, query: Facts) -> Result<Vec<Fact>> {
        let (page, talk) = (
            self.page(tenant),
            Conversations::read(&self.store, tenant).await?,
        );
        let when = query.as_of.unwrap_or_else(|| self.clock.now());
        let about = |fact: &Fact| query.about.is_none_or(|person| fact.about == Some(person));
        let seen = |fact: &&Fact| talk.sees_fact(&query.audience, fact);
        let facts = page
            .facts()
            .filter(|fact| fact.holds_at(when) && about(fact));
        let mut facts: Vec<Fact> = facts.filter(seen).cloned().collect();
        facts.sort_by_key(|fact| std::cmp::Reverse((fact.known_from, fact.id)));
        Ok(facts)
    }
}

#[async_trait]
impl SummaryStore for Notebook {
    async fn summary(&self, tenant: TenantId, of: ConversationId) -> Result<Option<Summary>> {
        Ok(self.page(tenant).summary(of).cloned())
    }

    async fn put_summary(&self, tenant: TenantId, new: NewSummary) -> Result<bool> {
        let page = self.page(tenant);
        let known = page.summary(new.conversation);
        let of = (new.conversation, &*new.persons);
        let kept = self.may_keep(tenant, of, Some(new.mark));
        if !kept || known.is_some_and(|known| known.to >= new.to) {
            return Ok(false);
        }
        let summary = new.made_at(self.clock.now());
        self.keep(tenant, Remembered::Summary { summary });
        Ok(true)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    memory_suite(async || {
        let clock = VirtualClock::new(Timestamp::from_secs(1_794_657_600));
        let store = ReferenceStore::new(Arc::new(clock.clone()));
        let notebook = Notebook {
            store: store.clone(),
            clock: clock.clone(),
            pages: Arc::default(),
        };
        MemorySubject {
            store: Arc::new(store),
            memory: Arc::new(notebook),
            clock,
        }
    })
    .await;
    println!("The notebook passes all {} cases.", MEMORY_CASES.len());
}
