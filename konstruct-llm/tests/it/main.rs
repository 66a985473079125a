//! The integration tests of konstruct-llm.

mod accuracy;
