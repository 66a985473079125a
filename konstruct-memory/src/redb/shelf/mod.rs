//! The memory's shelf on redb: sealed rows, the index, and one search.
//!
//! | file | what |
//! |---|---|
//! | `desk` | the shelf itself: what a handle and the follower do the memory's work with |
//! | `commit` | plans of changes, written whole |
//! | `units` | the index: units, postings, sizes, vectors |
//! | `arenas` | vectors in memory, a byte a number |
//! | `search` | questions |
//! | `follower` | the thread that keeps the index up with the feed |

mod arenas;
mod commit;
mod desk;
mod follower;
mod search;
mod units;

pub(super) use self::{arenas::Arenas, desk::Desk, follower::Follower};
