//! Computes the share of the evidence among the first hits.

use std::{collections::BTreeMap, fmt};

use konstruct_core::{
    Audience, MemoryStore, Recall,
    memory::{Scope, Source},
};

use super::{Chat, Question, StoredChat};
use crate::Failed;

/// The number of requested hits, from which sessions are ranked.
const HITS: usize = 50;
/// A session is scored by its best hits, each counting half of the previous one.
const BEST: usize = 3;

/// The figures of one retriever, summed over questions.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The retriever.
    pub retriever: String,
    /// The number of questions.
    pub questions: usize,
    turns: [f64; 3],
    sessions: [f64; 2],
}

impl Row {
    const TURNS: [usize; 3] = [5, 10, 20];
    const SESSIONS: [usize; 2] = [5, 10];

    /// Creates an empty row.
    pub fn new(retriever: impl Into<String>) -> Self {
        Self {
            retriever: retriever.into(),
            ..Self::default()
        }
    }

    fn add(&mut self, chat: &Chat, question: &Question, hits: &[(usize, f32)]) {
        self.questions += 1;
        let found: Vec<usize> = hits.iter().map(|(turn, _)| *turn).collect();
        for (sum, k) in self.turns.iter_mut().zip(Self::TURNS) {
            *sum += share(&question.evidence, &found[..k.min(found.len())]);
        }
        let mut wanted: Vec<usize> = question
            .evidence
            .iter()
            .map(|turn| chat.turns[*turn].session)
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        let found = sessions(chat, hits);
        for (sum, k) in self.sessions.iter_mut().zip(Self::SESSIONS) {
            *sum += share(&wanted, &found[..k.min(found.len())]);
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |sum: f64| 100.0 * sum / self.questions.max(1) as f64;
        write!(f, "retriever={}", self.retriever)?;
        for (sum, k) in self.turns.iter().zip(Self::TURNS) {
            write!(f, " turn@{k}={:.1}", percent(*sum))?;
        }
        for (sum, k) in self.sessions.iter().zip(Self::SESSIONS) {
            write!(f, " session@{k}={:.1}", percent(*sum))?;
        }
        Ok(())
    }
}

/// Returns the share of the expected turns that was found.
fn share(wanted: &[usize], found: &[usize]) -> f64 {
    let hit = wanted.iter().filter(|one| found.contains(one)).count();
    hit as f64 / wanted.len() as f64
}

/// Returns the sessions of hits, best first.
fn sessions(chat: &Chat, hits: &[(usize, f32)]) -> Vec<usize> {
    let mut scores: BTreeMap<usize, (usize, f32)> = BTreeMap::new();
    for (turn, score) in hits {
        let (count, sum) = scores.entry(chat.turns[*turn].session).or_default();
        if *count < BEST {
            *sum += score.max(0.0) * 0.5f32.powi(*count as i32);
            *count += 1;
        }
    }
    let mut scores: Vec<(usize, f32)> = scores
        .into_iter()
        .map(|(session, (_, sum))| (session, sum))
        .collect();
    scores.sort_by(|a, b| b.1.total_cmp(&a.1));
    scores.into_iter().map(|(session, _)| session).collect()
}

/// Asks every question of a chat.
///
/// # Errors
/// Errors of the store.
pub async fn measure(
    memory: &dyn MemoryStore,
    chat: &Chat,
    fed: &StoredChat,
    row: &mut Row,
) -> Result<(), Failed> {
    let conversation = fed.conversation;
    for question in &chat.questions {
        let audience = Audience::Conversation {
            channel: fed.channel.clone(),
            conversation,
        };
        let query = Recall::new(&question.text, audience, Scope::HISTORY).with_limit(HITS);
        let hits = memory.recall(fed.tenant, query).await?;
        let turns = hits.iter().filter_map(|hit| match hit.source {
            Source::Message { index, .. } => Some((*fed.places.get(&index)?, hit.score)),
            _ => None,
        });
        row.add(chat, question, &turns.collect::<Vec<_>>());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recall::{Speaker, Turn};

    #[test]
    fn a_row_is_the_mean_of_the_shares() {
        let turn = |session| Turn {
            speaker: Speaker::Employee,
            text: String::new(),
            session,
        };
        let chat = Chat {
            turns: (0..30).map(|at| turn(at / 3)).collect(),
            questions: Vec::new(),
        };
        let question = Question {
            text: String::new(),
            evidence: vec![0, 29],
        };
        let mut row = Row::new("r");
        // The 6th hit is the 29th turn; its session is ranked below one with more hits.
        let hits = [(0, 9.0), (3, 4.0), (4, 4.0), (5, 4.0), (6, 3.0), (29, 5.0)];
        row.add(&chat, &question, &hits);
        row.add(&chat, &question, &[]);
        let expected =
            "retriever=r turn@5=25.0 turn@10=50.0 turn@20=50.0 session@5=50.0 session@10=50.0";
        assert_eq!(row.to_string(), expected);
        assert_eq!(sessions(&chat, &hits), [0, 1, 9, 2]);
    }
}
