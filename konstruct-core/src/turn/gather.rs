//! Gathering: selects the part of the history that the model is shown, and recalls passages from memory.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    AttachmentContent, AttachmentRef, Cited, Entry, Event, Gathered, Input, OpenItem, Quote,
    Recalled, State, attachment, driver::Driver, prompt, quote,
};
use crate::{
    Audience, Employee, Hit, MemoryStore, PersonId, Recall, Result,
    directory::Staff,
    llm::Media,
    memory::{ChannelRef, Scope, Source},
    message::{ActorKind, ConversationKind},
    store::{Claim, Store, Stored},
};

/// The most earlier messages and facts that a model is shown.
const HISTORY: usize = 4;
const FACTS: usize = 6;
/// The number of records read at a time while the size of the window is measured.
const PAGE: u64 = 64;
/// The most records of an earlier turn that are read for its question.
const LARGEST_QUESTION: u64 = 256;

/// What the model is shown besides the turn itself: the texts that a [`Gathered`] refers to.
#[derive(Clone, Debug, Default)]
pub struct Material {
    /// The records of earlier turns in the window.
    pub window: Vec<Stored>,
    /// What was recalled.
    pub recalled: Recalled,
    /// The inputs of the earlier turn whose question is answered now.
    pub question: Vec<Input>,
    /// What was found in the attachments of that question.
    pub readings: BTreeMap<AttachmentRef, AttachmentContent>,
    /// The images of the turn and of that question, which the model is shown.
    pub images: BTreeMap<AttachmentRef, Media>,
    /// The messages that the inputs quote, by the provider's id.
    pub quotes: Vec<(String, Quote)>,
}

impl Driver {
    /// Selects what the model will be shown. `turn_from` is the index of the turn's first record.
    pub(super) async fn gather(
        &self,
        claim: &Claim,
        staff: &Staff,
        state: &State,
        turn_from: u64,
    ) -> Result<(Gathered, Material)> {
        let employee = &staff.employee;
        let (window_from, window) = window(&*self.store, claim, employee, turn_from).await?;
        let (question, readings) = self.question(claim, state.question()).await?;
        let mut persons: BTreeSet<PersonId> = window
            .iter()
            .filter(|stored| prompt::weight(stored).0 > 0)
            .filter_map(|stored| stored.record.as_ref())
            .flat_map(|record| record.persons.iter().copied())
            .collect();
        persons.extend(question.iter().flat_map(|input| &input.persons));
        let quotes = quote::find(&*self.store, claim, (state.inputs(), &window), turn_from).await?;
        persons.extend(quotes.iter().flat_map(|found| &found.persons));
        let mut gathered = Gathered {
            window_from,
            persons,
            quoted: quotes.iter().map(|found| found.at.clone()).collect(),
            ..Gathered::default()
        };
        let mut material = Material {
            window,
            question,
            readings,
            quotes: quotes
                .into_iter()
                .map(|found| (found.at.message, found.quote))
                .collect(),
            ..Material::default()
        };
        let asked = [
            prompt::question(&material.question),
            prompt::question(state.inputs()),
            prompt::heard(material.readings.values().chain(state.readings().values())),
        ];
        let text = asked.join("\n");
        let Some(memory) = self.memory.as_deref().filter(|_| !text.trim().is_empty()) else {
            return Ok((gathered, material));
        };
        let query = Recall::new(text, audience(state), Scope::KNOWLEDGE)
            .with_limit(staff.model.describe().passages)
            .and(Scope::FACTS, FACTS)
            .and(Scope::HISTORY, HISTORY);
        let query = Recall {
            call: format!("{}.q", state.turn()),
            ..query
        };
        let (mut knowledge, mut facts, mut history) = (Vec::new(), Vec::new(), Vec::new());
        for hit in memory.recall(claim.tenant, query).await? {
            // A memory other than the store may forget later than the store does.
            if state.has_forgotten(&hit.persons) {
                continue;
            }
            match hit.source {
                Source::Document { .. } => knowledge.push(hit),
                Source::Fact { .. } => facts.push(hit),
                // Messages in the window are not recalled again.
                Source::Message {
                    conversation,
                    index,
                } if conversation == claim.conversation && index >= window_from => {}
                _ => history.push(hit),
            }
        }
        let summary = if window_from > 0 {
            memory.summary(claim.tenant, claim.conversation).await?
        } else {
            None
        }
        // A summary without text only records how far the log was learned from.
        .filter(|summary| !summary.text.is_empty() && !state.has_forgotten(&summary.persons));
        let hits = facts.iter().chain(&history);
        gathered.persons.extend(hits.flat_map(|hit| &hit.persons));
        gathered
            .persons
            .extend(summary.iter().flat_map(|summary| &summary.persons));
        gathered.knowledge = cited(&knowledge);
        gathered.history = cited(&history);
        gathered.facts = cited(&facts);
        gathered.summary = summary.as_ref().map(|summary| summary.to);
        material.recalled = Recalled {
            knowledge: covered(knowledge),
            history: covered(history),
            facts: covered(facts),
            summary: summary.map(|summary| summary.text),
        };
        Ok((gathered, material))
    }

