//! What a backend's author tests with: a reference journal, a virtual clock, a scripted model and channel, crash points.

mod clock;
mod journal;

pub use self::{
    clock::VirtualClock,
    journal::{MemoryJournal, TestSealer},
};
