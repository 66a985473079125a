//! Creates the static table of `konstruct-embed-data`.

mod pieces;
mod principal;
mod rows;
mod table;

pub use self::{
    pieces::{Piece, pieces},
    principal::Principal,
    rows::{WIDTH, rows},
    table::write,
};
