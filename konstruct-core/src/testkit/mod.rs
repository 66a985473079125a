//! What a backend's author tests with: a reference journal, a virtual clock, a scripted model and channel, crash points.

mod clock;
mod journal;
mod journal_suite;

pub use self::{
    clock::VirtualClock,
    journal::{MemoryJournal, TestSealer},
    journal_suite::{
        Failed, JOURNAL_CASES, JournalSubject, Restart, journal_case, journal_restart_suite,
        journal_suite,
    },
};
