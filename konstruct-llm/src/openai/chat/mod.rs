//! Chat Completions: OpenAI's older wire, and the one that compatible servers speak.

mod answer;
mod request;
mod wire;

pub(super) use self::answer::Chat;
pub(super) use self::request::{chosen, request};
