//! The values of form fields that have no appearance of their own.

use hayro_interpret::{
    hayro_syntax::{
        object::{Array, Dict, Name, Object, Rect, String as PdfString},
        page::Page,
    },
    kurbo::{Affine, Point},
};

use super::glyph::{Glyphs, written_out};

/// The most fields above a field that are searched for what it inherits.
const DEPTH: usize = 8;
/// The flags of an annotation that is hidden or not shown on the screen.
const HIDDEN: u32 = 1 << 1 | 1 << 5;

/// Adds the values of text and choice fields that the interpreter does not draw.
pub(super) fn add_values(page: &Page<'_>, transform: Affine, glyphs: &mut Glyphs) {
    let Some(annotations) = page.raw().get::<Array<'_>>(b"Annots") else {
        return;
    };
    for field in annotations.iter::<Dict<'_>>() {
        let is = |key: &[u8], value: &[u8]| {
            field
                .get::<Name<'_>>(key)
                .is_some_and(|name| *name == *value)
        };
        let hidden = field.get::<u32>(b"F").unwrap_or(0) & HIDDEN != 0;
        let drawn = field
            .get::<Dict<'_>>(b"AP")
            .is_some_and(|appearance| appearance.contains_key(b"N"));
        if !is(b"Subtype", b"Widget") || hidden || drawn {
            continue;
        }
        let shown = inherited(&field, b"FT")
            .and_then(Object::into_name)
            .is_some_and(|kind| matches!(&*kind, b"Tx" | b"Ch"));
        let text = match inherited(&field, b"V").filter(|_| shown) {
            Some(Object::String(text)) => text_string(text.as_bytes()),
            Some(Object::Array(texts)) => {
                let texts = texts.iter::<PdfString<'_>>();
                let texts: Vec<_> = texts.map(|text| text_string(text.as_bytes())).collect();
                texts.join(", ")
            }
            _ => continue,
        };
        let Some(rect) = field
            .get::<Rect>(b"Rect")
            .filter(|_| !text.trim().is_empty())
        else {
            continue;
        };
        // The lines of a value, from the top of the field or, if there is one, in its middle.
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let room = (rect.y1 - rect.y0).abs() / lines.len() as f64;
        let size = (0.7 * room).clamp(4.0, 12.0);
        for (at, line) in lines.iter().enumerate() {
            let y = rect.y0.max(rect.y1) - room * (at as f64 + 0.5) - 0.3 * size;
            let place = transform * Point::new(rect.x0.min(rect.x1) + 2.0, y);
            let width = 0.5 * size * line.chars().count() as f64;
            glyphs.push((*line).to_owned(), place, 0.0, width, size);
        }
    }
}

/// Returns an entry of a field or of the fields above it.
fn inherited<'a>(field: &Dict<'a>, key: &[u8]) -> Option<Object<'a>> {
    let mut field = field.clone();
    for _ in 0..DEPTH {
        if let Some(value) = field.get::<Object<'a>>(key) {
            return Some(value);
        }
        field = field.get::<Dict<'a>>(b"Parent")?;
    }
    None
}

/// Decodes a text string: UTF-16 or UTF-8 with a byte order mark, else Latin letters.
pub(super) fn text_string(bytes: &[u8]) -> String {
    let wide = |bytes: &[u8], read: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| read(*pair))
            .collect();
        String::from_utf16_lossy(&units)
    };
    let text = match bytes {
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        bytes => bytes.iter().map(|byte| doc_char(*byte)).collect(),
    };
    let lines: Vec<String> = text.lines().map(written_out).collect();
    lines.join("\n")
}

/// Decodes a byte of PDFDocEncoding.
fn doc_char(byte: u8) -> char {
    const UPPER: [char; 33] = [
        '•', '†', '‡', '…', '—', '–', 'ƒ', '⁄', '‹', '›', '−', '‰', '„', '“', '”', '‘', '’', '‚',
        '™', 'ﬁ', 'ﬂ', 'Ł', 'Œ', 'Š', 'Ÿ', 'Ž', 'ı', 'ł', 'œ', 'š', 'ž', ' ', '€',
    ];
    match byte {
        0x80..=0xa0 => UPPER[usize::from(byte - 0x80)],
        byte => char::from(byte),
    }
}
