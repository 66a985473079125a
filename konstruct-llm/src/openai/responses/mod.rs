//! Responses: OpenAI's newer API, which returns the model's reasoning.

mod answer;
mod parallel;
mod request;
mod wire;

pub(super) use self::answer::Responses;
pub(super) use self::request::request;