    /// Reads what an earlier process gathered for this turn.
    pub(super) async fn gathered(
        &self,
        claim: &Claim,
        state: &State,
        turn_from: u64,
    ) -> Result<Material> {
        let Some(gathered) = state.gathered() else {
            return Ok(Material::default());
        };
        let shown = gathered.window_from..turn_from;
        let (question, readings) = self.question(claim, state.question()).await?;
        let mut material = Material {
            window: self
                .store
                .read_said(claim.tenant, claim.conversation, shown)
                .await?,
            question,
            readings,
            quotes: quote::read(&*self.store, claim, &gathered.quoted).await?,
            ..Material::default()
        };
        let Some(memory) = self.memory.as_deref() else {
            return Ok(material);
        };
        let summary = match gathered.summary {
            // A later summary also covers the records of this one.
            Some(_) => memory.summary(claim.tenant, claim.conversation).await?,
            None => None,
        };
        material.recalled = Recalled {
            knowledge: fetch(memory, claim, &gathered.knowledge).await?,
            history: fetch(memory, claim, &gathered.history).await?,
            facts: fetch(memory, claim, &gathered.facts).await?,
            summary: summary.map(|summary| summary.text),
        };
        Ok(material)
    }

    /// Reads the inputs of the turn that an open question belongs to, and what was found in their attachments.
    async fn question(
        &self,
        claim: &Claim,
        item: Option<&OpenItem>,
    ) -> Result<(Vec<Input>, BTreeMap<AttachmentRef, AttachmentContent>)> {
        let Some(item) = item else {
            return Ok(Default::default());
        };
        let range = item.record..item.record + LARGEST_QUESTION;
        let records = self
            .store
            .read(claim.tenant, claim.conversation, range)
            .await?;
        let turn = records
            .first()
            .and_then(|first| Some(first.record.as_ref()?.turn));
        let (mut inputs, mut readings) = (Vec::new(), BTreeMap::new());
        let records = records.into_iter().filter_map(|stored| stored.record);
        for record in records.take_while(|record| Some(record.turn) == turn) {
            if let Entry::Event(Event::Received(input)) = &record.entry {
                inputs.push(Input::clone(input));
            } else if let Some((at, content)) = attachment::reading(&record) {
                readings.insert(at, content.into_owned());
            }
        }
        Ok((inputs, readings))
    }
}

/// Returns who will read the reply: the one person of a direct conversation, or everyone in the channel.
fn audience(state: &State) -> Audience {
    let humans = state
        .inputs()
        .iter()
        .filter(|input| input.event.sender.kind == ActorKind::Human);
    let mut persons: BTreeSet<PersonId> = humans.flat_map(|input| input.persons.clone()).collect();
    persons.extend(state.conversation().person);
    let started = state.started();
    let direct = started.conversation.kind == ConversationKind::Direct;
    match persons.iter().next() {
        Some(person) if direct && persons.len() == 1 => Audience::Person { person: *person },
        _ => Audience::Channel {
            channel: ChannelRef::of(started.connection, &started.conversation),
        },
    }
}

/// Reads the history that fits into the employee's window, and returns the index of its first record.
async fn window(
    store: &dyn Store,
    claim: &Claim,
    employee: &Employee,
    turn_from: u64,
) -> Result<(u64, Vec<Stored>)> {
    let (mut messages, mut tokens) = (0_u32, 0_u32);
    let (mut from, mut window) = (turn_from, Vec::new());
    while from > 0 {
        let page = from.saturating_sub(PAGE)..from;
        let page = store
            .read_said(claim.tenant, claim.conversation, page)
            .await?;
        for stored in page.into_iter().rev() {
            let (count, size) = prompt::weight(&stored);
            messages = messages.saturating_add(count);
            tokens = tokens.saturating_add(size);
            if messages > employee.limits.window_messages || tokens > employee.limits.window_tokens
            {
                window.reverse();
                return Ok((stored.index + 1, window));
            }
            window.push(stored);
        }
        from = from.saturating_sub(PAGE);
    }
    window.reverse();
    Ok((0, window))
}

fn covered(hits: Vec<Hit>) -> Vec<(Hit, f32)> {
    let covered = |hit: Hit| {
        let coverage = hit.coverage;
        (hit, coverage)
    };
    hits.into_iter().map(covered).collect()
}

fn cited(hits: &[Hit]) -> Vec<Cited> {
    let cited = |hit: &Hit| Cited {
        source: hit.source,
        coverage: hit.coverage,
    };
    hits.iter().map(cited).collect()
}

async fn fetch(
    memory: &dyn MemoryStore,
    claim: &Claim,
    cited: &[Cited],
) -> Result<Vec<(Hit, f32)>> {
    if cited.is_empty() {
        return Ok(Vec::new());
    }
    let sources: Vec<Source> = cited.iter().map(|cited| cited.source).collect();
    let hits = memory.fetch(claim.tenant, &sources).await?;
    Ok(hits
        .into_iter()
        .zip(cited)
        .filter_map(|(hit, cited)| Some((hit?, cited.coverage)))
        .collect())
}
