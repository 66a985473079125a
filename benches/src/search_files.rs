//! Searches files for words that must not be in them.

use std::{collections::BTreeSet, fs, path::Path};

use crate::Failed;

/// The number of characters of a word after its prefix.
const TAIL: usize = 5;

/// Adds the words in some bytes that begin with a prefix.
pub fn search_bytes(bytes: &[u8], prefix: &str, found: &mut BTreeSet<String>) {
    let mut from = 0;
    while let Some(at) = find(&bytes[from..], prefix.as_bytes()) {
        let end = bytes.len().min(from + at + prefix.len() + TAIL);
        found.insert(String::from_utf8_lossy(&bytes[from + at..end]).into_owned());
        from += at + 1;
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

/// Returns the words with a prefix in the files under a path.
///
/// # Errors
/// A file cannot be read.
pub fn search_files(path: &Path, prefix: &str) -> Result<BTreeSet<String>, Failed> {
    let mut found = BTreeSet::new();
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            found.extend(search_files(&entry?.path(), prefix)?);
        }
    } else if path.is_file() {
        search_bytes(&fs::read(path)?, prefix, &mut found);
    }
    Ok(found)
}
