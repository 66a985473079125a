//! The `DocumentReader` trait, which turns files that people send into text.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

use crate::Result;

/// Reads the text of files that people send, such as PDF, Word and Excel files.
///
/// # Contract
/// * The format is what the bytes are. The declared media type and the name come from the sender and are only hints.
/// * Time and memory are bounded for any bytes, and the work does not block the async threads.
/// * A file without text is an error, never an empty text.
#[async_trait]
pub trait DocumentReader: fmt::Debug + Send + Sync + 'static {
    /// Reads at most `max_chars` characters of the text of a file.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) or [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if
    /// the file cannot be read. The message says why in words that the sender understands, and repeats nothing of the file.
    async fn read(&self, file: SentFile, max_chars: usize) -> Result<FileText>;
}

/// A file that a person sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SentFile {
    /// The name.
    pub name: Option<String>,
    /// The declared media type.
    pub media_type: Option<String>,
    /// The bytes.
    pub data: Bytes,
}

impl SentFile {
    /// Creates a file without a name.
    pub fn new(data: impl Into<Bytes>) -> Self {
        Self {
            name: None,
            media_type: None,
            data: data.into(),
        }
    }

    /// Sets the name and the declared media type.
    #[must_use]
    pub fn declared(mut self, name: Option<String>, media_type: Option<String>) -> Self {
        self.name = name;
        self.media_type = media_type;
        self
    }
}

/// The text of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileText {
    /// The beginning of the text.
    pub text: String,
    /// The number of characters of the whole text.
    pub characters: u64,
    /// What is missing in the text, such as "pages without text: 2, 3".
    pub note: Option<String>,
}

impl FileText {
    /// Creates the text of a file, of which only the first characters are kept.
    pub fn new(mut text: String, max_chars: usize) -> Self {
        let characters = text.chars().count() as u64;
        if let Some((end, _)) = text.char_indices().nth(max_chars) {
            text.truncate(end);
        }
        Self {
            text,
            characters,
            note: None,
        }
    }

    /// Sets what is missing in the text.
    #[must_use]
    pub fn with_note(mut self, note: impl Into<Option<String>>) -> Self {
        self.note = note.into();
        self
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<R: DocumentReader + ?Sized> DocumentReader for Arc<R> {
    async fn read(&self, file: SentFile, max_chars: usize) -> Result<FileText> {
        (**self).read(file, max_chars).await
    }
}
