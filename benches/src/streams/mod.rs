//! Recorded answers of providers, and their content parsed without a codec.

mod expected;
mod recording;

pub use self::{
    expected::Expected,
    recording::{Content, Recording, Wire, recordings},
};
