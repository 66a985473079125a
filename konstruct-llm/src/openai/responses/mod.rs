//! Responses: OpenAI's newer wire, which gives back what a model thought.

mod answer;
mod parallel;
mod request;
mod wire;

pub(super) use self::answer::Responses;
pub(super) use self::request::request;
