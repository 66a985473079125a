//! The same small program, written with Konstruct and with other libraries: its source, its build and its answers.
//!
//! The programs are in `benches/embedders`, each a workspace of its own. A program asks two questions: the first needs its tool,
//! and the second the memory of the first. It prints both answers, and waits until its standard input is closed.

mod build;
mod dialogue;
mod program;

pub use self::{
    build::Build,
    dialogue::{Dialogue, QUESTIONS},
    program::{KONSTRUCT, PEERS, Program},
};
