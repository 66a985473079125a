//! Extracts text from the bytes of a document. Formats that are not text become Markdown.

mod faq;
mod html;
#[cfg(feature = "office")]
mod office;
#[cfg(feature = "pdf")]
mod pdf;
mod sniff;

use konstruct_core::{DocumentFormat, Error, Result};

/// The most bytes of text a document may have.
const TEXT: usize = 1 << 20;

/// The text of a document, and what a reader of it should know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extracted {
    /// The text, for [`chunks`](crate::chunks).
    pub text: String,
    /// What is missing in the text.
    pub warnings: Vec<Warning>,
}

impl From<String> for Extracted {
    fn from(text: String) -> Self {
        Self {
            text,
            warnings: Vec::new(),
        }
    }
}

/// A part of a document that could not be read. Pages are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// Pages that are blank or hold only images, as scans do.
    PagesWithoutText(Vec<usize>),
    /// Pages whose fonts do not say which letters most of their glyphs are.
    PagesWithUnknownLetters(Vec<usize>),
    /// Pages with so many glyphs that the rest of them is missing.
    PagesCut(Vec<usize>),
}

/// Returns the text of a document, for [`chunks`](crate::chunks).
///
/// * Text, Markdown and CSV are returned unchanged.
/// * HTML becomes Markdown with its headings, paragraphs, lists, table rows and links. Scripts, styles, navigation, footers and
///   hidden elements are dropped.
/// * PDF becomes Markdown with a heading for each page, and headings below it for lines in larger letters. Needs the feature `pdf`.
/// * DOCX, XLSX and ODS become Markdown. A visible sheet is a heading, and each of its rows a paragraph with the names of the columns:
///   `Name: value; Name: value`. Numbers are read as they are shown. Needs the feature `office`.
/// * A JSON array of objects with `question` and `answer` becomes `Q:` and `A:` lines.
///
/// A PDF or Office file that is declared as another of the formats that become Markdown is read as what its bytes are. Formats that
/// cannot be read, such as RTF, DOC, XLS, PPTX and images, are recognised whatever is declared, and the error says how to save
/// the file.
///
/// ```
/// use konstruct_core::DocumentFormat;
/// use konstruct_memory::extract;
///
/// let page = b"<nav>Home</nav><h1>Opening hours</h1><p>Monday to Friday,<br>9 to 18.";
/// assert_eq!(extract(DocumentFormat::Html, page)?.text, "# Opening hours\n\nMonday to Friday,\n9 to 18.\n");
/// # Ok::<(), konstruct_core::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) that names `content`: it is not of the format, has no text or
/// more than 1 MiB of it; [`ErrorKind::Unsupported`](konstruct_core::ErrorKind::Unsupported) for a format that this build
/// cannot read.
pub fn extract(format: DocumentFormat, content: &[u8]) -> Result<Extracted> {
    let extracted: Extracted = match sniff::format(format, content)? {
        DocumentFormat::Html => html::markdown(&utf8(content)?).into(),
        DocumentFormat::Faq => faq::lines(utf8(content)?)?.into(),
        #[cfg(feature = "pdf")]
        DocumentFormat::Pdf => pdf::markdown(content)?,
        #[cfg(feature = "office")]
        DocumentFormat::Docx => office::docx(content)?.into(),
        #[cfg(feature = "office")]
        DocumentFormat::Xlsx => office::xlsx(content)?.into(),
        #[cfg(feature = "office")]
        DocumentFormat::Ods => office::ods(content)?.into(),
        #[cfg(not(feature = "pdf"))]
        DocumentFormat::Pdf => return Err(unsupported("PDF", "pdf")),
        #[cfg(not(feature = "office"))]
        DocumentFormat::Docx | DocumentFormat::Xlsx | DocumentFormat::Ods => {
            return Err(unsupported("Office files", "office"));
        }
        _ => utf8(content)?.into(),
    };
    if extracted.text.trim().is_empty() {
        return Err(invalid("has no text"));
    }
    if extracted.text.len() > TEXT {
        return Err(invalid("has more than 1 MiB of text"));
    }
    Ok(extracted)
}

#[cfg(not(all(feature = "pdf", feature = "office")))]
fn unsupported(what: &str, feature: &str) -> Error {
    Error::new(
        konstruct_core::ErrorKind::Unsupported,
        format!("content: this build cannot read {what}: enable the feature `{feature}`"),
    )
}

fn invalid(message: &str) -> Error {
    Error::invalid("content", message)
}

/// Decodes UTF-8, or UTF-16 with a byte order mark: spreadsheets write both.
fn utf8(content: &[u8]) -> Result<String> {
    let wide = |bytes: &[u8], read: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| read(*pair)).collect();
        String::from_utf16(&units).ok().filter(|_| rest.is_empty())
    };
    let text = match content {
        [0xef, 0xbb, 0xbf, rest @ ..] => std::str::from_utf8(rest).ok().map(str::to_owned),
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        bytes => std::str::from_utf8(bytes).ok().map(str::to_owned),
    };
    text.ok_or_else(|| invalid("is not UTF-8 or UTF-16: save it as UTF-8"))
}

#[cfg(test)]
mod tests {
    use konstruct_core::ErrorKind;
    use proptest::prelude::*;

    use super::*;
    use crate::chunks;

    #[test]
    fn text_is_decoded() {
        let check = |content: &[u8], expected: Option<&str>| {
            let extracted = extract(DocumentFormat::Text, content);
            let text = extracted.as_ref().map(|extracted| extracted.text.as_str());
            assert_eq!(text.ok(), expected, "{content:?}");
        };
        check(b"plain", Some("plain"));
        check("\u{feff}für".as_bytes(), Some("für"));
        check(b"\xff\xfef\0\xfc\0r\0", Some("für"));
        check(b"\xfe\xff\0f\0\xfc\0r", Some("für"));
        check(b"\xfe\xff\0f\0", None);
        check(b"f\xfcr", None);
        check(b" \n", None);
    }

    #[test]
    fn an_error_names_the_field() {
        let check = |format, content: &[u8], expected: &str| {
            let error = extract(format, content).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("content"), "{error}");
            assert!(error.to_string().contains(expected), "{error}");
        };
        check(DocumentFormat::Text, b"\xff", "UTF-8");
        check(DocumentFormat::Html, b"<script>x</script>", "no text");
        check(DocumentFormat::Faq, b"[{\"question\": \"q\"}]", "question");
        check(
            DocumentFormat::Text,
            "x".repeat((1 << 20) + 1).as_bytes(),
            "1 MiB",
        );
        #[cfg(feature = "pdf")]
        check(DocumentFormat::Pdf, b"no pdf", "PDF");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn no_bytes_panic(content in proptest::collection::vec(any::<u8>(), 0..400), html in "[<>/a-z0-9 =\"'&;!#-]{0,300}") {
            for format in [DocumentFormat::Text, DocumentFormat::Markdown, DocumentFormat::Html, DocumentFormat::Csv, DocumentFormat::Faq, DocumentFormat::Pdf] {
                for content in [content.as_slice(), html.as_bytes()] {
                    if let Ok(extracted) = extract(format, content) {
                        chunks(format, &extracted.text);
                    }
                }
            }
        }
    }
}
