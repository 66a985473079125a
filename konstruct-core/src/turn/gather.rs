//! Gathering: which part of the history a turn shows to the model, and what it recalls.

use super::{Cited, Claim, Gathered, Journal, Recalled, State, Stored, driver::Driver, prompt};
use crate::{Audience, Employee, Hit, MemoryStore, Recall, Result, Scope, Source};

/// How many passages of knowledge a model is shown, and how many earlier messages.
const KNOWLEDGE: usize = 8;
const HISTORY: usize = 4;
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
        let knowledge = recall(memory, claim, &text, Scope::Knowledge, KNOWLEDGE).await?;
        let mut history = Vec::new();
        if window_from > 0 {
            // What the window shows already is not recalled as well.
            history = recall(memory, claim, &text, Scope::History, HISTORY).await?;
            history.retain(|cited| matches!(cited.source, Source::Message { index, .. } if index < window_from));
        }
        Ok(Gathered {
            window_from,
            knowledge,
            history,
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
        Ok((window, Recalled { knowledge, history }))
    }
}

/// Returns the index from which on the history fits into the employee's window.
async fn window(
    journal: &dyn Journal,
    claim: &Claim,
    employee: &Employee,
    turn_from: u64,
) -> Result<u64> {
    let (mut messages, mut bytes) = (0_u32, 0_u32);
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
            bytes = bytes.saturating_add(size);
            if messages > employee.limits.window_messages || bytes > employee.limits.window_bytes {
                return Ok(stored.index + 1);
            }
        }
        from = from.saturating_sub(PAGE);
    }
    Ok(0)
}

async fn recall(
    memory: &dyn MemoryStore,
    claim: &Claim,
    text: &str,
    scope: Scope,
    limit: usize,
) -> Result<Vec<Cited>> {
    let audience = Audience::Conversation(claim.conversation);
    let hits = memory
        .recall(
            claim.tenant,
            Recall {
                text: text.to_owned(),
                audience,
                limit,
                scope,
            },
        )
        .await?;
    Ok(hits
        .into_iter()
        .map(|hit| Cited {
            source: hit.source,
            coverage: hit.coverage,
        })
        .collect())
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
