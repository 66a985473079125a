//! Examples of embedding Konstruct: each is a file beside this one, run with
//! `cargo run -p konstruct-examples --example NAME`.

/// The programs of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
