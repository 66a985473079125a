//! Model prices: a versioned table, and files in the same format.

mod table;

pub use self::table::PriceTable;
