//! Reads the files that people send, with the same extraction as documents of the business.

use std::sync::Arc;

use async_trait::async_trait;
use konstruct_core::{
    DocumentFormat, DocumentReader, Error, ErrorKind, ExtractWarning, Result,
    document::{FileText, SentFile},
};
use tokio::sync::Semaphore;

use crate::extract::{extract, has_pdf_mark};

/// How many files are read at a time, because a PDF can take a second and many megabytes.
const AT_A_TIME: usize = 2;

/// Reads the files that people send: text, Markdown, HTML and CSV, with the feature `pdf` also PDF, and with the feature `office`
/// DOCX, XLSX and ODS. Clones share the limit of two files at a time.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use konstruct_core::{DocumentReader, document::SentFile};
/// use konstruct_memory::Documents;
///
/// let page = SentFile::new("<h1>Menu</h1><p>Soup: 4.50").declared(Some("menu.html".into()), None);
/// assert_eq!(Documents::new().read(page, 1_000).await?.text, "# Menu\n\nSoup: 4.50\n");
/// # Ok::<(), konstruct_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Documents {
    permits: Arc<Semaphore>,
}

impl Default for Documents {
    fn default() -> Self {
        Self::new()
    }
}

impl Documents {
    /// Creates a reader.
    pub fn new() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(AT_A_TIME)),
        }
    }
}

#[async_trait]
impl DocumentReader for Documents {
    async fn read(&self, file: SentFile, max_chars: usize) -> Result<FileText> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let read = tokio::task::spawn_blocking(move || {
            // The work continues if the caller gives up, so it keeps its permit.
            let _permit = permit;
            read(&file, max_chars)
        });
        read.await.unwrap_or_else(|error| {
            let message = "content: cannot be read";
            Err(Error::new(ErrorKind::InvalidInput, message).with_source(error))
        })
    }
}

fn read(file: &SentFile, max_chars: usize) -> Result<FileText> {
    if file.data.is_empty() {
        return Err(Error::invalid("content", "is empty"));
    }
    let extracted = extract(format(file), &file.data)?;
    let notes: Vec<String> = extracted.warnings.iter().map(note).collect();
    let note = (!notes.is_empty()).then(|| notes.join("; "));
    Ok(FileText::new(extracted.text, max_chars).with_note(note))
}

/// Returns the format in which text is read. Formats that are not text are recognised by their bytes.
fn format(file: &SentFile) -> DocumentFormat {
    let name = file.name.as_deref().unwrap_or_default();
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    let media_type = file.media_type.as_deref().unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    let head = &file.data[..file.data.len().min(512)];
    let head = String::from_utf8_lossy(head).trim_start().to_lowercase();
    match ending.to_ascii_lowercase().as_str() {
        _ if head.starts_with("<!doctype html") || head.starts_with("<html") => {
            DocumentFormat::Html
        }
        _ if is_binary(&file.data) => DocumentFormat::Markdown,
        "htm" | "html" | "xhtml" => DocumentFormat::Html,
        "csv" | "tsv" => DocumentFormat::Csv,
        "md" | "markdown" => DocumentFormat::Markdown,
        _ => match media_type {
            "text/html" | "application/xhtml+xml" => DocumentFormat::Html,
            "text/csv" | "text/tab-separated-values" => DocumentFormat::Csv,
            _ => DocumentFormat::Text,
        },
    }
}

/// Returns whether a file is one of the formats that become Markdown, which `extract` recognises if it is declared as one of them.
fn is_binary(data: &[u8]) -> bool {
    data.starts_with(b"PK\x03\x04") || has_pdf_mark(data)
}

fn note(warning: &ExtractWarning) -> String {
    let list = |pages: &[u32]| {
        let pages: Vec<String> = pages.iter().map(u32::to_string).collect();
        pages.join(", ")
    };
    match warning {
        ExtractWarning::PagesWithoutText(pages) => {
            format!("pages without text, such as scans: {}", list(pages))
        }
        ExtractWarning::PagesWithUnknownLetters(pages) => {
            format!("pages whose letters cannot be recognized: {}", list(pages))
        }
        ExtractWarning::PagesCut(pages) => format!("pages that are incomplete: {}", list(pages)),
        _ => "some pages could not be read".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_what_the_bytes_are() {
        let check =
            |name: &str, media_type: &str, data: &[u8], expected: Result<&str, ErrorKind>| {
                let file = SentFile::new(data.to_vec())
                    .declared(Some(name.into()), Some(media_type.into()));
                let text = read(&file, 40)
                    .map(|it| it.text)
                    .map_err(|error| error.kind());
                assert_eq!(text.as_deref().map_err(|kind| *kind), expected, "{name}");
            };
        check(
            "a.csv",
            "",
            b"Item,Price\nSoup,4.50\n",
            Ok("Item,Price\nSoup,4.50\n"),
        );
        check("a.txt", "", b"Soup \xe2\x82\xac 4", Ok("Soup \u{20ac} 4"));
        check("a", "text/html", b"<p>Soup</p>", Ok("Soup\n"));
        check(
            "a.txt",
            "text/plain",
            b"<!DOCTYPE html><p>Soup</p>",
            Ok("Soup\n"),
        );
        check("a.txt", "", b"\xff\xfeH\0i\0", Ok("Hi"));
        // Cars in German, not an archive.
        check("a.txt", "", b"PKW <b>ab</b> 9", Ok("PKW <b>ab</b> 9"));
        check(
            "long.txt",
            "",
            &b"word ".repeat(100),
            Ok("word word word word word word word word "),
        );
        check("a.doc", "", b"{\\rtf1 Soup}", Err(ErrorKind::InvalidInput));
        check(
            "a.pdf",
            "application/pdf",
            b"%PDF-1.7 broken",
            Err(if cfg!(feature = "pdf") {
                ErrorKind::InvalidInput
            } else {
                ErrorKind::Unsupported
            }),
        );
        check("a.txt", "", b"  \n", Err(ErrorKind::InvalidInput));
        check("a.txt", "", b"", Err(ErrorKind::InvalidInput));
    }
}
