//! The archive of an Office file.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read as _},
};

use konstruct_core::{DocumentFormat, Result};
use zip::ZipArchive;

use super::{super::invalid, unreadable, xml::Node};

/// The most bytes of a part, and of all parts that are read.
const PART: usize = 32 << 20;
const ALL: usize = 96 << 20;

pub(super) struct Package<'a> {
    archive: ZipArchive<Cursor<&'a [u8]>>,
    left: usize,
}

impl<'a> Package<'a> {
    pub(super) fn open(content: &'a [u8]) -> Result<Self> {
        let archive = ZipArchive::new(Cursor::new(content))
            .map_err(|error| unreadable().with_source(error))?;
        Ok(Self { archive, left: ALL })
    }

    /// Returns a part as a tree, or `None` if the file has no such part.
    ///
    /// # Errors
    /// It is damaged, or larger than the limits.
    pub(super) fn part(&mut self, name: &str) -> Result<Option<Node>> {
        let name = name.trim_start_matches('/');
        let Ok(part) = self.archive.by_name(name) else {
            return Ok(None);
        };
        let limit = PART.min(self.left);
        let mut content = Vec::new();
        part.take(limit as u64)
            .read_to_end(&mut content)
            .map_err(|error| unreadable().with_source(error))?;
        if content.len() >= limit {
            return Err(invalid(
                "is an Office file that expands to too much data: split it",
            ));
        }
        self.left -= content.len();
        Node::parse(&super::super::decode(DocumentFormat::Html, &content, None)?).map(Some)
    }

    /// Returns the targets of a part's relationships by their ids, as names of parts.
    pub(super) fn relations(&mut self, part: &str) -> Result<BTreeMap<String, String>> {
        let (folder, file) = part.rsplit_once('/').unwrap_or(("", part));
        let Some(root) = self.part(&format!("{folder}/_rels/{file}.rels"))? else {
            return Ok(BTreeMap::new());
        };
        let relation = |node: &Node| {
            let target = node.get("Target")?;
            let target = match target.strip_prefix('/') {
                Some(target) => target.to_owned(),
                None => joined(folder, target),
            };
            Some((node.get("Id")?.to_owned(), target))
        };
        Ok(root.kids.iter().filter_map(relation).collect())
    }
}

/// Resolves a path relative to a folder.
fn joined(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
