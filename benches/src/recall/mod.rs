//! How well a memory finds what was said: long chats, questions, and where their answers stand.

mod beam;
mod chat;
mod feed;
mod locomo;
mod longmemeval;
mod measure;

pub use self::{
    chat::{Chat, Dataset, Question, Speaker, Turn},
    feed::{Fed, feed},
    measure::{Row, measure},
};
