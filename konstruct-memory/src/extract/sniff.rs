//! Recognises what a file is by its bytes.

use konstruct_core::{DocumentFormat, Result};

use super::invalid;

/// What the first bytes of a file say.
enum Kind {
    /// A format that can be read, with its name.
    Format(DocumentFormat, &'static str),
    /// A format that cannot: its name and what to do.
    Foreign(&'static str, &'static str),
}

/// Returns the format in which a file is read: that of its bytes, if it becomes Markdown as the declared one does.
///
/// # Errors
/// The file is of a format that cannot be read, or of another than declared that is split into passages in another way.
pub(super) fn format(declared: DocumentFormat, content: &[u8]) -> Result<DocumentFormat> {
    let is_markdown = matches!(
        declared,
        DocumentFormat::Markdown
            | DocumentFormat::Html
            | DocumentFormat::Pdf
            | DocumentFormat::Docx
            | DocumentFormat::Xlsx
            | DocumentFormat::Ods
    );
    match kind(declared, content) {
        Some(Kind::Format(found, _)) if found == declared || is_markdown => Ok(found),
        Some(Kind::Format(_, name)) => Err(invalid(&format!("is {name}: declare it as such"))),
        Some(Kind::Foreign(name, advice)) => Err(invalid(&format!("is {name}: {advice}"))),
        None => match declared {
            // Some programs write a few bytes before the PDF begins.
            DocumentFormat::Pdf if has_pdf_mark(content) => Ok(declared),
            DocumentFormat::Pdf => Err(invalid("is not a PDF")),
            DocumentFormat::Docx => Err(invalid("is not a DOCX")),
            DocumentFormat::Xlsx => Err(invalid("is not an XLSX")),
            DocumentFormat::Ods => Err(invalid("is not an ODS")),
            text => Ok(text),
        },
    }
}

/// Returns whether a PDF begins at, or a few bytes after, the beginning.
pub(crate) fn has_pdf_mark(content: &[u8]) -> bool {
    let head = &content[..content.len().min(1024)];
    head.windows(5).any(|part| part == b"%PDF-")
}

fn kind(declared: DocumentFormat, content: &[u8]) -> Option<Kind> {
    let has = |name: &[u8]| content.windows(name.len()).any(|part| part == name);
    let wide = |name: &str| has(&name.bytes().flat_map(|byte| [byte, 0]).collect::<Vec<u8>>());
    const IMAGE: Kind = Kind::Foreign(
        "an image",
        "turn it into text with a program for text recognition (OCR)",
    );
    const ARCHIVE: Kind = Kind::Foreign("an archive", "add the files in it one by one");
    Some(match content {
        [b'%', b'P', b'D', b'F', b'-', ..] => Kind::Format(DocumentFormat::Pdf, "a PDF"),
        [b'P', b'K', 3 | 5, 4 | 6, ..] => {
            if has(b"word/document") {
                Kind::Format(DocumentFormat::Docx, "a DOCX")
            } else if has(b"xl/workbook.bin") {
                Kind::Foreign("an XLSB", "save it as XLSX")
            } else if has(b"xl/workbook") {
                Kind::Format(DocumentFormat::Xlsx, "an XLSX")
            } else if has(b"application/vnd.oasis.opendocument.spreadsheet") {
                Kind::Format(DocumentFormat::Ods, "an ODS")
            } else if has(b"application/vnd.oasis.opendocument.text") {
                Kind::Foreign("an ODT", "save it as DOCX")
            } else if has(b"application/vnd.oasis.opendocument") {
                Kind::Foreign("an OpenDocument presentation or drawing", "save it as PDF")
            } else if has(b"ppt/presentation") {
                Kind::Foreign("a PPTX", "save it as PDF")
            } else if has(b"Index/Document.iwa") || has(b"Index.zip") {
                Kind::Foreign(
                    "a Pages, Numbers or Keynote document",
                    "export it as DOCX, XLSX or PDF",
                )
            } else if has(b"application/epub+zip") {
                Kind::Foreign("an EPUB", "convert it to PDF or DOCX")
            } else if declared == DocumentFormat::Ods && has(b"content.xml") {
                // Packed again by another program, without its type at the beginning.
                Kind::Format(DocumentFormat::Ods, "an ODS")
            } else {
                ARCHIVE
            }
        }
        [0xd0, 0xcf, 0x11, 0xe0, ..] => {
            if wide("EncryptedPackage") {
                Kind::Foreign("an Office file with a password", "save it without one")
            } else if wide("WordDocument") {
                Kind::Foreign("a DOC", "save it as DOCX")
            } else if wide("Workbook") || wide("Book") {
                Kind::Foreign("an XLS", "save it as XLSX")
            } else if wide("PowerPoint Document") {
                Kind::Foreign("a PPT", "save it as PDF")
            } else {
                Kind::Foreign("an old Office file", "save it as DOCX, XLSX or PDF")
            }
        }
        [b'{', b'\\', b'r', b't', b'f', ..] => Kind::Foreign("an RTF", "save it as DOCX"),
        [0x89, b'P', b'N', b'G', ..]
        | [0xff, 0xd8, 0xff, ..]
        | [b'G', b'I', b'F', b'8', ..]
        | [b'I', b'I', b'*', 0, ..]
        | [b'M', b'M', 0, b'*', ..]
        | [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..]
        | [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => IMAGE,
        [
            _,
            _,
            _,
            _,
            b'f',
            b't',
            b'y',
            b'p',
            b'h' | b'm' | b'a',
            b'e' | b'i' | b'v',
            ..,
        ] => IMAGE,
        [0x1f, 0x8b, 8, ..] | [b'7', b'z', 0xbc, 0xaf, ..] | [b'R', b'a', b'r', b'!', 0x1a, ..] => {
            ARCHIVE
        }
        [b'%', b'!', b'P', b'S', ..] => Kind::Foreign("a PostScript file", "save it as PDF"),
        _ => return None,
    })
}
