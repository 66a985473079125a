//! A memory of your own: it looks through everything for every question, and passes the suite that every memory has to pass.
//!
//! What was said is the journal's, and read from there; the notebook keeps what was taught, learned and summed up.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream, stream::BoxStream};
use konstruct_core::{
    Audience, Clock as _, ConnectionId, ConversationId, ConversationKind, Depth, Document,
    DocumentId, Erase, ErasureReceipt, Error, ErrorKind, Fact, FactId, FactStore, Facts, Hit,
    IndexProgress, KnowledgeStore, Language, MemoryStore, Neighbour, NewDocument, NewFact,
    PersonId, Recall, Remembered, Result, Signals, Source, Summary, SummaryStore, TenantId,
    Timestamp, Unanswered,
    testkit::{MEMORY_CASES, MemoryJournal, MemorySubject, VirtualClock, memory_suite},
    turn::{Entry, Event, Journal as _, Record, Said, holds, replaced, said},
};
use konstruct_memory::{chunks, extract, terms};

/// A memory without an index.
#[derive(Clone, Debug)]
struct Notebook {
    journal: MemoryJournal,
    clock: VirtualClock,
    pages: Arc<Mutex<HashMap<TenantId, Page>>>,
}

/// What is kept of a tenant.
#[derive(Clone, Debug, Default)]
struct Page {
    language: Language,
    documents: BTreeMap<(DocumentId, u32), (Document, String)>,
    facts: BTreeMap<FactId, Fact>,
    summaries: BTreeMap<ConversationId, Summary>,
    /// When persons, and parts of conversations, were erased.
    persons_erased: HashMap<PersonId, Timestamp>,
    erased: HashMap<ConversationId, Timestamp>,
}

/// Something that was said, and where.
#[derive(Clone, Debug)]
struct Line {
    conversation: ConversationId,
    index: u64,
    said: Said,
}

/// A channel: its connection and what the provider calls it.
type Channel = (ConnectionId, String);

/// A tenant's conversations, as they read now.
#[derive(Default)]
struct History {
    lines: Vec<Line>,
    channels: HashMap<ConversationId, Channel>,
    /// Who was heard in a channel; `None` where others may listen.
    company: HashMap<Channel, Option<BTreeSet<PersonId>>>,
    unanswered: Vec<Unanswered>,
    passages: u64,
}

impl Line {
    fn source(&self) -> Source {
        Source::Message {
            conversation: self.conversation,
            index: self.index,
        }
    }
}

impl History {
    fn take(&mut self, conversation: ConversationId, index: u64, record: &Record) {
        if let Some(said) = said(record) {
            self.lines.push(Line {
                conversation,
                index,
                said,
            });
        }
    }

    /// Who is alone with the employee in a channel.
    fn alone(&self, channel: &Channel) -> Option<PersonId> {
        let heard = self.company.get(channel)?.as_ref()?;
        (heard.len() == 1).then(|| heard.first().copied()).flatten()
    }

    /// Whether an audience may see what belongs to another.
    fn sees(&self, eye: Audience, owner: Audience) -> bool {
        let channel = |of: &ConversationId| self.channels.get(of);
        match (eye, owner) {
            (_, Audience::Tenant) => true,
            (Audience::Person { person }, Audience::Person { person: of }) => person == of,
            (
                Audience::Person { person },
                Audience::Conversation { conversation } | Audience::Channel { conversation },
            ) => {
                let alone = channel(&conversation).and_then(|channel| self.alone(channel));
                alone == Some(person)
            }
            (
                Audience::Conversation { conversation },
                Audience::Conversation { conversation: of },
            ) => conversation == of,
            (
                Audience::Channel { conversation },
                Audience::Conversation { conversation: of }
                | Audience::Channel { conversation: of },
            ) => channel(&of).is_some() && channel(&conversation) == channel(&of),
            _ => false,
        }
    }
}

impl Notebook {
    fn new(journal: MemoryJournal, clock: VirtualClock) -> Self {
        Self {
            journal,
            clock,
            pages: Arc::default(),
        }
    }

