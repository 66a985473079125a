//! How texts are read, split and ranked, for a memory that looks through everything.

use std::fmt;

use async_trait::async_trait;

use super::{Document, Hit, Language, NewDocument, Recall};
use crate::{Result, TenantId};

/// Reads documents and ranks passages: what a [`ScanMemory`](super::ScanMemory) leaves to you.
#[async_trait]
pub trait PassageSearch: fmt::Debug + Send + Sync + 'static {
    /// Checks a new document and returns its text.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) that names the field.
    fn read(&self, document: &NewDocument) -> Result<String>;

    /// Splits the text of a document. An equal text is always split in the same way: what is cited names the number of a section.
    fn split(&self, document: &Document, text: &str) -> Vec<Section>;

    /// Returns the candidates that are relevant to a question, best first, at most as many as it asks for, with their score, coverage
    /// and, where it asks for them, signals. All candidates may be seen by the audience.
    ///
    /// # Errors
    /// Those of whatever ranks them.
    async fn rank(&self, question: Question<'_>, candidates: Vec<Candidate>) -> Result<Vec<Hit>>;
}

/// A part of a document that can be found and cited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// The heading or question that it stands under; empty where there is none.
    pub title: String,
    /// All headings that it stands under. They are searched besides the text.
    pub headings: Vec<String>,
    /// The text.
    pub text: String,
}

/// A question to one scope.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The tenant.
    pub tenant: TenantId,
    /// The language that the tenant's texts are in.
    pub language: Language,
    /// The whole question.
    pub recall: &'a Recall,
    /// The most hits to return.
    pub limit: usize,
}

/// Something that may be an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// What is returned if it is one: without a score, a coverage and signals.
    pub hit: Hit,
    /// What is searched besides the text: the headings of a document, or the name of who said it.
    pub heading: String,
}
