//! Stores of Konstruct: the durable journal, recall and knowledge on redb.
//!
//! One [`Redb`] is a [`Journal`](konstruct_core::turn::Journal) and a [`MemoryStore`](konstruct_core::MemoryStore) in one file:
//! nothing to install, one process, group commit.
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
//! | `bm25` | the arithmetic of recall |
//! | `vector` | exact search among vectors |
//! | `embed` | the built-in embedder |
//! | `seal` | key ring, tenant keys, person keys, and the envelope of what is stored |
//! | `redb/writer`, `redb/snapshot`, `redb/keys`, `redb/vault` | the one writer, reading, the tables, and the keys of what is sealed |
//! | `redb/ready` | claims, leases, fences and fairness, in memory |
//! | `redb/accept`, `append`, `budget`, `erase`, `export`, `journal`, `head` | the journal |
//! | `redb/knowledge`, `history`, `index` | the memory store |
//! | `redb/rows` | rows of the application's own |
//!
//! # Features
//! | feature | default | what |
//! |---|---|---|
//! | `redb` | yes | the embedded store |
//! | `postgres` | no | the hosted store |
//! | `pdf` | no | reads PDF documents |
//! | `static-embed` | no | an embedder in the program, for English |

mod extract;

mod chunk;

mod analyze;

mod bm25;

mod memory;

mod vector;

#[cfg(feature = "static-embed")]
mod embed;

mod seal;

#[cfg(feature = "redb")]
mod redb;

#[cfg(feature = "postgres")]
mod postgres;

#[cfg(feature = "static-embed")]
pub use self::embed::StaticEmbedder;
#[cfg(feature = "testkit")]
pub use self::memory::Oracle;
#[cfg(feature = "postgres")]
pub use self::postgres::{Postgres, PostgresBuilder};
#[cfg(feature = "redb")]
pub use self::redb::{Expect, Redb, RedbBuilder, RowChange};
pub use self::{
    analyze::terms,
    chunk::{Chunk, chunks},
    extract::extract,
    seal::KeyRing,
    vector::{Arena, Flat, Quantised, dot},
};
