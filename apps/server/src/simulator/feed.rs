//! The feeds of the demo pages: each visitor's conversation, in memory.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use tokio::sync::broadcast;

/// The number of remembered visitors, and of notes per visitor. The feed is not a store.
const VISITORS: usize = 1_000;
const NOTES: usize = 500;

/// An item in a page's feed.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Note {
    /// A message of the person.
    Said {
        channel: Window,
        id: String,
        text: String,
    },
    /// A message of the employee.
    Answer {
        channel: Window,
        id: String,
        text: String,
    },
    /// The delivery state of a message: `sent`, `delivered`, `read` or `failed`.
    Tick { id: String, state: &'static str },
    /// The employee is writing.
    Typing { channel: Window },
}

/// The window of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Window {
    Whatsapp,
    Slack,
}

/// All conversations of the simulator.
#[derive(Debug)]
pub(super) struct Feed {
    visitors: Mutex<Visitors>,
    live: broadcast::Sender<(String, Note)>,
}

#[derive(Debug, Default)]
struct Visitors {
    known: HashMap<String, VisitorFeed>,
    clock: u64,
}

/// The feed of one visitor.
#[derive(Debug, Default)]
struct VisitorFeed {
    notes: Vec<Note>,
    /// The employee's messages in the visitor's channel, in Slack's format.
    posted: Vec<serde_json::Value>,
    /// When the last note was added.
    at: u64,
}

impl Visitors {
    /// Returns a visitor's feed. If there are too many, it replaces the one without new notes for the longest time.
    fn entry(&mut self, visitor: &str) -> &mut VisitorFeed {
        if self.known.len() >= VISITORS && !self.known.contains_key(visitor) {
            let oldest = self.known.iter().min_by_key(|(_, seen)| seen.at);
            if let Some(oldest) = oldest.map(|(visitor, _)| visitor.clone()) {
                self.known.remove(&oldest);
            }
        }
        self.clock += 1;
        let seen = self.known.entry(visitor.to_owned()).or_default();
        seen.at = self.clock;
        seen
    }
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            visitors: Mutex::default(),
            live: broadcast::Sender::new(1024),
        }
    }
}

impl Feed {
    /// Adds a note to a visitor's feed.
    pub(super) fn show(&self, visitor: &str, note: Note) {
        let mut visitors = self.lock();
        let notes = &mut visitors.entry(visitor).notes;
        if notes.len() >= NOTES {
            notes.remove(0);
        }
        if !matches!(note, Note::Typing { .. }) {
            notes.push(note.clone());
        }
        // It fails only if no page is open.
        let _ = self.live.send((visitor.to_owned(), note));
    }

    /// Returns a visitor's notes so far, and a receiver of all future notes of all visitors.
    pub(super) fn follow(&self, visitor: &str) -> (Vec<Note>, broadcast::Receiver<(String, Note)>) {
        let visitors = self.lock();
        let notes = visitors.known.get(visitor).map(|seen| seen.notes.clone());
        (notes.unwrap_or_default(), self.live.subscribe())
    }

    /// Returns the ids of the visitor's messages in a window.
    pub(super) fn said(&self, visitor: &str, window: Window) -> Vec<String> {
        let visitors = self.lock();
        let notes = visitors.known.get(visitor).map(|seen| &*seen.notes);
        let said = notes
            .unwrap_or_default()
            .iter()
            .filter_map(|note| match note {
                Note::Said { channel, id, .. } if *channel == window => Some(id.clone()),
                _ => None,
            });
        said.collect()
    }

    /// Returns the visitor who sent a message.
    pub(super) fn visitor_of(&self, message: &str) -> Option<String> {
        let visitors = self.lock();
        let whose = visitors.known.iter().find(|(_, seen)| {
            let mut notes = seen.notes.iter();
            notes.any(|note| matches!(note, Note::Said { id, .. } if id == message))
        });
        whose.map(|(visitor, _)| visitor.clone())
    }

    /// Stores a message in a visitor's channel, so that the employee can find its own messages.
    pub(super) fn keep(&self, visitor: &str, message: serde_json::Value) {
        let mut visitors = self.lock();
        let posted = &mut visitors.entry(visitor).posted;
        if posted.len() >= NOTES {
            posted.remove(0);
        }
        posted.push(message);
    }

    /// Returns the stored messages of a visitor's channel, the newest first.
    pub(super) fn posted(&self, visitor: &str) -> Vec<serde_json::Value> {
        let visitors = self.lock();
        let posted = visitors.known.get(visitor).map(|seen| &*seen.posted);
        posted.unwrap_or_default().iter().rev().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Visitors> {
        self.visitors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_least_recent_visitor_is_replaced() {
        let feed = Feed::default();
        let note = || Note::Tick {
            id: "1".into(),
            state: "sent",
        };
        for visitor in 0..VISITORS {
            feed.show(&visitor.to_string(), note());
        }
        feed.show("0", note());
        feed.show("one more", note());
        assert_eq!(feed.follow("0").0.len(), 2);
        assert!(feed.follow("1").0.is_empty());
        assert_eq!(feed.follow("2").0.len(), 1);
    }

    #[test]
    fn a_channel_shows_its_own_messages_only() {
        let feed = Feed::default();
        feed.keep("a", serde_json::json!(1));
        assert_eq!(feed.posted("a").len(), 1);
        assert!(feed.posted("b").is_empty());
    }
}
