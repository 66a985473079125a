//! Benchmarks and proofs of Konstruct, as programs.
