//! Stores of Konstruct: the durable store of turns and the memory, on redb and on PostgreSQL.
//!
//! One [`Redb`] is a [`Store`](konstruct_core::store::Store) and a [`MemoryStore`](konstruct_core::MemoryStore) in one file:
//! nothing to install, one process, group commit. `Postgres` is the same on a database that any number of processes share. Both
//! pass the same suites, seal content in the same way, and share one memory, which is written over a private trait, `Shelf`.
//!
//! # Example
//! ```
//! use konstruct_core::{Audience, DocumentFormat, KnowledgeStore as _, MemoryStore as _, NewDocument, Recall, Scope, TenantId};
//! use konstruct_memory::Redb;
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let store = Redb::in_memory()?; // or `Redb::open("ava.redb")`
//! let tenant = TenantId::new();
//! store
//!     .put_document(tenant, NewDocument::new(
//!         "Acme Bikes FAQ",
//!         DocumentFormat::Markdown,
//!         "## When are you open?\nMonday to Friday, 9 to 18.",
//!     ))
//!     .await?;
//! let hits = store
//!     .recall(tenant, Recall::new("opening hours on monday", Audience::Tenant, Scope::KNOWLEDGE))
//!     .await?;
//! assert_eq!(hits[0].name, "Acme Bikes FAQ › When are you open?");
//! assert_eq!(hits[0].text, "Monday to Friday, 9 to 18.");
//! # Ok::<(), konstruct_core::Error>(())
//! # }).unwrap();
//! ```
//!
//! # Code map
//! | module | what |
//! |---|---|
//! | `extract` | the bytes of a document into text |
//! | `chunk` | documents into passages |
//! | `analyze` | text into terms |
//! | `bm25` | the arithmetic of recall by words |
//! | `memory` | the memory, written once: who may see what, recall, facts, summaries, forgetting; `memory/shelf` is what a store must offer |
//! | `vector` | exact search among vectors |
//! | `embed` | the built-in embedder |
//! | `delivery` | how far a message came, as a number |
//! | `seal` | key ring, tenant keys, person keys, and the envelope of what is stored |
//! | `redb/writer`, `snapshot`, `keys`, `vault`, `rewrite` | the one writer, reading, the tables, the keys of what is sealed, and a fresh file |
//! | `redb/ready` | claims, leases, fences and fairness, in memory |
//! | `redb/roles`, `accept`, `arrival`, `linked`, `append`, `delivery`, `head`, `budget`, `erase`, `export`, `import` | the store of turns |
//! | `redb/recover` | what happens after a failed write |
//! | `redb/shelf/` | the index, vectors in memory, the search, and the lanes that follow the feed |
//! | `redb/rows` | rows of the application's own |
//! | `postgres/connect`, `migrate`, `tenant`, `vault` | what is refused at the start, the tables and their policies, the one door to a tenant's rows, the keys |
//! | `postgres/roles`, `accept`, `queue`, `claim`, `append`, `read`, `budget`, `erase`, `export`, `import`, `prune`, `wake` | the store of turns |
//! | `postgres/shelf/` | the index, and the search: postings and cosines by number, added up here |
//! | `postgres/graph/` | approximate indexes of large spaces, made by the owner |
//! | `postgres/rewrap`, `rewrite` | keys wrapped anew, files written anew |
//!
//! # Features
//! | feature | default | what |
//! |---|---|---|
//! | `redb` | yes | the embedded store |
//! | `postgres` | no | the hosted store |
//! | `pdf` | no | reads PDF documents |
//! | `static-embed` | no | an embedder in the program, for English |
//! | `testkit` | no | `Oracle`, the reference memory that stores are compared with, and `SealProbe`, to measure sealing |

#![cfg_attr(
    not(any(feature = "redb", feature = "postgres")),
    expect(dead_code, reason = "only the stores use it")
)]

mod extract;

mod chunk;

mod analyze;

mod bm25;

#[cfg_attr(
    not(any(feature = "redb", feature = "postgres", feature = "testkit")),
    expect(
        unused_imports,
        unused_macros,
        reason = "the stores implement the memory traits with them"
    )
)]
mod memory;

mod vector;

#[cfg(feature = "static-embed")]
mod embed;

#[cfg_attr(
    not(feature = "redb"),
    expect(unused_imports, reason = "only redb uses all of it")
)]
#[cfg_attr(
    not(any(feature = "redb", test)),
    expect(dead_code, reason = "only redb uses all of it")
)]
mod seal;

#[cfg(any(feature = "redb", feature = "postgres"))]
#[cfg_attr(
    not(any(feature = "redb", test)),
    expect(dead_code, reason = "only redb stores lists of values")
)]
mod compact;

#[cfg(any(feature = "redb", feature = "postgres"))]
mod delivery;

#[cfg(feature = "redb")]
mod redb;

#[cfg(feature = "postgres")]
mod postgres;

#[cfg(feature = "static-embed")]
pub use self::embed::StaticEmbedder;
#[cfg(feature = "postgres")]
pub use self::postgres::{Postgres, PostgresBuilder, VectorIndex};
#[cfg(feature = "redb")]
pub use self::redb::{Expect, FailedWrite, Redb, RedbBuilder, RowChange};
pub use self::{
    analyze::terms,
    chunk::{Chunk, chunks},
    extract::extract,
    memory::read_document,
    seal::KeyRing,
    vector::{Arena, Flat, Quantised, dot},
};
#[cfg(feature = "testkit")]
pub use self::{memory::Oracle, seal::SealProbe};
