//! Examples of embedding Konstruct.
