//! Stores of Konstruct: the durable journal, recall and knowledge on redb.

mod seal;

pub use self::seal::PlainSealer;
