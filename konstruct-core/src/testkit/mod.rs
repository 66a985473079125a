//! What a backend's author tests with: a reference store, a virtual clock, a scripted model and channel, crash points.

mod broken;
mod broken_channel;
mod broken_llm;
mod broken_memory;
mod channel;
mod channel_suite;
mod clock;
mod crash;
mod directory;
mod forward;
mod items;
mod llm_suite;
mod memory_suite;
mod model;
mod persons;
mod random;
mod reference;
mod store_suite;
mod tools;
mod transcriber;
mod transcriber_suite;
mod turn_suite;
mod world;

#[doc(hidden)]
pub use async_trait::async_trait;
#[doc(hidden)]
pub use futures_util::stream::BoxStream;

pub use self::{
    broken::{BrokenStore, Flaw, unsteady_step},
    broken_channel::{BrokenChannel, ChannelFlaw},
    broken_llm::{BrokenLlm, LlmFlaw},
    broken_memory::{BrokenMemory, MemoryFlaw},
    channel::{Fate, ScriptedChannel},
    channel_suite::{
        CHANNEL_CASES, ChannelSubject, Displayed, Failure, channel_case, channel_suite,
    },
    clock::VirtualClock,
    crash::{CrashPoint, Moment, Write},
    directory::ScriptedDirectory,
    items::ReferenceItems,
    llm_suite::{LLM_CASES, LlmSubject, llm_case, llm_suite},
    memory_suite::{MEMORY_CASES, MemorySubject, memories_agree, memory_case, memory_suite},
    model::{Gate, ScriptedAnswer, ScriptedModel},
    random::random_turns,
    reference::ReferenceStore,
    store_suite::{
        Failed, Restart, STORE_CASES, StoreSubject, store_case, store_restart_suite, store_suite,
    },
    tools::{CountingTool, ToolEnd},
    transcriber::{BrokenTranscriber, ScriptedTranscriber, TranscriberFlaw},
    transcriber_suite::{
        SPOKEN, SpeechFault, TRANSCRIBER_CASES, transcriber_case, transcriber_suite,
    },
    turn_suite::{turn_suite, turn_suite_with},
    world::{Arrived, Effected, World, message},
};
