//! Exact search over the vectors of one tenant, which are few enough to read all. Nothing is missed, removals are immediate, and
//! no index has to be built.

mod arena;
mod kernel;
mod top;

pub use self::{
    arena::{Arena, Flat, Quantised},
    kernel::dot,
};
