//! Bounds what the streams of a file expand to, which the interpreter does not.
//!
//! The interpreter may take any stream for anything, and inflates the streams of objects as soon as it opens a file. So each
//! `stream` keyword in the file is followed, whatever surrounds it, and measured with each decoder that the file names.

use std::{borrow::Cow, io::Read as _, time::Instant};

use flate2::bufread::{DeflateDecoder, ZlibDecoder};
use hayro_interpret::hayro_syntax::Filter;
use konstruct_core::Result;

use super::{super::invalid, too_slow};

/// The most bytes that all streams together may expand to, and one stream.
const ALL: usize = 256 << 20;
const STREAM: usize = 64 << 20;
/// The most decoders of a stream.
const DEPTH: usize = 4;
/// How much deflated data can grow at most, by its format.
const GROWTH: usize = 1032;
/// The most bytes that are searched before a `stream` keyword for its dictionary, and before all of them.
const SEARCHED: usize = 64 << 20;
const DICTIONARY: usize = 64 << 10;

/// Checks the streams of a file, and empties its images, which have no text.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) if they expand to too much, or the deadline passes.
pub(super) fn checked(content: &[u8], deadline: Instant) -> Result<Vec<u8>> {
    let encrypted = find(content, 0, b"/Encrypt").is_some();
    let named = Decoders::named(&unescaped(content));
    let mut safe = content.to_vec();
    let mut budget = Budget::default();
    let (mut searched, mut objects) = (0, 0);
    // Where the keyword is searched, where the last stream ended, and where this one does.
    let (mut from, mut before, mut end) = (0, 0, 0);
    while let Some(at) = find(content, from, b"stream") {
        from = at + b"stream".len();
        if content[..at].ends_with(b"end") {
            before = from;
            continue;
        }
        let start = match &content[from..] {
            [b'\r', b'\n', ..] => from + 2,
            [b'\r' | b'\n', ..] => from + 1,
            _ => continue,
        };
        if end < start {
            end = find(content, start, b"endstream").unwrap_or(content.len());
        }
        if Instant::now() > deadline {
            return Err(too_slow());
        }
        // All that can belong to the dictionary, if it is not too far away.
        let far = at - before > DICTIONARY;
        let near = &content[before.max(at.saturating_sub(DICTIONARY))..at];
        searched += near.len();
        let near = unescaped(near);
        let own = near.rsplit_once(" obj").map_or(&*near, |(_, own)| own);
        if is_image(own) {
            safe[start..end].fill(0);
            continue;
        }
        // Only the interpreter can decrypt a stream of objects, and it inflates it at once.
        if encrypted && (far || near.contains("/First")) {
            objects += end - start;
        }
        if searched > SEARCHED || objects > ALL / GROWTH {
            return Err(too_much());
        }
        // The length in the dictionary may lead beyond this `endstream`, and a decoder finds the end by itself.
        let own = Decoders::named(&near);
        let (own, depth) = if far || has_reference(&near) {
            (&named, DEPTH)
        } else {
            (&own, own.count)
        };
        budget.expand(&content[start..], own, depth)?;
        // Runs need no end mark, so they are not followed beyond it: they grow 64-fold at most.
        if own.run_length {
            budget.count(run_length(&content[start..end], STREAM).len())?;
        }
    }
    Ok(safe)
}

/// What streams may still expand to.
#[derive(Debug)]
pub(super) struct Budget {
    left: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: ALL }
    }
}

impl Budget {
    /// Counts what a stream expands to with any of the named decoders, and with Deflate, one after the other.
    pub(super) fn expand(&mut self, data: &[u8], named: &Decoders, depth: usize) -> Result<()> {
        self.grow(data, named, depth, false)
    }

    fn count(&mut self, length: usize) -> Result<()> {
        if length >= STREAM.min(self.left) {
            return Err(too_much());
        }
        self.left -= length;
        Ok(())
    }

