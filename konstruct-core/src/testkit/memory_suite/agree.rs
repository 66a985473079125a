//! Random histories that two memories must answer alike.

use std::time::Duration;

use super::{
    Failed, MemorySubject, ensure, ensure_eq,
    fact::{fact, own},
    office::{Line, Office, now},
};
use crate::{
    Audience, Depth, DocumentFormat, DocumentId, Erase, Hit, NewDocument, Recall,
    id::FactId,
    memory::{FactOwner, Facts, Scope},
};

/// How far two scores may lie apart: stores keep vectors with fewer digits than the reference.
const NEAR: f32 = 0.02;

const PLACES: [(&str, &str); 6] = [
    ("D-ann", "U-ann"),
    ("D-bob", "U-bob"),
    ("#shop", "U-ann"),
    ("#shop", "U-bob"),
    ("#shop/t1", "U-cid"),
    ("#back", "U-cid"),
];

const WORDS: [&str; 24] = [
    "bicycle", "saddle", "chain", "brake", "wheel", "spoke", "lamp", "bell", "tyre", "pump",
    "helmet", "lock", "repair", "order", "invoice", "price", "monday", "friday", "delivery",
    "colour", "blue", "red", "garden", "kitchen",
];

/// Performs the same random operations on two memories and compares what they answer.
///
/// # Panics
/// Where they do not agree; the message tells the seed and the operation.
pub async fn memories_agree(
    ours: &MemorySubject,
    reference: &MemorySubject,
    seed: u64,
    operations: u32,
) {
    let mut history = History {
        subjects: [ours, reference],
        offices: [Office::new(); 2],
        dice: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        lines: Vec::new(),
        facts: Vec::new(),
        documents: Vec::new(),
    };
    for operation in 0..operations {
        if let Err(error) = Box::pin(history.operate()).await {
            panic!("seed {seed}, operation {operation}: {error}");
        }
    }
}

