//! What `bin/search` measures: vectors that lie in clusters, as texts do, and how long each way to search them takes.

pub mod peers;
pub mod recall;
mod vectors;

pub use self::vectors::{POOL, TOP, Timed, Vectors, agreement, best, read_bytes};
