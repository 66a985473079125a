//! Turns DOCX, XLSX and ODS into Markdown.
//!
//! Each is an archive of XML parts. A part is inflated up to a limit and parsed into a tree with a limit of elements; entities are
//! not expanded.

mod docx;
mod grid;
mod number;
mod ods;
mod package;
#[cfg(test)]
mod tests;
mod xlsx;
mod xml;

use konstruct_core::{Error, Result};

use super::invalid;

pub(super) fn docx(content: &[u8]) -> Result<String> {
    docx::markdown(package::Package::open(content)?)
}

pub(super) fn xlsx(content: &[u8]) -> Result<String> {
    xlsx::markdown(package::Package::open(content)?)
}

pub(super) fn ods(content: &[u8]) -> Result<String> {
    ods::markdown(package::Package::open(content)?)
}

fn unreadable() -> Error {
    invalid("is an Office file that cannot be read: save it again")
}

/// Escapes a line that begins like a heading.
fn escaped(line: &str) -> String {
    if line.starts_with('#') || line.starts_with("```") || line.starts_with("~~~ ") {
        format!("\u{200b}{line}")
    } else {
        line.to_owned()
    }
}
