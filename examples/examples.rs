//! Examples of embedding Konstruct: each is a file beside this one, run with `cargo run -p konstruct-examples --example NAME`.
