//! Gathering: which part of the history a turn shows to the model, and what it recalls.

use std::collections::BTreeSet;

use super::{Cited, Claim, Gathered, Journal, Recalled, State, Stored, driver::Driver, prompt};
use crate::{
    ActorKind, Audience, ConversationKind, Employee, Hit, MemoryStore, PersonId, Recall, Result,
    Scope, Source,
};

/// How many passages of knowledge a model is shown, how many earlier messages, and how many facts.
const KNOWLEDGE: usize = 8;
const HISTORY: usize = 4;
const FACTS: usize = 6;
/// How many records are read at once while the window is measured.
const PAGE: u64 = 64;

impl Driver {
    /// Chooses what the model will be shown. `turn_from` is the index of the turn's first record.
    pub(super) async fn gather(
        &self,
        claim: &Claim,
        employee: &Employee,
        state: &State,
        turn_from: u64,
    ) -> Result<Gathered> {
        let window_from = window(&*self.journal, claim, employee, turn_from).await?;
        let text = prompt::question(&state.started().inputs);
        let Some(memory) = self.memory.as_deref().filter(|_| !text.trim().is_empty()) else {
            return Ok(Gathered {
                window_from,
                ..Gathered::default()
            });
        };
        let audience = audience(claim, state);
        let ask = async |scope, limit| {
            let query = Recall {
                limit,
                call: format!("{}.q", state.turn()),
                ..Recall::new(text.clone(), audience, scope)
            };
            memory.recall(claim.tenant, query).await
        };
        let knowledge = ask(Scope::KNOWLEDGE, KNOWLEDGE).await?;
        let facts = ask(Scope::FACTS, FACTS).await?;
        let mut history = ask(Scope::HISTORY, HISTORY).await?;
        // What the window shows already is not recalled as well.
        history.retain(|hit| match hit.source {
            Source::Message {
                conversation,
                index,
            } => conversation != claim.conversation || index < window_from,
            _ => true,
        });
        let summary = if window_from > 0 {
            memory.summary(claim.tenant, claim.conversation).await?
        } else {
            None
        }
        // One without text only tells how far was learned.
        .filter(|summary| !summary.text.is_empty());
        let hits = facts.iter().chain(&history);
        let mut persons: BTreeSet<PersonId> = hits.flat_map(|hit| hit.persons.clone()).collect();
        persons.extend(summary.iter().flat_map(|summary| &summary.persons));
        Ok(Gathered {
            window_from,
            knowledge: cited(&knowledge),
            history: cited(&history),
            facts: cited(&facts),
            summary: summary.map(|summary| summary.to),
            persons,
        })
    }

    /// Reads what was gathered: the window's records and the passages.
    pub(super) async fn gathered(
        &self,
        claim: &Claim,
        state: &State,
        turn_from: u64,
    ) -> Result<(Vec<Stored>, Recalled)> {
        let Some(gathered) = state.gathered() else {
            return Ok(Default::default());
        };
        let window = self
            .journal
            .read(
                claim.tenant,
                claim.conversation,
                gathered.window_from..turn_from,
            )
            .await?;
        let Some(memory) = self.memory.as_deref() else {
            return Ok((window, Recalled::default()));
        };
        let knowledge = fetch(memory, claim, &gathered.knowledge).await?;
        let history = fetch(memory, claim, &gathered.history).await?;
        let facts = fetch(memory, claim, &gathered.facts).await?;
        let summary = match gathered.summary {
            // A summary that reaches further says the same of what this one covered.
            Some(_) => memory.summary(claim.tenant, claim.conversation).await?,
            None => None,
        };
        let recalled = Recalled {
            knowledge,
            history,
            facts,
            summary: summary.map(|summary| summary.text),
        };
        Ok((window, recalled))
    }
}

/// Who will see what the turn says: the one person of a one-to-one conversation, or everyone in the channel.
fn audience(claim: &Claim, state: &State) -> Audience {
    let started = state.started();
    let humans = started
        .inputs
        .iter()
        .filter(|input| input.event.sender.kind == ActorKind::Human);
    let persons: BTreeSet<PersonId> = humans.flat_map(|input| input.persons.clone()).collect();
    let direct = started.conversation.kind == ConversationKind::Direct;
    match persons.iter().next() {
        Some(person) if direct && persons.len() == 1 => Audience::Person { person: *person },
        _ => Audience::Channel {
            conversation: claim.conversation,
        },
    }
}

/// Returns the index from which on the history fits into the employee's window.
async fn window(
    journal: &dyn Journal,
    claim: &Claim,
    employee: &Employee,
    turn_from: u64,
) -> Result<u64> {
    let (mut messages, mut tokens) = (0_u32, 0_u32);
    let mut from = turn_from;
    while from > 0 {
        let page = journal
            .read(
                claim.tenant,
                claim.conversation,
                from.saturating_sub(PAGE)..from,
            )
            .await?;
        for stored in page.iter().rev() {
            let (count, size) = prompt::weight(stored);
            messages = messages.saturating_add(count);
            tokens = tokens.saturating_add(size);
            if messages > employee.limits.window_messages || tokens > employee.limits.window_tokens
            {
                return Ok(stored.index + 1);
            }
        }
        from = from.saturating_sub(PAGE);
    }
    Ok(0)
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
