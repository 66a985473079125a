//! Turns PDF into Markdown: the text of each page under a heading with its number.
//!
//! The parser has limits for everything that can be decompressed. A file may still contain anything, so a panic of the parser is
//! returned as an error.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use konstruct_core::{Error, Result};
use lopdf::{
    Dictionary, Document, Encoding, LoadOptions, Object,
    content::{Content, Operation},
};

use super::{TEXT, invalid};

/// The most pages.
const PAGES: usize = 2000;
/// The most bytes that all streams together may decompress to. They share it equally, with at most [`STREAM`] each.
const ALL: usize = 256 << 20;
const STREAM: usize = 16 << 20;
/// The minimum share of a stream.
const LEAST: usize = 128 << 10;

/// Returns the text of a PDF.
pub(super) fn markdown(content: &[u8]) -> Result<String> {
    let head = &content[..content.len().min(1024)];
    if find(head, b"%PDF-") == 0 {
        return Err(invalid("is not a PDF"));
    }
    let read = catch_unwind(AssertUnwindSafe(|| read(content)));
    read.unwrap_or_else(|_| Err(invalid("is a PDF that cannot be read")))
}

/// Counts the occurrences of a byte string.
fn find(content: &[u8], wanted: &[u8]) -> usize {
    content
        .windows(wanted.len())
        .filter(|part| *part == wanted)
        .count()
}

fn read(content: &[u8]) -> Result<String> {
    let broken = |error: lopdf::Error| invalid("is a PDF that cannot be read").with_source(error);
    let streams = find(content, b"ObjStm") + find(content, b"XRef");
    let options = LoadOptions {
        max_decompressed_size: Some(share(streams)),
        ..LoadOptions::default()
    };
    let document =
        Document::load_mem_with_options(content, options).map_err(|error| match error {
            lopdf::Error::InvalidPassword | lopdf::Error::Decryption(_) => encrypted(),
            error => broken(error),
        })?;
    if document.is_encrypted() || document.trailer.has(b"Encrypt") {
        return Err(encrypted());
    }
    let pages = document.get_pages();
    if pages.len() > PAGES {
        return Err(invalid("has more than 2,000 pages"));
    }
    let limit = share(pages.len());
    let mut text = String::new();
    for (number, page) in pages {
        let fonts = document.get_page_fonts(page).map_err(broken)?;
        let encodings = encodings(&document, fonts, limit);
        let content = document
            .get_page_content_with_limit(page, limit)
            .map_err(broken)?;
        let content = Content::decode(&content).map_err(broken)?;
        let shown = Page::read(&content.operations, &encodings);
        if !shown.is_empty() {
            text.push_str(&format!("## Page {number}\n\n{shown}\n\n"));
        }
        if text.len() > TEXT {
            return Err(invalid("has more than 1 MiB of text"));
        }
    }
    if text.is_empty() {
        return Err(invalid(
            "is a PDF without text: a scan must be turned into text first",
        ));
    }
    Ok(text)
}

fn encrypted() -> Error {
    invalid("is an encrypted PDF: save it without a password")
}

/// Returns the share of each of this many streams.
fn share(streams: usize) -> usize {
    (ALL / streams.max(1)).clamp(LEAST, STREAM)
}

type Encodings<'a> = BTreeMap<Vec<u8>, Encoding<'a>>;

fn encodings<'a>(
    document: &'a Document,
    fonts: BTreeMap<Vec<u8>, &'a Dictionary>,
    limit: usize,
) -> Encodings<'a> {
    let encoding = |(name, font): (Vec<u8>, &'a Dictionary)| {
        let encoding = font.get_font_encoding_with_limit(document, limit).ok()?;
        Some((name, encoding))
    };
    fonts.into_iter().filter_map(encoding).collect()
}

