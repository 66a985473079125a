//! The table of the built-in embedder of `konstruct-memory`. `data/NOTICE.md` describes its origin and its licence.
//!
//! All numbers are little-endian:
//!
//! | part | size |
//! |---|---|
//! | the mark `kstatic3` | 8 bytes |
//! | the number of pieces, and the numbers of a vector | 2 × `u32` |
//! | the least log-probability of a piece | `f32` |
//! | where each piece ends in the text at the end | `u32` each |
//! | how many places before each piece its longest prefix among them is; 0 if there is none | `u32` each |
//! | the log-probability of each piece | `f32` each |
//! | the scale of each vector | `f32` each |
//! | the vectors: two numbers a byte, the first in the lower four bits, each increased by 8 | half a byte each |
//! | the id of each piece in the encoder | `u32` each |
//! | the pieces, one after the other | UTF-8 |
//!
//! All parts have the pieces in the order of their bytes. So a text is looked up in the file itself, pieces of one script are close
//! together, and of a program that embeds a few languages only a part of the table is in memory.

/// The name and version of the table. Vectors of tables with different names cannot be compared.
pub const NAME: &str = "static-use-128@1";

/// The table.
pub static TABLE: &[u8] = include_bytes!("../data/static-use-128.bin");
