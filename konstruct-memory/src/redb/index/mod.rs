//! The memory's backend on redb: sealed rows, the index, and one search.
//!
//! | file | what |
//! |---|---|
//! | `backend` | the backend itself: what a handle and the follower do the memory's work with |
//! | `commit` | plans of changes, written whole |
//! | `index` | what a plan changes in the index |
//! | `units` | the rows of units and vectors |
//! | `postings` | which passages hold a stem, in blocks |
//! | `tables` | passages in memory, with their vectors in a byte a number |
//! | `search` | questions |
//! | `follower` | the lanes that keep the index up with the feed, and vectors up with the index |

mod backend;
mod changes;
mod commit;
mod follower;
mod postings;
mod search;
mod tables;
mod units;

pub(super) use self::{
    backend::RedbBackend,
    commit::{EraseWith, sealed_to},
    follower::Follower,
    tables::Tables,
};
