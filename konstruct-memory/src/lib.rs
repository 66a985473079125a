//! Stores of Konstruct: the durable store of turns and the memory, on redb and on PostgreSQL.
//!
//! One [`Redb`] is a [`Store`](konstruct_core::store::Store) and a [`MemoryStore`](konstruct_core::MemoryStore) in one file, with
//! no server to install, one process and group commit. `Postgres` is the same on a database that any number of processes share.
//! Both pass the same test suites, seal content in the same way, and share one memory, which is written over the private trait
//! `MemoryBackend`.
//!
//! # Example
//! ```
//! use konstruct_core::{Audience, DocumentFormat, MemoryStore as _, NewDocument, Recall, TenantId, memory::{KnowledgeStore as _, Scope}};
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
//! | `extract` | text from the bytes of a document |
//! | `crawl` | the pages of a website |
//! | `documents` | the files that people send |
//! | `chunk` | documents into passages |
//! | `bm25` | lexical scoring |
//! | `memory` | the memory, written once: access control, recall, facts, summaries, forgetting; `memory/backend` is the interface of a store |
//! | `vector` | exact vector search |
//! | `embed` | the built-in embedder |
//! | `delivery` | delivery states as numbers |
//! | `seal` | key ring, tenant keys, person keys, and the envelope of sealed data |
//! | `compact` | JSON, compressed before it is sealed |
//! | `redb/writer`, `snapshot`, `keys`, `vault`, `rewrite` | the writer thread, reads, the tables, the keys of sealed data, rewriting the file |
//! | `redb/ready` | claims, leases, fences and fairness, in memory |
//! | `redb/roles`, `accept`, `arrival`, `linked`, `log`, `append`, `delivery`, `head`, `budget`, `erase`, `export`, `import` | the store of turns |
//! | `redb/recover` | recovery after a failed write |
//! | `redb/index/` | the index, vectors in memory, the search, and the background lanes that index and embed |
//! | `rows`, `redb/rows`, `postgres/rows` | rows of the application |
//! | `postgres/connect`, `migrate`, `tenant`, `vault` | checks at the start, the tables and their policies, the only access to a tenant's rows, the keys |
//! | `postgres/roles`, `accept`, `queue`, `claim`, `append`, `read`, `budget`, `erase`, `export`, `import`, `prune`, `wake` | the store of turns |
//! | `postgres/index/` | the index, and the search: postings and cosines by number, combined here |
//! | `postgres/graph/` | approximate vector indexes of large spaces, created by the owner |
//! | `postgres/rewrap`, `rewrite` | wrapping keys again, rewriting the files |
//!
//! # Features
//! | feature | default | what |
//! |---|---|---|
//! | `redb` | yes | the embedded store |
//! | `postgres` | no | the hosted store |
//! | `pdf` | no | reads PDF documents |
//! | `office` | no | reads DOCX, XLSX and ODS documents |
//! | `crawl` | no | reads websites |
//! | `static-embed` | no | a built-in embedder for 16 languages |
//! | `testkit` | no | `Oracle`, the reference memory that stores are compared with, `SealProbe`, to benchmark sealing, and `isolation`, the proof that a database separates tenants |

#![cfg_attr(
    not(any(feature = "redb", feature = "postgres")),
    expect(dead_code, reason = "only the stores use it")
)]

mod documents;
mod extract;

mod chunk;

#[cfg(feature = "crawl")]
pub mod crawl;

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

#[cfg(any(feature = "redb", feature = "postgres"))]
mod rows;

#[cfg(any(feature = "redb", feature = "postgres"))]
mod shares;

#[cfg(feature = "redb")]
mod redb;

#[cfg(feature = "postgres")]
mod postgres;

#[cfg(feature = "static-embed")]
pub use self::embed::StaticEmbedder;
#[cfg(all(feature = "postgres", feature = "testkit"))]
pub use self::postgres::isolation;
#[cfg(feature = "postgres")]
pub use self::postgres::{Postgres, PostgresBuilder, VectorIndex};
#[cfg(feature = "redb")]
pub use self::redb::{FailedWrite, Redb, RedbBuilder};
pub use self::{
    chunk::{Chunk, chunks},
    documents::Documents,
    extract::{Extracted, extract},
    memory::read_document,
    seal::KeyRing,
    vector::{Arena, Flat, Quantised, dot},
};
#[cfg(feature = "testkit")]
pub use self::{memory::Oracle, seal::SealProbe};
#[cfg(any(feature = "redb", feature = "postgres"))]
pub use self::{
    rows::{Expect, RowChange, RowStore},
    shares::ShareStore,
};

#[cfg(all(doctest, feature = "redb"))]
#[doc = include_str!("../README.md")]
struct Readme;
