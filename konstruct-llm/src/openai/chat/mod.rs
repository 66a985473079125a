//! Chat Completions: OpenAI's older API, which compatible servers also implement.

mod answer;
mod request;
mod wire;

pub(super) use self::answer::Chat;
pub(super) use self::request::{chosen, request};
