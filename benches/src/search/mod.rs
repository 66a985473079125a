//! The measurements of `bin/search`: vectors in clusters, like those of texts, and the latency of several ways to search them.

pub mod peers;
pub mod recall;
mod vectors;

pub use self::vectors::{POOL, TOP, Timed, Vectors, agreement, best, read_bytes};