    fn pages(&self) -> MutexGuard<'_, HashMap<TenantId, Page>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn page(&self, tenant: TenantId) -> Page {
        self.pages().get(&tenant).cloned().unwrap_or_default()
    }

    /// Reads a tenant's conversations.
    async fn history(&self, tenant: TenantId) -> Result<History> {
        let mut history = History::default();
        let all = self.journal.conversations(tenant, None, usize::MAX).await?;
        for conversation in all {
            let channel = (conversation.connection, conversation.place.id.clone());
            history.channels.insert(conversation.id, channel.clone());
            let direct = conversation.place.kind == ConversationKind::Direct;
            let heard = history.company.remove(&channel);
            let mut company = heard
                .unwrap_or_else(|| Some(BTreeSet::new()))
                .filter(|_| direct);
            let log = self
                .journal
                .read(tenant, conversation.id, 0..u64::MAX)
                .await?;
            let records = log
                .iter()
                .filter_map(|stored| Some((stored.index, stored.record.as_ref()?)));
            let records: Vec<(u64, &Record)> = records.collect();
            for (index, record) in &records {
                if let (Some(company), Some(said)) = (company.as_mut(), said(record)) {
                    company.extend(&said.speakers);
                }
                let nothing = matches!(&record.entry, Entry::Event(Event::Gathered(gathered))
                    if gathered.knowledge.iter().all(|cited| cited.coverage < 0.3));
                let asked = records.iter().rev().find(|(at, _)| at < index);
                if let Some((at, said)) = asked
                    .filter(|_| nothing)
                    .and_then(|(at, record)| Some((*at, said(record)?)))
                {
                    history.unanswered.push(Unanswered {
                        conversation: conversation.id,
                        index: at,
                        text: said.text,
                        at: said.at,
                    });
                }
                let later = || records.iter().filter(|(at, _)| at > index);
                let taken_back = later()
                    .flat_map(|(_, later)| replaced(later))
                    .any(|id| holds(record, id));
                if said(record).is_some() {
                    history.passages += 1;
                    if !taken_back {
                        history.take(conversation.id, *index, record);
                    }
                }
            }
            history.company.insert(channel, company);
        }
        history
            .unanswered
            .sort_by_key(|one| std::cmp::Reverse(one.at));
        Ok(history)
    }

    /// Checks a new fact and writes it down.
    async fn keep(&self, tenant: TenantId, new: NewFact) -> Result<Fact> {
        let characters = new.text.chars().count();
        if new.text.trim().is_empty() || characters > 1000 {
            return Err(Error::invalid("text", "has 1 to 1,000 characters"));
        }
        if new.sources.is_empty() {
            return Err(Error::invalid("sources", "a fact has a source"));
        }
        let history = self.history(tenant).await?;
        let mut persons: BTreeSet<PersonId> = new.about.into_iter().collect();
        if let Audience::Person { person } = new.audience {
            persons.insert(person);
        }
        let mut first: Option<Timestamp> = None;
        for (n, quote) in new.sources.iter().enumerate() {
            let line = history
                .lines
                .iter()
                .find(|line| (line.conversation, line.index) == (quote.conversation, quote.index));
            let refuse = |what: &str, why| Error::invalid(&format!("sources[{n}]{what}"), why);
            let line = line.ok_or_else(|| refuse("", "there is no such message"))?;
            let wanted = plain(&quote.quote);
            if wanted.is_empty() || !plain(&line.said.text).contains(&wanted) {
                return Err(refuse(".quote", "does not stand in the message"));
            }
            let conversation = line.conversation;
            let own = history.sees(new.audience, Audience::Conversation { conversation });
            let speaks = matches!(new.audience, Audience::Person { person }
                if line.said.speakers.contains(&person));
            if !own && !speaks {
                return Err(refuse("", "the audience may not see this message"));
            }
            persons.extend(&line.said.persons);
            first = Some(first.map_or(line.said.at, |first| first.min(line.said.at)));
        }
        let now = self.clock.now();
        let fact = Fact {
            id: FactId::new(),
            text: new.text,
            topic: new.topic,
            audience: new.audience,
            about: new.about,
            sources: new.sources,
            persons: persons.into_iter().collect(),
            known_from: now,
            valid_from: new.valid_from.or(first).unwrap_or(now),
            valid_to: None,
            expires_at: new.expires_at,
            superseded_by: None,
        };
        let mut pages = self.pages();
        let page = pages.entry(tenant).or_default();
        page.facts.insert(fact.id, fact.clone());
        Ok(fact)
    }
}

fn plain(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    words.join(" ")
}

fn conflict(what: &str) -> Error {
    Error::new(ErrorKind::Conflict, what)
}

fn line_hit(line: &Line) -> Hit {
    Hit {
        name: line.said.name.clone(),
        said_by: Some(line.said.by),
        persons: line.said.persons.iter().copied().collect(),
        ..Hit::new(line.source(), line.said.text.clone(), line.said.at)
    }
}

