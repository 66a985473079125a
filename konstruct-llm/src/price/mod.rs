//! Model prices: a versioned table, and files in the same format.

#[cfg(feature = "openai")]
mod speech;
mod table;

#[cfg(feature = "openai")]
pub(crate) use self::speech::speech;
pub use self::table::PriceTable;
