//! From a request to the wire's, and from the wire's answer to events.

mod answer;
mod leak;
mod request;

pub(super) use self::{answer::Lines, request::request};
