//! The memory's backend on redb: sealed rows, the index and the search.
//!
//! | file | what |
//! |---|---|
//! | `backend` | the backend that handles and the follower use |
//! | `commit` | commits plans atomically |
//! | `changes` | changes of the index by a plan |
//! | `units` | the rows of units and vectors |
//! | `postings` | the passages that contain a stem, in blocks |
//! | `tables` | passages in memory, with quantized vectors |
//! | `search` | the search |
//! | `follower` | background lanes that index the feed, and embed what is indexed |

mod backend;
mod changes;
mod commit;
mod follower;
mod postings;
mod search;
mod tables;
mod units;

pub(super) use self::commit::passages;
pub(super) use self::{
    backend::RedbBackend,
    commit::{EraseWith, sealed_to},
    follower::Follower,
    tables::Tables,
};
