//! Measures how well a memory finds messages: long chats, questions, and the evidence for their answers.

mod beam;
mod chat;
mod feed;
mod languages;
mod locomo;
mod longmemeval;
mod measure;

pub use self::{
    chat::{Chat, Dataset, Question, Speaker, Turn},
    feed::{StoredChat, feed},
    languages::{LanguageRow, languages},
    measure::{Row, measure},
};
