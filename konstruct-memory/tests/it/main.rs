//! The stores against the conformance suite, and what is theirs alone.

mod broken;
mod history;
mod journal;
mod knowledge;
mod rows;
