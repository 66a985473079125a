//! Recorded answers of providers, and what they say when they are read without a codec.

mod expected;
mod recording;

pub use self::{
    expected::Expected,
    recording::{Content, Recording, Wire, recordings},
};