    fn grow(&mut self, data: &[u8], named: &Decoders, depth: usize, nested: bool) -> Result<()> {
        if depth > DEPTH {
            return Err(too_much());
        }
        let limit = STREAM.min(self.left);
        let mut grown: Vec<Vec<u8>> = Vec::new();
        let inflated = inflated(data, limit);
        if !inflated.is_empty() {
            grown.push(inflated);
        }
        let coded = |name: bool, decode: fn(&[u8], usize) -> Vec<u8>| {
            if name {
                decode(data, limit)
            } else {
                Vec::new()
            }
        };
        grown.push(coded(named.ascii85, ascii85));
        grown.push(coded(named.hex, hex));
        grown.push(coded(named.lzw, lzw));
        // Not the raw data, but what another decoder made of it.
        grown.push(coded(named.run_length && nested, run_length));
        for data in grown.into_iter().filter(|data| !data.is_empty()) {
            self.count(data.len())?;
            if depth > 1 {
                self.grow(&data, named, depth - 1, true)?;
            }
        }
        Ok(())
    }
}

fn too_much() -> konstruct_core::Error {
    invalid("is a PDF that expands to too much data: print it to a new PDF")
}

/// The decoders beside Deflate that a file names.
#[derive(Debug)]
pub(super) struct Decoders {
    ascii85: bool,
    hex: bool,
    lzw: bool,
    run_length: bool,
    /// How many names of decoders there are, so how many a stream may go through.
    count: usize,
}

impl Decoders {
    pub(super) fn of(filters: &[Filter]) -> Self {
        Self {
            ascii85: filters.contains(&Filter::Ascii85Decode),
            hex: filters.contains(&Filter::AsciiHexDecode),
            lzw: filters.contains(&Filter::LzwDecode),
            run_length: filters.contains(&Filter::RunLengthDecode),
            count: filters.len(),
        }
    }

    fn named(text: &str) -> Self {
        let count = |names: [&str; 2]| {
            let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric());
            let named = names.iter().flat_map(|name| text.match_indices(name));
            named
                .filter(|(at, name)| ends(&text[at + name.len()..]))
                .count()
        };
        let ascii85 = count(["/ASCII85Decode", "/A85"]);
        let hex = count(["/ASCIIHexDecode", "/AHx"]);
        let lzw = count(["/LZWDecode", "/LZW"]);
        let run_length = count(["/RunLengthDecode", "/RL"]);
        Self {
            ascii85: ascii85 > 0,
            hex: hex > 0,
            lzw: lzw > 0,
            run_length: run_length > 0,
            count: ascii85 + hex + lzw + run_length + count(["/FlateDecode", "/Fl"]),
        }
    }
}

/// Returns whether the name of a decoder may stand elsewhere in the file: `/Filter 5 0 R`.
fn has_reference(dictionary: &str) -> bool {
    let digit = |c: char| c.is_ascii_digit();
    dictionary.match_indices("/F").any(|(at, _)| {
        let value = dictionary[at..].trim_start_matches(|c: char| c == '/' || c.is_alphabetic());
        value
            .trim_start_matches(|c: char| c.is_whitespace() || c == '[')
            .starts_with(digit)
    })
}

/// Returns whether a dictionary describes an image, with or without white space between key and value.
fn is_image(dictionary: &str) -> bool {
    dictionary.match_indices("/Subtype").any(|(at, key)| {
        let value = dictionary[at + key.len()..].trim_start();
        value
            .strip_prefix("/Image")
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
    })
}