/// The lines of a page, reconstructed from the positions of its text pieces.
#[derive(Debug, Default)]
struct Page {
    out: String,
    /// Where the next piece is placed, where the current line began, and where the last piece began with its number of letters.
    at: (f32, f32),
    line: (f32, f32),
    last: (f32, f32, usize),
    size: f32,
    scale: f32,
    leading: f32,
}

impl Page {
    fn read(operations: &[Operation], encodings: &Encodings<'_>) -> String {
        let mut page = Self {
            size: 12.0,
            scale: 1.0,
            ..Self::default()
        };
        let mut encoding = None;
        for operation in operations {
            let operands = &operation.operands;
            let number = |at: usize| {
                operands
                    .get(at)
                    .and_then(|one| one.as_float().ok())
                    .unwrap_or(0.0)
            };
            match operation.operator.as_str() {
                "BT" => {
                    page.scale = 1.0;
                    page.go((0.0, 0.0));
                }
                "Tf" => {
                    let name = operands.first().and_then(|name| name.as_name().ok());
                    encoding = name.and_then(|name| encodings.get(name));
                    page.size = number(1).abs();
                }
                "TL" => page.leading = number(0),
                "Td" => page.step(number(0), number(1)),
                "TD" => {
                    page.leading = -number(1);
                    page.step(number(0), number(1));
                }
                "Tm" => {
                    page.scale = number(3).abs();
                    page.go((number(4), number(5)));
                }
                "T*" => page.step(0.0, -page.leading),
                "Tj" | "TJ" => page.show(encoding, operands),
                "'" => {
                    page.step(0.0, -page.leading);
                    page.show(encoding, operands);
                }
                "\"" => {
                    page.step(0.0, -page.leading);
                    page.show(encoding, operands.get(2..).unwrap_or_default());
                }
                _ => {}
            }
        }
        joined(&page.out)
    }

    fn go(&mut self, at: (f32, f32)) {
        (self.at, self.line) = (at, at);
    }

    fn step(&mut self, x: f32, y: f32) {
        let scale = if self.scale > 0.0 { self.scale } else { 1.0 };
        self.go((self.line.0 + x * scale, self.line.1 + y * scale));
    }

    fn show(&mut self, encoding: Option<&Encoding<'_>>, operands: &[Object]) {
        let Some(encoding) = encoding else { return };
        let mut text = String::new();
        pieces(&mut text, encoding, operands, 0);
        if text.is_empty() {
            return;
        }
        let height = (self.size * self.scale).max(1.0);
        let (x, y, letters) = self.last;
        let down = (y - self.at.1).abs();
        if self.out.is_empty() || self.out.ends_with('\n') {
        } else if down > 1.8 * height {
            self.out.push_str("\n\n");
        } else if down > 0.4 * height {
            self.out.push('\n');
        } else if (self.at.0, self.at.1) != (x, y) {
            // A letter is about half as wide as it is high. Letters that are placed one by one belong together.
            let gap = self.at.0 - x - 0.5 * height * letters as f32;
            if letters > 1 || gap.abs() > 0.4 * height {
                self.out.push(' ');
            }
        }
        self.last = (self.at.0, self.at.1, text.chars().count());
        self.out.push_str(&text);
    }
}

/// Appends the text of strings. A wide gap between two of them becomes a space.
fn pieces(text: &mut String, encoding: &Encoding<'_>, operands: &[Object], depth: u8) {
    /// In thousandths of the letters' height.
    const GAP: f32 = -180.0;
    for operand in operands {
        match operand {
            Object::String(bytes, _) => {
                if let Ok(decoded) = Document::decode_text(encoding, bytes) {
                    text.extend(decoded.chars().filter(|c| !c.is_control()));
                }
            }
            Object::Array(operands) if depth < 2 => pieces(text, encoding, operands, depth + 1),
            number
                if number.as_float().is_ok_and(|number| number < GAP) && !text.ends_with(' ') =>
            {
                text.push(' ');
            }
            _ => {}
        }
    }
}

