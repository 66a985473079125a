//! What models cost: a versioned table, and files in its form.

mod table;

pub use self::table::PriceTable;