/// Resolves `#xx` in names.
fn unescaped(dictionary: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(dictionary);
    if !text.contains('#') {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some((before, after)) = rest.split_once('#') {
        out.push_str(before);
        match after
            .get(..2)
            .and_then(|code| u8::from_str_radix(code, 16).ok())
        {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &after[2..];
            }
            None => rest = after,
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Returns where a byte string begins, at or after an offset.
pub(super) fn find(content: &[u8], from: usize, wanted: &[u8]) -> Option<usize> {
    let first = wanted.first()?;
    let mut at = from;
    loop {
        at += content.get(at..)?.iter().position(|byte| byte == first)?;
        if content[at..].starts_with(wanted) {
            return Some(at);
        }
        at += 1;
    }
}

/// Inflates data, with or without the header of zlib, up to a number of bytes. Other data inflates to little or nothing.
fn inflated(data: &[u8], limit: usize) -> Vec<u8> {
    let limit = limit as u64;
    let mut out = Vec::new();
    if data.first().is_some_and(|byte| byte & 0x0f == 8) {
        let _ = ZlibDecoder::new(data).take(limit).read_to_end(&mut out);
    }
    if out.is_empty() {
        let _ = DeflateDecoder::new(data).take(limit).read_to_end(&mut out);
    }
    out
}

pub(super) fn ascii85(data: &[u8], limit: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut group: Vec<u8> = Vec::with_capacity(5);
    let mut write = |group: &mut Vec<u8>| {
        let digits = group.len();
        if digits > 1 {
            group.resize(5, 84);
            let value = group.iter().fold(0_u32, |value, digit| {
                value.wrapping_mul(85).wrapping_add(u32::from(*digit))
            });
            out.extend_from_slice(&value.to_be_bytes()[..digits - 1]);
        }
        group.clear();
        out.len() < limit
    };
    for byte in data {
        match byte {
            b'z' if group.is_empty() => {
                group.extend([0; 5]);
            }
            b'!'..=b'u' => group.push(byte - b'!'),
            b'~' => break,
            _ => {}
        }
        if group.len() == 5 && !write(&mut group) {
            break;
        }
    }
    write(&mut group);
    out
}

fn hex(data: &[u8], limit: usize) -> Vec<u8> {
    let digits = data.iter().take_while(|byte| **byte != b'>');
    let digits = digits.filter_map(|byte| char::from(*byte).to_digit(16));
    let digits: Vec<u8> = digits.take(2 * limit).map(|digit| digit as u8).collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair.get(1).unwrap_or(&0))
        .collect()
}

fn run_length(data: &[u8], limit: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = data;
    while let [length, tail @ ..] = rest
        && out.len() < limit
    {
        match (usize::from(*length), tail) {
            (128, _) | (129.., []) => break,
            (length @ 129.., [byte, tail @ ..]) => {
                out.resize(out.len() + 257 - length, *byte);
                rest = tail;
            }
            (length, tail) => {
                let (copied, tail) = tail.split_at((length + 1).min(tail.len()));
                out.extend_from_slice(copied);
                rest = tail;
            }
        }
    }
    out
}

pub(super) fn lzw(data: &[u8], limit: usize) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    // Where the string of each code from 258 begins in `out`, and its length.
    let mut table: Vec<(usize, usize)> = Vec::new();
    let mut last: Option<(usize, usize)> = None;
    let (mut bits, mut count) = (0_u32, 0);
    for byte in data {
        (bits, count) = (bits << 8 | u32::from(*byte), count + 8);
        let width = match 258 + table.len() + 1 {
            0..512 => 9,
            512..1024 => 10,
            1024..2048 => 11,
            _ => 12,
        };
        if count < width {
            continue;
        }
        count -= width;
        let code = (bits >> count & ((1 << width) - 1)) as usize;
        let (start, length) = match code {
            256 => {
                table.clear();
                last = None;
                continue;
            }
            257 => break,
            0..256 => {
                out.push(code as u8);
                (out.len() - 1, 1)
            }
            code => {
                let known = table.get(code - 258).copied();
                // The code of the string that is just being added: the last one and its first letter.
                let Some((from, length)) = known.or(last.map(|(from, length)| (from, length + 1)))
                else {
                    break;
                };
                let start = out.len();
                for at in from..from + length {
                    out.push(out[at]);
                }
                (start, length)
            }
        };
        if let Some((from, length)) = last
            && table.len() < 4096 - 258
        {
            table.push((from, length + 1));
        }
        last = Some((start, length));
        if out.len() >= limit {
            break;
        }
    }
    out
}
