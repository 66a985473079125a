//! Types and typed client of the Konstruct admin API.
