//! Extracts text from the bytes of a document. Formats that are not text become Markdown.

mod charset;
mod faq;
mod html;
#[cfg(feature = "office")]
mod office;
#[cfg(feature = "pdf")]
mod pdf;
mod sniff;

use konstruct_core::{DocumentFormat, Error, ExtractWarning, Result};

#[cfg(feature = "crawl")]
pub(crate) use self::html::{WebPage, joined};
pub(crate) use self::{
    charset::decode,
    html::{Block, Kind, blocks, escaped},
    sniff::has_pdf_mark,
};

/// The most bytes of text a document may have.
const TEXT: usize = 1 << 20;

/// The text of a document, and what a reader of it should know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extracted {
    /// The text, for [`chunks`](crate::chunks).
    pub text: String,
    /// What is missing in the text.
    pub warnings: Vec<ExtractWarning>,
}

impl From<String> for Extracted {
    fn from(text: String) -> Self {
        Self {
            text,
            warnings: Vec::new(),
        }
    }
}

/// Returns the text of a document, for [`chunks`](crate::chunks).
///
/// * Text, Markdown and CSV are returned as they are, decoded: by the byte order mark, as a page declares, or as detected. Lines end
///   with `\n`.
/// * HTML becomes Markdown with its headings, paragraphs, lists, table rows, struck text and links. Scripts, styles, navigation and
///   hidden elements are dropped, and footers without contact details. Panels that a button or link opens are kept, and so are
///   the questions and answers of a JSON-LD `FAQPage`.
/// * PDF becomes Markdown with a heading for each page, and headings below it for lines in larger letters. Needs the feature `pdf`.
/// * DOCX, XLSX and ODS become Markdown. A visible sheet is a heading, and each of its rows a paragraph with the names of the columns:
///   `Name: value; Name: value`. Numbers are read as they are shown. Needs the feature `office`.
/// * JSON of questions and answers in its usual shapes becomes `Q:` and `A:` lines.
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
        DocumentFormat::Html => html::markdown(&decode(format, content, None)?).into(),
        DocumentFormat::Faq => faq::lines(decode(format, content, None)?)?.into(),
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
        _ => decode(format, content, None)?.into(),
    };
    // Markdown may consist of comments.
    let is_empty = extracted.text.trim().is_empty()
        || (format == DocumentFormat::Markdown
            && crate::chunks(format, &extracted.text).is_empty());
    if is_empty {
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
        check(b"f\0\xfc\0r\0", Some("für"));
        check(b"\0f\0\xfc\0r", Some("für"));
        check(b"f\xfcr 9 \x80", Some("für 9 €"));
        check(b"a\r\nb\rc", Some("a\nb\nc"));
        check(b"\x1b$B1D6H\x1b(B", Some("営業"));
        check(b" \n", None);
        check(b"\xfe\xff\0f\xd8\0", None);
        check(&[0, 1, 2, 3, 4, 5, 6], None);
        let text = extract(
            DocumentFormat::Csv,
            "営業時間は十時から十七時まで"
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect::<Vec<_>>()
                .as_slice(),
        );
        assert!(text.is_err());
    }

    #[test]
    fn a_page_is_decoded_as_it_declares() {
        let check = |head: &str, body: &[u8], expected: &str| {
            let page = [head.as_bytes(), b"<p>", body].concat();
            assert_eq!(
                extract(DocumentFormat::Html, &page).unwrap().text,
                format!("{expected}\n"),
                "{head}"
            );
        };
        check(
            "<meta charset=koi8-r>",
            b"\xed\xcf\xd3\xcb\xd7\xc1",
            "Москва",
        );
        check(
            "<META http-equiv=Content-Type content=\"text/html; charset=iso-8859-2\">",
            b"\xb3",
            "ł",
        );
        check(
            "<?xml version='1.0' encoding='Shift_JIS'?>",
            b"\x89\x63\x8b\xc6",
            "営業",
        );
        // A wrong declaration is not believed.
        check("<meta charset=iso-8859-1>", "für".as_bytes(), "für");
        check(
            "<meta charset=utf-8>",
            b"ge\xf6ffnet f\xfcr Sie",
            "geöffnet für Sie",
        );
    }

    #[test]
    fn an_error_names_the_field() {
        let check = |format, content: &[u8], expected: &str| {
            let error = extract(format, content).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("content"), "{error}");
            assert!(error.to_string().contains(expected), "{error}");
        };
        check(DocumentFormat::Text, b"a\0b\x01\x02", "save it as UTF-8");
        check(
            DocumentFormat::Csv,
            b"a\0b\x01\x02",
            "save it as \"CSV UTF-8\"",
        );
        // DOS: the byte of an accent is a half of a letter elsewhere.
        check(
            DocumentFormat::Csv,
            b"Hose;gr\x81n;9,90\nRock;blau;19,90",
            "CSV UTF-8",
        );
        check(DocumentFormat::Markdown, b"<!-- nothing -->", "no text");
        check(DocumentFormat::Text, b"%PDF-1.7", "PDF");
        check(DocumentFormat::Csv, b"PK\x03\x04..xl/workbook.xml", "XLSX");
        check(
            DocumentFormat::Faq,
            b"PK\x03\x04..word/document.xml",
            "DOCX",
        );
        check(DocumentFormat::Html, b"\x89PNG\r\n", "image");
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
        fn no_bytes_panic(
            content in proptest::collection::vec(any::<u8>(), 0..400),
            html in "(<(/?(p|b|del|sup|ul|ol|li|table|tr|td|th|h2|a|details|summary|button|dl|dt|dd|pre|script)( (id=a|hidden|href=#a|rowspan=0|colspan=9|value=7|style='display:none'))?>)|[a-z0-9 &;?]{0,6}){0,60}",
            text in "([#>*_`~|\\[\\]()<!:=+;,\"?{}\\\\^&-]|[a-zQA0-9]{0,4}|[ \t\n\r]|\n\n|1\\.|Q:|A:|---|```){0,120}",
        ) {
            let formats = [
                DocumentFormat::Text,
                DocumentFormat::Markdown,
                DocumentFormat::Html,
                DocumentFormat::Csv,
                DocumentFormat::Faq,
                DocumentFormat::Pdf,
            ];
            for format in formats {
                for content in [content.as_slice(), html.as_bytes(), text.as_bytes()] {
                    if let Ok(extracted) = extract(format, content) {
                        chunks(format, &extracted.text);
                    }
                }
            }
        }

        #[test]
        fn text_of_a_page_is_no_markdown(text in "[a-z0-9*_#<>&\\[\\]().~`|{}!:=+^\\\\\"' -]{1,60}") {
            let escaped = text.replace('&', "&amp;").replace('<', "&lt;");
            let page = format!("<ul><li>one<li>{escaped}</ul>");
            let markdown = extract(DocumentFormat::Html, page.as_bytes()).unwrap();
            let shown = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let shown = format!("- one\n- {shown}");
            let chunks = chunks(DocumentFormat::Html, &markdown.text);
            prop_assert_eq!(&chunks[0].text, shown.trim_end_matches("\n- "), "{}", markdown.text);
        }
    }
}
