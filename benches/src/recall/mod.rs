//! Measures how well a memory finds messages: long chats, questions, and the evidence for their answers.

mod beam;
mod chat;
mod feed;
mod locomo;
mod longmemeval;
mod measure;

pub use self::{
    chat::{Chat, Dataset, Question, Speaker, Turn},
    feed::{StoredChat, feed},
    measure::{Row, measure},
};
