//! Exact search among the vectors of one tenant: small enough to read all of them, so nothing is missed, a removal is a removal, and
//! there is no index to build.

mod arena;
mod kernel;
mod top;

pub use self::{
    arena::{Arena, Flat, Quantised},
    kernel::dot,
};
