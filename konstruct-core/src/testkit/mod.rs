//! What a backend's author tests with: a reference journal, a virtual clock, a scripted model and channel, crash points.

mod broken;
mod broken_llm;
mod broken_memory;
mod channel;
mod clock;
mod crash;
mod directory;
mod journal;
mod journal_suite;
mod llm_suite;
mod memory_suite;
mod model;
mod random;
mod tools;
mod turn_suite;
mod world;

pub use self::{
    broken::{BrokenJournal, Flaw, unsteady_step},
    broken_llm::{BrokenLlm, LlmFlaw},
    broken_memory::{BrokenMemory, MemoryFlaw},
    channel::{Fate, ScriptedChannel},
    clock::VirtualClock,
    crash::{CrashPoint, Moment, Write},
    directory::ScriptedDirectory,
    journal::MemoryJournal,
    journal_suite::{
        Failed, JOURNAL_CASES, JournalSubject, Restart, journal_case, journal_restart_suite,
        journal_suite,
    },
    llm_suite::{LLM_CASES, LlmSubject, llm_case, llm_suite},
    memory_suite::{MEMORY_CASES, MemorySubject, memories_agree, memory_case, memory_suite},
    model::{Answer, Gate, ScriptedModel},
    random::random_turns,
    tools::{CountingTool, ToolEnd},
    turn_suite::{turn_suite, turn_suite_with},
    world::{Arrived, Effected, World, message},
};
