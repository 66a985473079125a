//! The table of the built-in embedder of `konstruct-memory`. `data/NOTICE.md` describes its origin and its licence.
//!
//! All numbers are little-endian:
//!
//! | part | size |
//! |---|---|
//! | the mark `kstatic2` | 8 bytes |
//! | the number of pieces, the numbers of a vector, the bytes of the pieces | 3 × `u32` |
//! | the log-probability of each piece | `f32` each |
//! | the scale of each vector | `f32` each |
//! | the vectors: two numbers a byte, the first in the lower four bits, each increased by 8 | half a byte each |
//! | the pieces, in the order of their ids, one a line | UTF-8 |

/// The name and version of the table. Vectors of tables with different names cannot be compared.
pub const NAME: &str = "static-use-128@1";

/// The table.
pub static TABLE: &[u8] = include_bytes!("../data/static-use-128.bin");