fn fact_hit(fact: &Fact) -> Hit {
    let source = |quote: &konstruct_core::Quote| Source::Message {
        conversation: quote.conversation,
        index: quote.index,
    };
    Hit {
        persons: fact.persons.clone(),
        learned_from: fact.sources.iter().map(source).collect(),
        ..Hit::new(
            Source::Fact { id: fact.id },
            fact.text.clone(),
            fact.known_from,
        )
    }
}

impl Page {
    /// The passages of a version of a document, with what is searched besides the text.
    fn passages(&self, id: DocumentId, version: u32) -> Vec<(Hit, String)> {
        let Some((document, text)) = self.documents.get(&(id, version)) else {
            return Vec::new();
        };
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

    /// The newest version of each document.
    fn newest(&self) -> BTreeMap<DocumentId, u32> {
        self.documents.keys().copied().collect()
    }
}

#[async_trait]
impl MemoryStore for Notebook {
    async fn recall(&self, tenant: TenantId, query: Recall) -> Result<Vec<Hit>> {
        let (page, history, now) = (
            self.page(tenant),
            self.history(tenant).await?,
            self.clock.now(),
        );
        let in_time = |at: &Timestamp| query.when.as_ref().is_none_or(|when| when.contains(at));
        let mut seen: Vec<(Hit, String)> = Vec::new();
        if query.scope.knowledge {
            for (id, version) in page.newest() {
                let expires = page.documents[&(id, version)].0.expires_at;
                if expires.is_none_or(|at| now < at) {
                    seen.extend(page.passages(id, version));
                }
            }
        }
        if query.scope.facts {
            let facts = page.facts.values().filter(|fact| {
                fact.holds_at(now)
                    && in_time(&fact.known_from)
                    && history.sees(query.audience, fact.audience)
            });
            seen.extend(facts.map(|fact| (fact_hit(fact), String::new())));
        }
        if query.scope.history {
            let lines = history.lines.iter().filter(|line| {
                let conversation = line.conversation;
                let owner = Audience::Conversation { conversation };
                in_time(&line.said.at) && history.sees(query.audience, owner)
            });
            seen.extend(lines.map(|line| (line_hit(line), line.said.name.clone())));
        }
        let wanted: BTreeSet<String> = terms(page.language, &query.text).into_iter().collect();
        let mut found: Vec<Hit> = Vec::new();
        for (mut hit, heading) in seen {
            let text = format!("{heading} {}", hit.text);
            let words: BTreeSet<String> = terms(page.language, &text).into_iter().collect();
            let shared = wanted.intersection(&words).count();
            if shared == 0 {
                continue;
            }
            hit.coverage = shared as f32 / wanted.len() as f32;
            // Of two that hold as much, the shorter says it more plainly.
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
        found.truncate(query.limit);
        for hit in &mut found {
            if let Source::Message { conversation, .. } = hit.source {
                let log: Vec<&Line> = history
                    .lines
                    .iter()
                    .filter(|line| line.conversation == conversation)
                    .collect();
                let at = log.iter().position(|line| line.source() == hit.source);
                let at = at.unwrap_or_default();
                let beside = at.checked_sub(1).into_iter().chain([at + 1]);
                let beside = beside.filter_map(|at| log.get(at));
                hit.neighbours = beside
                    .map(|line| Neighbour {
                        source: line.source(),
                        text: line.said.text.clone(),
                    })
                    .collect();
            }
        }
        Ok(found)
    }

    async fn fetch(&self, tenant: TenantId, sources: &[Source]) -> Result<Vec<Option<Hit>>> {
        let (page, history) = (self.page(tenant), self.history(tenant).await?);
        let fetched = sources.iter().map(|source| match *source {
            Source::Document { id, version, chunk } => {
                let mut passages = page.passages(id, version).into_iter();
                passages.nth(chunk as usize).map(|(hit, _)| hit)
            }
            Source::Fact { id } => page.facts.get(&id).map(fact_hit),
            other => {
                let mut lines = history.lines.iter();
                lines.find(|line| line.source() == other).map(line_hit)
            }
        });
        Ok(fetched.collect())
    }

    async fn set_language(&self, tenant: TenantId, language: Language) -> Result<()> {
        self.pages().entry(tenant).or_default().language = language;
        Ok(())
    }

    async fn rebuild(&self, _: TenantId) -> Result<()> {
        Ok(())
    }

    async fn catch_up(&self, _: TenantId) -> Result<()> {
        Ok(())
    }

    async fn progress(&self, tenant: TenantId) -> Result<IndexProgress> {
        let (page, history) = (self.page(tenant), self.history(tenant).await?);
        let newest = page.newest().into_iter();
        let documents: usize = newest
            .map(|(id, version)| page.passages(id, version).len())
            .sum();
        let passages = history.passages + documents as u64 + page.facts.len() as u64;
        let records = self.journal.feed(tenant, 0, usize::MAX).await?.len() as u64;
        Ok(IndexProgress {
            indexed: records,
            records,
            passages,
            embedded: passages,
        })
    }

    async fn forget(&self, tenant: TenantId, what: Erase, depth: Depth) -> Result<ErasureReceipt> {
        let mut receipt =
            konstruct_core::turn::Journal::erase(&self.journal, tenant, what, depth).await?;
        let mut pages = self.pages();
        let page = pages.entry(tenant).or_default();
        let before = page.facts.len();
        match what {
            Erase::Tenant => {
                pages.remove(&tenant);
                return Ok(receipt);
            }
            Erase::Person { person } => {
                page.facts.retain(|_, fact| !fact.persons.contains(&person));
                page.summaries
                    .retain(|_, summary| !summary.persons.contains(&person));
                page.persons_erased.insert(person, receipt.at);
            }
            Erase::Conversation { conversation } | Erase::Message { conversation, .. } => {
                let index = match what {
                    Erase::Message { index, .. } => Some(index),
                    _ => None,
                };
                for fact in page.facts.values_mut() {
                    fact.sources.retain(|source| {
                        source.conversation != conversation
                            || index.is_some_and(|index| source.index != index)
                    });
                }
                page.facts.retain(|_, fact| !fact.sources.is_empty());
                page.summaries.remove(&conversation);
                page.erased.insert(conversation, receipt.at);
            }
            _ => return Err(Error::new(ErrorKind::Unsupported, "cannot be erased")),
        }
        receipt.facts = (before - page.facts.len()) as u64;
        Ok(receipt)
    }

    async fn export_memory(
        &self,
        tenant: TenantId,
    ) -> Result<BoxStream<'static, Result<Remembered>>> {
        let page = self.page(tenant);
        let mut items = Vec::new();
        if page.language != Language::default() {
            let language = page.language;
            items.push(Remembered::Language { language });
        }
        let documents = page.documents.into_values();
        items.extend(documents.map(|(document, text)| Remembered::Document { document, text }));
        items.extend(
            page.facts
                .into_values()
                .map(|fact| Remembered::Fact { fact }),
        );
        let summaries = page.summaries.into_values();
        items.extend(summaries.map(|summary| Remembered::Summary { summary }));
        Ok(stream::iter(items.into_iter().map(Ok)).boxed())
    }