/// Joins lines without superfluous whitespace, and rejoins words that were hyphenated at the end of a line.
fn joined(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let parted = out
            .strip_suffix("-\n")
            .is_some_and(|before| before.ends_with(char::is_alphabetic));
        if parted && line.starts_with(char::is_lowercase) {
            out.truncate(out.len() - 2);
        }
        // Text that looks like a Markdown heading is escaped.
        if line.starts_with('#') {
            out.push('\u{200b}');
        }
        out.push_str(&line);
        out.push('\n');
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use lopdf::{Stream, dictionary};
    use proptest::prelude::*;

    use super::*;

    /// Builds a PDF with a page for each stream of operations.
    fn pdf(pages: &[&str], compress: bool) -> Vec<u8> {
        let mut document = Document::with_version("1.5");
        let tree = document.new_object_id();
        let font = document.add_object(dictionary! {
            "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "Helvetica", "Encoding" => "WinAnsiEncoding",
        });
        let resources = document.add_object(dictionary! { "Font" => dictionary! { "F1" => font } });
        let kids: Vec<Object> = pages
            .iter()
            .map(|page| {
                let mut stream = Stream::new(dictionary! {}, page.as_bytes().to_vec());
                if compress {
                    stream.compress().unwrap();
                }
                let content = document.add_object(stream);
                let page =
                    dictionary! { "Type" => "Page", "Parent" => tree, "Contents" => content };
                document.add_object(page).into()
            })
            .collect();
        let count = i64::try_from(kids.len()).unwrap();
        let pages = dictionary! { "Type" => "Pages", "Kids" => kids, "Count" => count, "Resources" => resources };
        document.objects.insert(tree, Object::Dictionary(pages));
        let catalog = document.add_object(dictionary! { "Type" => "Catalog", "Pages" => tree });
        document.trailer.set("Root", catalog);
        let mut bytes = Vec::new();
        document.save_to(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn pages_become_headings_and_lines_stay() {
        let first = "BT /F1 12 Tf 14 TL 50 700 Td (Opening hours) Tj 0 -40 Td (Monday to Fri-) Tj T* (day, 9 to) Tj 0 -14 Td [(18)-400(o)10('clock)] TJ ET \
            BT /F1 12 Tf 1 0 0 1 50 600 Tm (# no) Tj 60 0 Td (heading) Tj ET";
        let bytes = pdf(&[first, "", "BT /F1 9 Tf (M\\374ller) Tj ET"], true);
        let expected = "## Page 1\n\nOpening hours\n\nMonday to Friday, 9 to\n18 o'clock\n\n\u{200b}# no heading\n\n## Page 3\n\nMüller\n\n";
        assert_eq!(markdown(&bytes).unwrap(), expected);
    }

    #[test]
    fn unreadable_files_are_named_as_such() {
        let check = |bytes: &[u8], expected: &str| {
            let error = markdown(bytes)
                .map(|text| text.len())
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("content") && error.contains(expected),
                "{error}"
            );
        };
        check(b"", "not a PDF");
        check(b"%PDF-1.5\n", "cannot be read");
        check(&pdf(&["q Q"], false), "scan");
        let many = "BT /F1 9 Tf (many more words) Tj ET\n".repeat(120_000);
        check(&pdf(&[&many], true), "text");
        // A stream of 24 MiB, compressed to a few KiB.
        let bomb = " ".repeat(24 << 20);
        check(&pdf(&[&bomb], true), "cannot be read");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn damage_neither_panics_nor_hangs(at in any::<proptest::sample::Index>(), bytes in proptest::collection::vec(any::<u8>(), 1..20)) {
            let mut file = pdf(&["BT /F1 12 Tf (text) Tj ET"], false);
            let at = at.index(file.len());
            let end = (at + bytes.len()).min(file.len());
            file[at..end].copy_from_slice(&bytes[..end - at]);
            let _ = markdown(&file);
        }
    }
}
