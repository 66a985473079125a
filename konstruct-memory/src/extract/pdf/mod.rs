//! Turns PDF into Markdown: the text of each page under a heading with its number.
//!
//! `hayro-interpret` reports each glyph with its place; `layout` makes lines of them. The interpreter has no limits of its own:
//! `guard` bounds what a file expands to, and a thread with a deadline runs the interpreter. A file may still contain anything, so
//! a panic of the interpreter is returned as an error.

mod bidi;
mod form;
mod glyph;
mod guard;
mod layout;
mod markdown;
#[cfg(test)]
mod tests;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use hayro_interpret::{
    Context, InterpreterCache, InterpreterSettings,
    hayro_syntax::{DecryptionError, LoadPdfError, Pdf, object::Object},
    interpret_page,
    kurbo::{Affine, Rect},
};
use konstruct_core::{Error, ErrorKind, ExtractWarning, Result};

use super::{Extracted, TEXT, invalid};
use glyph::{DeadlinePassed, Glyphs};

/// The most pages.
const PAGES: usize = 2000;
/// One of this many glyphs of a page may have no known letter, such as those of symbols.
const UNKNOWN: usize = 5;
/// How long a file may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// The stack of the thread that reads a file. Forms may contain forms, 50 deep.
const STACK: usize = 32 << 20;

/// Returns the text of a PDF.
pub(super) fn markdown(content: &[u8]) -> Result<Extracted> {
    read_within(content, DEADLINE)
}

/// Reads a file in a thread of its own. The interpreter stops soon after the deadline, or is left behind if it does not.
fn read_within(content: &[u8], time: Duration) -> Result<Extracted> {
    let deadline = Instant::now() + time;
    let content = guard::checked(content, deadline)?;
    let (sender, receiver) = mpsc::sync_channel(1);
    let reader = move || {
        let read = catch_unwind(AssertUnwindSafe(|| read(content, deadline)));
        let read = read.unwrap_or_else(|panic| {
            Err(if panic.is::<DeadlinePassed>() {
                too_slow()
            } else {
                unreadable()
            })
        });
        // Nobody listens any more after the deadline.
        let _ = sender.send(read);
    };
    thread::Builder::new()
        .name("pdf".to_owned())
        .stack_size(STACK)
        .spawn(reader)
        .map_err(|error| {
            Error::new(ErrorKind::Internal, "could not start a thread").with_source(error)
        })?;
    let grace = time / 4;
    receiver
        .recv_timeout(deadline.saturating_duration_since(Instant::now()) + grace)
        .unwrap_or_else(|_| Err(too_slow()))
}

fn unreadable() -> Error {
    invalid("is a PDF that cannot be read: print it to a new PDF")
}

fn too_slow() -> Error {
    invalid("is a PDF that takes too long to read: split it, or print it to a new PDF")
}

fn read(content: Vec<u8>, deadline: Instant) -> Result<Extracted> {
    let encrypted = guard::find(&content, 0, b"/Encrypt").is_some();
    let pdf = Pdf::new(content).map_err(|error| match error {
        LoadPdfError::Decryption(DecryptionError::PasswordProtected) => {
            invalid("is a PDF with a password: save it without one")
        }
        LoadPdfError::Decryption(_) => {
            invalid("is a PDF with an unknown encryption: save it without encryption")
        }
        LoadPdfError::Invalid => unreadable(),
    })?;
    if encrypted {
        check_decrypted(&pdf)?;
    }
    if pdf.pages().len() > PAGES {
        return Err(invalid("has more than 2,000 pages: split it"));
    }
    let cache = InterpreterCache::new();
    let mut pages = Vec::new();
    let (mut without_text, mut unknown, mut cut) = (Vec::new(), Vec::new(), Vec::new());
    let mut length = 0;
    for (number, page) in (1..).zip(pdf.pages().iter()) {
        let (width, height) = page.render_dimensions();
        let visible = (f64::from(width), f64::from(height));
        let transform = Affine::new(page.initial_transform(false).as_coeffs());
        let mut glyphs = Glyphs::new(visible, deadline);
        let mut context = Context::new(
            transform,
            Rect::new(0.0, 0.0, visible.0, visible.1),
            &cache,
            pdf.xref(),
            InterpreterSettings::default(),
        );
        interpret_page(page, &mut context, &mut glyphs);
        form::add_values(page, transform, &mut glyphs);
        let shown = glyphs.glyphs.iter().filter(|glyph| !glyph.is_blank());
        let shown = shown.count();
        if glyphs.unknown * UNKNOWN > shown {
            unknown.push(number);
        } else if shown == 0 {
            without_text.push(number);
        }
        if glyphs.cut {
            cut.push(number);
        }
        let lines = layout::lines(glyphs.glyphs);
        length += lines.iter().map(|line| line.text.len() + 1).sum::<usize>();
        if length > TEXT {
            return Err(invalid("has more than 1 MiB of text: split it"));
        }
        pages.push((number, lines));
    }
    let text = markdown::markdown(pages);
    if text.is_empty() {
        return Err(invalid(if unknown.is_empty() {
            "is a PDF without text, whose pages hold only images or drawings: turn them into text with a program for text recognition (OCR)"
        } else {
            "is a PDF whose fonts do not say which letters they show: upload the document that it was made from"
        }));
    }
    let warnings = [
        (
            without_text,
            ExtractWarning::PagesWithoutText as fn(Vec<u32>) -> ExtractWarning,
        ),
        (unknown, ExtractWarning::PagesWithUnknownLetters),
        (cut, ExtractWarning::PagesCut),
    ];
    Ok(Extracted {
        text,
        warnings: warnings
            .into_iter()
            .filter(|(pages, _)| !pages.is_empty())
            .map(|(pages, warning)| warning(pages))
            .collect(),
    })
}

/// Bounds the streams that could not be checked before they were decrypted.
fn check_decrypted(pdf: &Pdf) -> Result<()> {
    let mut budget = guard::Budget::default();
    for object in pdf.objects() {
        if let Object::Stream(stream) = object {
            let filters = stream.filters();
            let named = guard::Decoders::of(&filters);
            budget.expand(&stream.raw_data(), &named, filters.len())?;
        }
    }
    Ok(())
}