    async fn import_memory(&self, tenant: TenantId, items: Vec<Remembered>) -> Result<()> {
        let mut pages = self.pages();
        let mut page = pages.get(&tenant).cloned().unwrap_or_default();
        for item in items {
            let there = match item {
                Remembered::Language { language } => {
                    page.language = language;
                    false
                }
                Remembered::Document { document, text } => {
                    let key = (document.id, document.version);
                    page.documents.insert(key, (document, text)).is_some()
                }
                Remembered::Fact { fact } => page.facts.insert(fact.id, fact).is_some(),
                Remembered::Summary { summary } => page
                    .summaries
                    .insert(summary.conversation, summary)
                    .is_some(),
                _ => return Err(Error::new(ErrorKind::Unsupported, "cannot be imported")),
            };
            if there {
                return Err(conflict("something with this id is there already"));
            }
        }
        pages.insert(tenant, page);
        Ok(())
    }
}

#[async_trait]
impl KnowledgeStore for Notebook {
    async fn put_document(&self, tenant: TenantId, mut new: NewDocument) -> Result<Document> {
        new.title = new.title.trim().to_owned();
        if !(1..=200).contains(&new.title.chars().count()) {
            return Err(Error::invalid("title", "has 1 to 200 characters"));
        }
        let text = extract(new.format, &new.content)?;
        if text.trim().is_empty() || text.len() > 1 << 20 {
            return Err(Error::invalid("content", "has no text, or more than 1 MiB"));
        }
        let mut pages = self.pages();
        let page = pages.entry(tenant).or_default();
        let known = page
            .documents
            .values()
            .rfind(|(known, _)| known.title == new.title)
            .map(|(known, _)| (known.id, known.version));
        let (id, version) = known.unwrap_or_else(|| (DocumentId::new(), 0));
        let document = Document {
            id,
            title: new.title,
            format: new.format,
            version: version + 1,
            chunks: chunks(new.format, &text).len() as u32,
            updated_at: self.clock.now(),
            url: new.url,
            expires_at: new.expires_at,
        };
        let key = (id, document.version);
        page.documents.insert(key, (document.clone(), text));
        Ok(document)
    }

