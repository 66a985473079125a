//! What the pages show: one person's conversation, in memory.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use tokio::sync::broadcast;

/// How many people the simulator remembers, and how much of each. It is a demonstration, not a store.
const PEOPLE: usize = 1_000;
const NOTES: usize = 500;

/// Something that a page shows.
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
    /// How far a message came: `sent`, `delivered`, `read` or `failed`.
    Tick { id: String, state: &'static str },
    /// The employee is writing.
    Typing { channel: Window },
}

/// Which window of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Window {
    Whatsapp,
    Slack,
}

/// All conversations of the simulator.
#[derive(Debug)]
pub(super) struct Feed {
    people: Mutex<HashMap<String, Vec<Note>>>,
    posted: Mutex<Vec<serde_json::Value>>,
    live: broadcast::Sender<(String, Note)>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            people: Mutex::default(),
            posted: Mutex::default(),
            live: broadcast::Sender::new(1024),
        }
    }
}

impl Feed {
    /// Shows something to a person.
    pub(super) fn show(&self, person: &str, note: Note) {
        let mut people = self.lock();
        if people.len() >= PEOPLE && !people.contains_key(person) {
            people.clear();
        }
        let notes = people.entry(person.to_owned()).or_default();
        if notes.len() >= NOTES {
            notes.remove(0);
        }
        if !matches!(note, Note::Typing { .. }) {
            notes.push(note.clone());
        }
        // Nobody looks: that is no error.
        let _ = self.live.send((person.to_owned(), note));
    }

    /// Returns what was shown to a person, and what will be.
    pub(super) fn follow(&self, person: &str) -> (Vec<Note>, broadcast::Receiver<(String, Note)>) {
        let people = self.lock();
        (
            people.get(person).cloned().unwrap_or_default(),
            self.live.subscribe(),
        )
    }

    /// Returns the ids of what the person has said in a window so far.
    pub(super) fn said(&self, person: &str, window: Window) -> Vec<String> {
        let people = self.lock();
        let notes = people.get(person).map(Vec::as_slice).unwrap_or_default();
        let said = notes.iter().filter_map(|note| match note {
            Note::Said { channel, id, .. } if *channel == window => Some(id.clone()),
            _ => None,
        });
        said.collect()
    }

    /// Returns whose message this is.
    pub(super) fn person_of(&self, message: &str) -> Option<String> {
        let people = self.lock();
        let whose = people.iter().find(|(_, notes)| {
            notes
                .iter()
                .any(|note| matches!(note, Note::Said { id, .. } if id == message))
        });
        whose.map(|(person, _)| person.clone())
    }

    /// Keeps a message as Slack does, for the employee to look its own up.
    pub(super) fn keep(&self, message: serde_json::Value) {
        let mut posted = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
        if posted.len() >= NOTES {
            posted.remove(0);
        }
        posted.push(message);
    }

    /// Returns the messages that were kept, the newest first.
    pub(super) fn posted(&self) -> Vec<serde_json::Value> {
        self.posted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .rev()
            .cloned()
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Note>>> {
        self.people.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
