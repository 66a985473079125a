//! Integration tests of the durable turn and its surroundings.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is how a test fails")]

mod altered;
mod app;
mod attachments;
mod budget;
mod channel;
mod circumstances;
mod crash;
mod driver;
mod edges;
mod embed;
mod golden;
mod holder;
mod hours;
mod limits;
mod llm;
mod office;
mod origin;
mod outage;
mod prompt;
mod rates;
mod replay;
mod request;
mod step;
mod transcriber;
mod unreadable;
mod workforce;