    async fn documents(&self, tenant: TenantId) -> Result<Vec<Document>> {
        let page = self.page(tenant);
        let newest = page.newest().into_iter();
        let mut documents: Vec<Document> =
            newest.map(|key| page.documents[&key].0.clone()).collect();
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
        let newest = page.newest().get(&id).copied();
        Ok(newest.and_then(|newest| {
            let key = (id, version.unwrap_or(newest));
            page.documents.get(&key).cloned()
        }))
    }

    async fn delete_document(&self, tenant: TenantId, id: DocumentId) -> Result<bool> {
        let mut pages = self.pages();
        let page = pages.entry(tenant).or_default();
        let before = page.documents.len();
        page.documents.retain(|(of, _), _| *of != id);
        Ok(page.documents.len() < before)
    }

    async fn unanswered(&self, tenant: TenantId, limit: usize) -> Result<Vec<Unanswered>> {
        let mut unanswered = self.history(tenant).await?.unanswered;
        unanswered.truncate(limit);
        Ok(unanswered)
    }
}

#[async_trait]
impl FactStore for Notebook {
    async fn remember(&self, tenant: TenantId, fact: NewFact) -> Result<Fact> {
        self.keep(tenant, fact).await
    }

    async fn supersede(
        &self,
        tenant: TenantId,
        old: FactId,
        new: Option<NewFact>,
    ) -> Result<Option<Fact>> {
        let known = self.page(tenant).facts.get(&old).cloned();
        let known = known.ok_or_else(|| Error::not_found("fact"))?;
        if known.valid_to.is_some() {
            return Err(conflict("the fact was superseded before"));
        }
        let fact = match new {
            Some(new) => Some(self.keep(tenant, new).await?),
            None => None,
        };
        let ended = Fact {
            valid_to: Some(self.clock.now()),
            superseded_by: fact.as_ref().map(|fact| fact.id),
            ..known
        };
        let mut pages = self.pages();
        pages.entry(tenant).or_default().facts.insert(old, ended);
        Ok(fact)
    }

    async fn facts(&self, tenant: TenantId, query: Facts) -> Result<Vec<Fact>> {
        let (page, history) = (self.page(tenant), self.history(tenant).await?);
        let when = query.as_of.unwrap_or_else(|| self.clock.now());
        let mut facts: Vec<Fact> = page.facts.into_values().collect();
        facts.retain(|fact| {
            fact.holds_at(when)
                && query.about.is_none_or(|person| fact.about == Some(person))
                && history.sees(query.audience, fact.audience)
        });
        facts.sort_by_key(|fact| std::cmp::Reverse((fact.known_from, fact.id)));
        Ok(facts)
    }
}

#[async_trait]
impl SummaryStore for Notebook {
    async fn summary(&self, tenant: TenantId, of: ConversationId) -> Result<Option<Summary>> {
        Ok(self.page(tenant).summaries.get(&of).cloned())
    }

    async fn put_summary(&self, tenant: TenantId, new: Summary) -> Result<bool> {
        let mut pages = self.pages();
        let page = pages.entry(tenant).or_default();
        let known = page.summaries.get(&new.conversation);
        let erased = page.erased.get(&new.conversation);
        let persons = new
            .persons
            .iter()
            .filter_map(|person| page.persons_erased.get(person));
        let late = erased
            .into_iter()
            .chain(persons)
            .any(|at| *at >= new.made_at);
        if late || known.is_some_and(|known| known.to >= new.to) {
            return Ok(false);
        }
        page.summaries.insert(new.conversation, new);
        Ok(true)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    memory_suite(async || {
        let clock = VirtualClock::new(Timestamp::from_secs(1_794_657_600));
        let journal = MemoryJournal::new(Arc::new(clock.clone()));
        MemorySubject {
            journal: Arc::new(journal.clone()),
            memory: Arc::new(Notebook::new(journal, clock.clone())),
            clock,
        }
    })
    .await;
    println!("The notebook passes all {} cases.", MEMORY_CASES.len());
}