struct History<'a> {
    subjects: [&'a MemorySubject; 2],
    offices: [Office; 2],
    dice: u64,
    /// What was said, with where it stands in each.
    lines: Vec<(String, &'static str, [Line; 2])>,
    facts: Vec<[FactId; 2]>,
    documents: Vec<(String, [DocumentId; 2])>,
}

impl History<'_> {
    fn roll(&mut self, below: usize) -> usize {
        // xorshift: a history is told by its seed.
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        usize::try_from(self.dice % below as u64).unwrap_or(0)
    }

    fn words(&mut self, many: usize) -> String {
        let words: Vec<&str> = (0..many).map(|_| WORDS[self.roll(WORDS.len())]).collect();
        words.join(" ")
    }

    fn line(&mut self) -> Option<(String, &'static str, [Line; 2])> {
        if self.lines.is_empty() {
            return None;
        }
        let at = self.roll(self.lines.len());
        self.lines.get(at).cloned()
    }

    async fn operate(&mut self) -> Result<(), Failed> {
        match self.roll(100) {
            0..=54 => self.say().await,
            55..=62 => self.teach().await,
            63..=64 => self.unteach().await,
            65..=71 => self.remember().await,
            72..=75 => self.supersede().await,
            76..=78 => self.forget().await,
            79..=81 => {
                for subject in self.subjects {
                    subject.clock.advance(Duration::from_secs(1800));
                }
                Ok(())
            }
            _ => self.ask().await,
        }
    }

    async fn say(&mut self) -> Result<(), Failed> {
        let place = PLACES[self.roll(PLACES.len())];
        let many = if self.roll(8) == 0 {
            120
        } else {
            1 + self.roll(9)
        };
        let text = format!("{} n{}", self.words(many), self.lines.len());
        let answer = self.words(3);
        let answers = self.roll(3) == 0;
        let mut both = Vec::new();
        for (subject, office) in self.subjects.iter().zip(&self.offices) {
            both.push(if answers {
                office.ask(subject, place, (&text, &answer)).await?[0]
            } else {
                office.say(subject, place, &text).await?
            });
        }
        self.lines.push((text, place.0, [both[0], both[1]]));
        Ok(())
    }

    async fn teach(&mut self) -> Result<(), Failed> {
        let title = format!("Document {}", self.roll(12));
        let (heading, one, two) = (self.words(2), self.words(12), self.words(30));
        let text = format!("## {heading}\n{one}\n\n## Other\n{two}");
        let expires = self.roll(4) == 0;
        let mut both = Vec::new();
        for (subject, office) in self.subjects.iter().zip(&self.offices) {
            let mut new = NewDocument::new(&*title, DocumentFormat::Markdown, &*text);
            new.expires_at = expires.then(|| now(subject) + Duration::from_secs(3600));
            both.push(subject.memory.put_document(office.tenant, new).await?.id);
        }
        self.documents.retain(|(known, _)| *known != title);
        self.documents.push((title, [both[0], both[1]]));
        Ok(())
    }

    async fn unteach(&mut self) -> Result<(), Failed> {
        if self.documents.is_empty() {
            return Ok(());
        }
        let at = self.roll(self.documents.len());
        let (title, ids) = self.documents.swap_remove(at);
        for ((subject, office), id) in self.subjects.iter().zip(&self.offices).zip(ids) {
            let there = subject.memory.delete_document(office.tenant, id).await?;
            ensure!(there, "{title} was not there");
        }
        Ok(())
    }

    async fn remember(&mut self) -> Result<(), Failed> {
        let Some((text, _, lines)) = self.line() else {
            return Ok(());
        };
        let what = self.words(4);
        let (whose, expires) = (self.roll(3), self.roll(4) == 0);
        let mut both = Vec::new();
        for ((subject, office), line) in self.subjects.iter().zip(&self.offices).zip(&lines) {
            subject.memory.catch_up(office.tenant).await?;
            let owner = match whose {
                0 => own(line),
                1 => FactOwner::Conversation,
                _ => FactOwner::Channel,
            };
            let mut new = fact(&what, owner, line, &text);
            new.expires_at = expires.then(|| now(subject) + Duration::from_secs(3600));
            // What was forgotten cannot be quoted.
            let kept = subject.memory.remember(office.tenant, new).await;
            both.push(kept.ok().map(|fact| fact.id));
        }
        match both[..] {
            [Some(ours), Some(theirs)] => self.facts.push([ours, theirs]),
            [None, None] => {}
            _ => return Err(format!("one remembers `{what}` of `{text}`: {both:?}").into()),
        }
        Ok(())
    }

    async fn supersede(&mut self) -> Result<(), Failed> {
        if self.facts.is_empty() {
            return Ok(());
        }
        let at = self.roll(self.facts.len());
        let ids = self.facts.swap_remove(at);
        let mut both = Vec::new();
        for ((subject, office), id) in self.subjects.iter().zip(&self.offices).zip(ids) {
            let ended = subject.memory.supersede(office.tenant, id, None).await;
            both.push(ended.map(drop).map_err(|error| error.kind()));
        }
        ensure_eq!(both[0], both[1], "what became of a fact");
        Ok(())
    }

    async fn forget(&mut self) -> Result<(), Failed> {
        let Some((text, _, lines)) = self.line() else {
            return Ok(());
        };
        let what = self.roll(10);
        let mut both = Vec::new();
        for ((subject, office), line) in self.subjects.iter().zip(&self.offices).zip(&lines) {
            let (conversation, index) = (line.conversation, line.index);
            let what = match what {
                0 => Erase::Person {
                    person: line.person,
                },
                1 => Erase::Conversation { conversation },
                _ => Erase::Message {
                    conversation,
                    index,
                },
            };
            let erased = subject
                .memory
                .forget(office.tenant, what, Depth::Logical)
                .await?;
            both.push((erased.records, erased.facts));
            // What is said at the very time of an erasure is forgotten with it.
            subject.clock.advance(Duration::from_secs(1));
        }
        ensure_eq!(both[0], both[1], "what was forgotten with `{text}`");
        if what == 1 {
            // Its indexes begin anew.
            let gone = lines[0].conversation;
            self.lines
                .retain(|(_, _, lines)| lines[0].conversation != gone);
        }
        Ok(())
    }

    async fn ask(&mut self) -> Result<(), Failed> {
        let many = 1 + self.roll(5);
        let question = self.words(many);
        let Some((_, place, lines)) = self.line() else {
            return Ok(());
        };
        let (whose, scope) = (self.roll(4), self.roll(4));
        let limit = 1 + self.roll(12);
        let mut both: Vec<Vec<Hit>> = Vec::new();
        let mut facts = Vec::new();
        for ((subject, office), line) in self.subjects.iter().zip(&self.offices).zip(&lines) {
            subject.memory.catch_up(office.tenant).await?;
            let conversation = line.conversation;
            let audience = match whose {
                0 => Audience::Person {
                    person: line.person,
                },
                1 => Audience::Conversation {
                    channel: office.channel(place),
                    conversation,
                },
                2 => office.everyone(place),
                _ => Audience::Tenant,
            };
            let scope = match scope {
                0 => Scope::HISTORY,
                1 => Scope::KNOWLEDGE,
                2 => Scope::FACTS,
                _ => Scope::ALL,
            };
            let query = Recall::new(&*question, audience.clone(), scope).with_limit(limit);
            let query = Recall {
                explain: true,
                ..query
            };
            both.push(subject.memory.recall(office.tenant, query).await?);
            let query = Facts {
                audience,
                about: None,
                as_of: None,
            };
            let mut known: Vec<String> = subject
                .memory
                .facts(office.tenant, query)
                .await?
                .into_iter()
                .map(|fact| fact.text)
                .collect();
            known.sort();
            facts.push(known);
            let progress = subject.memory.progress(office.tenant).await?;
            ensure!(progress.is_complete(), "caught up: {progress:?}");
        }
        ensure_eq!(facts[0], facts[1], "the facts");
        alike(&question, &both[0], &both[1])
    }
}

/// Where two memories differ on what is as good as equal, nothing is said.
fn alike(question: &str, ours: &[Hit], theirs: &[Hit]) -> Result<(), Failed> {
    ensure_eq!(ours.len(), theirs.len(), "how many `{question}` finds");
    let least = theirs
        .iter()
        .map(|hit| hit.score)
        .fold(f32::INFINITY, f32::min);
    for hit in theirs {
        let scores: Vec<f32> = ours
            .iter()
            .filter(|own| own.text == hit.text && own.name == hit.name)
            .map(|own| own.score)
            .collect();
        let found = scores.iter().any(|score| (score - hit.score).abs() < NEAR);
        ensure!(
            found || (scores.is_empty() && hit.score - least < NEAR),
            "`{question}` gives {:?} {scores:?}, not {} (least {least}, {:?})",
            hit.text,
            hit.score,
            hit.signals
        );
    }
    Ok(())
}
