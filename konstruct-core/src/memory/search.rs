//! Extracts, splits and ranks texts for a memory without an index.

use std::fmt;

use async_trait::async_trait;

use super::{Document, Hit, Language, NewDocument, Recall};
use crate::{Result, TenantId};

/// Extracts the text of documents and ranks passages. Implement this for a [`ScanMemory`](super::ScanMemory).
#[async_trait]
pub trait PassageSearch: fmt::Debug + Send + Sync + 'static {
    /// Validates a new document and returns its text.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) with the field's name.
    fn read(&self, document: &NewDocument) -> Result<String>;

    /// Splits the text of a document. Equal texts must always be split in the same way, because citations refer to the number of
    /// a section.
    fn split(&self, document: &Document, text: &str) -> Vec<Section>;

    /// Returns the candidates that are relevant to a question, best first and at most as many as requested, with their score and
    /// coverage, and with their signals if requested. The audience may see all candidates.
    ///
    /// # Errors
    /// Those of the ranking.
    async fn rank(&self, question: Question<'_>, candidates: Vec<Candidate>) -> Result<Vec<Hit>>;
}

/// A section of a document, which can be found and cited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// The heading or question above the section; empty if there is none.
    pub title: String,
    /// All headings above the section. They are searched as well.
    pub headings: Vec<String>,
    /// The text.
    pub text: String,
}

/// A query of one scope.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The tenant.
    pub tenant: TenantId,
    /// The language of the tenant's texts.
    pub language: Language,
    /// The complete query.
    pub recall: &'a Recall,
    /// The most hits to return.
    pub limit: usize,
}

/// A passage that may be returned as a hit.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The hit, without score, coverage and signals.
    pub hit: Hit,
    /// Additional text to search: the headings of a document, or the sender's name.
    pub heading: String,
}
