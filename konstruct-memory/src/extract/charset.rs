//! Decodes text: by its byte order mark, as it declares itself, or as it looks.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, ISO_2022_JP, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use konstruct_core::{DocumentFormat, Result};

use super::invalid;

/// Where a page may declare its encoding.
const HEAD: usize = 4096;
/// One of this many characters may be unreadable.
const UNREADABLE: usize = 500;

/// The first bytes of files that are not text, and what they are.
const FILES: &[(&[u8], &str)] = &[
    (b"%PDF-", "a PDF"),
    (b"PK\x03\x04", "a ZIP, Word or Excel file"),
    (b"\xd0\xcf\x11\xe0", "an old Word or Excel file"),
    (b"{\\rtf", "an RTF file"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"RIFF", "an image, a sound or a video"),
    (b"\x1f\x8b", "a compressed file"),
    (b"7z\xbc\xaf", "a compressed file"),
    (b"Rar!", "a compressed file"),
    (b"SQLite format 3", "a database"),
    (b"\x7fELF", "a program"),
    (b"ID3", "a sound"),
    (b"OggS", "a sound"),
];

/// Returns the text of a document, with `\n` at the end of lines. `header` is the encoding that the server of a page declares.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) if it is not text, or its encoding cannot be told.
pub(crate) fn decode(
    format: DocumentFormat,
    content: &[u8],
    header: Option<&str>,
) -> Result<String> {
    let advice = match format {
        DocumentFormat::Csv => "save it as \"CSV UTF-8\"",
        _ => "save it as UTF-8",
    };
    if let Some((_, what)) = FILES.iter().find(|(start, _)| content.starts_with(start)) {
        let what = if *what == "a ZIP, Word or Excel file" {
            zip(content)
        } else {
            what
        };
        return Err(invalid(&format!(
            "is {what}, not text: choose the format of the file, or {advice}"
        )));
    }
    let (encoding, start) = match Encoding::for_bom(content) {
        Some((encoding, length)) => (encoding, length),
        None => (encoding(format, content, header), 0),
    };
    let (text, _) = encoding.decode_without_bom_handling(&content[start..]);
    let text = text.trim_end_matches('\u{1a}');
    let unreadable = text.chars().filter(|c| {
        *c == '\u{fffd}'
            || (c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\x0b' | '\x0c' | '\u{85}'))
    });
    let unreadable = unreadable.count();
    if unreadable > 0 && unreadable * UNREADABLE > text.chars().count() {
        return Err(invalid(&format!(
            "is not text in an encoding that can be told: {advice}"
        )));
    }
    let text = if text.contains('\r') {
        text.replace("\r\n", "\n").replace('\r', "\n")
    } else {
        text.to_owned()
    };
    Ok(text.replace(
        |c: char| matches!(c, '\0'..='\x08' | '\x0e'..='\x1f' | '\x7f'),
        "",
    ))
}

/// Returns what a ZIP holds.
fn zip(content: &[u8]) -> &'static str {
    let head = &content[..content.len().min(HEAD)];
    let has = |name: &[u8]| head.windows(name.len()).any(|part| part == name);
    if has(b"word/") {
        "a Word file (DOCX)"
    } else if has(b"xl/") {
        "an Excel file (XLSX)"
    } else if has(b"opendocument") {
        "an OpenDocument file"
    } else {
        "a ZIP, Word or Excel file"
    }
}

fn encoding(format: DocumentFormat, content: &[u8], header: Option<&str>) -> &'static Encoding {
    let has_escape = content.windows(2).any(|pair| pair == b"\x1b$");
    if has_escape && content.is_ascii() {
        return ISO_2022_JP;
    }
    if let Some(wide) = wide(content) {
        return wide;
    }
    let invalid = match std::str::from_utf8(content) {
        Ok(_) => return UTF_8,
        Err(_) => content
            .utf8_chunks()
            .filter(|part| !part.invalid().is_empty())
            .count(),
    };
    let valid = content.utf8_chunks().map(|part| part.valid());
    let valid: usize = valid
        .map(|text| text.chars().filter(|c| !c.is_ascii()).count())
        .sum();
    // Some damaged bytes do not change what the others are.
    if valid > 20 * invalid {
        return UTF_8;
    }
    let header = header.and_then(|label| Encoding::for_label(label.as_bytes()));
    header
        .filter(|encoding| ![UTF_8, UTF_16BE, UTF_16LE].contains(encoding))
        .or_else(|| declared(content).filter(|_| format == DocumentFormat::Html))
        .filter(|encoding| *encoding != UTF_8)
        .unwrap_or_else(|| {
            let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
            detector.feed(content, true);
            let guess = detector.guess(None, Utf8Detection::Deny);
            // Rare letters beyond ASCII are accents.
            let others = content.iter().filter(|byte| !byte.is_ascii()).count();
            if others * 20 < content.len() && !guess.is_single_byte() {
                WINDOWS_1252
            } else {
                guess
            }
        })
}

/// Recognises UTF-16 without a mark by its zero bytes.
fn wide(content: &[u8]) -> Option<&'static Encoding> {
    let (pairs, _) = content[..content.len().min(HEAD)].as_chunks::<2>();
    let high = pairs.iter().filter(|pair| pair[0] == 0).count();
    let low = pairs.iter().filter(|pair| pair[1] == 0).count();
    let is_many = |zeros: usize| zeros > 0 && zeros * 20 >= pairs.len();
    match (is_many(high), is_many(low)) {
        (true, false) if low == 0 => Some(UTF_16BE),
        (false, true) if high == 0 => Some(UTF_16LE),
        _ => None,
    }
}

/// Returns the encoding that a page declares: `<meta charset>`, `http-equiv` or an XML declaration.
fn declared(content: &[u8]) -> Option<&'static Encoding> {
    let head = content[..content.len().min(HEAD)].to_ascii_lowercase();
    let head = String::from_utf8_lossy(&head);
    let mut rest = &*head;
    while let Some(at) = rest.find("charset").map(|at| at + 7).or_else(|| {
        let at = rest.find("encoding")?;
        Some(at + 8)
    }) {
        rest = &rest[at..];
        let value = rest.trim_start().strip_prefix('=').map(str::trim_start);
        let label = value.and_then(|value| {
            let value = value.trim_start_matches(['"', '\'']);
            value
                .split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | ':' | '.'))
                .next()
        });
        let encoding = label.and_then(|label| Encoding::for_label(label.as_bytes()));
        // What states its encoding in single bytes is not in two.
        if let Some(encoding) = encoding.filter(|one| *one != UTF_16LE && *one != UTF_16BE) {
            return Some(encoding);
        }
    }
    None
}
