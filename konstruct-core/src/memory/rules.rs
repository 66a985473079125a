//! The decisions that every memory takes alike, as pure functions.

use std::collections::BTreeSet;

use super::{Erase, Fact, FactOwner, Hit, NewFact, Quote, Remembered, Source, Summary};
use crate::{ConversationId, Error, PersonId, Result, Timestamp, id::FactId, turn::Said};

/// The most characters of a fact.
const TEXT: usize = 1000;
/// The most sources of a fact.
const SOURCES: usize = 32;

/// A source of a new fact: what is said there, and whether the fact's owner may see it.
#[derive(Clone, Debug)]
pub struct Ground {
    /// What is said there.
    pub said: Said,
    /// Whether the fact's owner may see it.
    pub seen: bool,
}

/// Makes a fact, if its sources say what it quotes of them. `grounds` are its sources in their order; `None` where there is no such
/// message. Whether its persons are known is for the store to decide.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) that names the field.
pub fn grounded(new: &NewFact, grounds: &[Option<Ground>], now: Timestamp) -> Result<Fact> {
    let characters = new.text.chars().count();
    if new.text.trim().is_empty() || characters > TEXT {
        return Err(Error::invalid("text", "has 1 to 1,000 characters"));
    }
    if new.sources.is_empty() || new.sources.len() > SOURCES {
        return Err(Error::invalid("sources", "a fact has 1 to 32 sources"));
    }
    let mut persons: BTreeSet<PersonId> = new.about.into_iter().collect();
    persons.extend(&new.shown);
    if let FactOwner::Person { person } = new.owner {
        persons.insert(person);
    }
    let mut first: Option<Timestamp> = None;
    for (index, quote) in new.sources.iter().enumerate() {
        let refuse = |what, why| Error::invalid(&format!("sources[{index}]{what}"), why);
        let ground = grounds.get(index).and_then(Option::as_ref);
        let ground = ground.ok_or_else(|| refuse("", "there is no such message"))?;
        let wanted = plain(&quote.quote);
        if wanted.is_empty() || !plain(&ground.said.text).contains(&wanted) {
            return Err(refuse(".quote", "is not in the message"));
        }
        if !ground.seen {
            return Err(refuse("", "the owner may not see this message"));
        }
        persons.extend(&ground.said.persons);
        first = Some(first.map_or(ground.said.at, |first| first.min(ground.said.at)));
    }
    Ok(Fact {
        id: FactId::new(),
        text: new.text.clone(),
        topic: new.topic.clone(),
        owner: new.owner,
        about: new.about,
        sources: new.sources.clone(),
        persons: persons.into_iter().collect(),
        known_from: now,
        valid_from: new.valid_from.or(first).unwrap_or(now),
        valid_to: None,
        expires_at: new.expires_at,
        superseded_by: None,
    })
}

/// A text as it is compared: without case, and with one space where there is any.
fn plain(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    words.join(" ")
}

/// Returns what is left of something after an erasure; `None` where nothing is.
pub fn after(item: Remembered, erased: &Erase) -> Option<Remembered> {
    let gone = |quote: &Quote| match *erased {
        Erase::Message {
            conversation,
            index,
        } => (quote.conversation, quote.index) == (conversation, index),
        Erase::Conversation { conversation } => quote.conversation == conversation,
        _ => false,
    };
    match (item, erased) {
        (_, Erase::Tenant) => None,
        (Remembered::Fact { mut fact }, _) => {
            fact.sources.retain(|source| !gone(source));
            let named = matches!(erased, Erase::Person { person } if fact.persons.contains(person));
            (!named && !fact.sources.is_empty()).then_some(Remembered::Fact { fact })
        }
        (Remembered::Summary { summary }, _) => {
            let of = summary.conversation;
            let goes = match *erased {
                Erase::Person { person } => summary.persons.contains(&person),
                Erase::Conversation { conversation } => of == conversation,
                Erase::Message {
                    conversation,
                    index,
                } => of == conversation && index < summary.to,
                _ => false,
            };
            (!goes).then_some(Remembered::Summary { summary })
        }
        (other, _) => Some(other),
    }
}

/// Returns whether an erasure concerns something that was made from these conversations and from the words of these persons: if
/// it was read before the erasure, it must not be kept after it.
pub fn concerns(erased: &Erase, conversations: &[ConversationId], persons: &[PersonId]) -> bool {
    match erased {
        Erase::Message { conversation, .. } | Erase::Conversation { conversation } => {
            conversations.contains(conversation)
        }
        Erase::Person { person } => persons.contains(person),
        Erase::Tenant => true,
    }
}

/// Shows something that was said.
pub fn message(source: Source, said: Said) -> Hit {
    Hit {
        name: said.name,
        said_by: Some(said.by),
        persons: said.persons.into_iter().collect(),
        ..Hit::new(source, said.text, said.at)
    }
}

/// Shows a fact.
pub fn fact(fact: Fact) -> Hit {
    let learned_from = fact.sources.iter().map(|quote| Source::Message {
        conversation: quote.conversation,
        index: quote.index,
    });
    Hit {
        persons: fact.persons,
        learned_from: learned_from.collect(),
        ..Hit::new(Source::Fact { id: fact.id }, fact.text, fact.known_from)
    }
}

/// Shows a summary.
pub fn summary(source: Source, summary: Summary) -> Hit {
    Hit {
        persons: summary.persons,
        ..Hit::new(source, summary.text, summary.made_at)
    }
}
