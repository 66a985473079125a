//! Collects the glyphs of a page.

use std::time::Instant;

use hayro_interpret::{
    BlendMode, ClipPath, Device, DrawMode, DrawProps, Image, ImageDrawProps, SoftMask,
    font::{Glyph as Shown, GlyphRun},
    hayro_cmap::{BfString, WritingMode},
    hayro_syntax::object::{Dict, String as PdfString},
    kurbo::{Affine, BezPath, Point},
};
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

use super::form::text_string;

/// The most glyphs of a page. Further ones are dropped.
const GLYPHS: usize = 100_000;

/// A glyph in the frame of its own direction: `u` runs along the baseline, `v` upwards, both in points.
#[derive(Clone, Debug)]
pub(super) struct Glyph {
    pub(super) text: String,
    pub(super) u: f64,
    pub(super) v: f64,
    /// How far the baseline advances.
    pub(super) width: f64,
    /// The font size.
    pub(super) size: f64,
    /// The direction of the baseline, in multiples of 15 degrees counter-clockwise.
    pub(super) turn: i8,
}

impl Glyph {
    pub(super) fn end(&self) -> f64 {
        self.u + self.width
    }

    pub(super) fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }
}

/// The reading of a page's instructions was ended because the deadline has passed.
#[derive(Debug)]
pub(super) struct DeadlinePassed;

/// Receives the drawing instructions of a page and keeps its glyphs.
#[derive(Debug)]
pub(super) struct Glyphs {
    pub(super) glyphs: Vec<Glyph>,
    /// The number of glyphs that have no known character.
    pub(super) unknown: usize,
    /// The number of glyphs that were shown, and whether some were dropped because there were too many.
    shown: usize,
    pub(super) cut: bool,
    /// The width and height of the visible part of the page.
    visible: (f64, f64),
    deadline: Instant,
    /// The replacement texts of the open marked content: `None` once it was written, or if there is none.
    marked: Vec<Option<Option<String>>>,
}

impl Glyphs {
    pub(super) fn new(visible: (f64, f64), deadline: Instant) -> Self {
        Self {
            glyphs: Vec::new(),
            unknown: 0,
            shown: 0,
            cut: false,
            visible,
            deadline,
            marked: Vec::new(),
        }
    }

    /// Ends the interpreter, which has no other way of being stopped.
    fn check_deadline(&self) {
        if Instant::now() > self.deadline {
            std::panic::resume_unwind(Box::new(DeadlinePassed));
        }
    }

    /// Adds a text whose baseline starts at a point, at an angle in degrees.
    pub(super) fn push(&mut self, text: String, at: Point, angle: f64, width: f64, size: f64) {
        let (w, h) = self.visible;
        let visible = (-1.0..=w + 1.0).contains(&at.x) && (-1.0..=h + 1.0).contains(&at.y);
        if !visible || !(0.1..1e5).contains(&size) || !(-1e5..1e5).contains(&width) {
            return;
        }
        let turn = (angle / 15.0).round().rem_euclid(24.0);
        let (sin, cos) = (turn * 15.0).to_radians().sin_cos();
        let (u, v) = (at.x * cos + at.y * sin, at.y * cos - at.x * sin);
        // A combining mark belongs to the letter before it.
        if text.chars().all(is_combining_mark)
            && let Some(base) = self.glyphs.last_mut()
            && base.turn == turn as i8
            && (base.v - v).abs() < size
            && (base.end() - u).abs() < 1.5 * size
            && !base.is_blank()
        {
            base.text.push_str(&text);
            return;
        }
        self.glyphs.push(Glyph {
            text,
            u,
            v,
            width: width.max(0.0),
            size,
            turn: turn as i8,
        });
    }

    fn add(&mut self, glyph: &Shown<'_>, transform: Affine, stretch: f64, vertical: bool) {
        let replaced = self.marked.iter_mut().flatten().next();
        let text = match replaced {
            Some(replacement) => match replacement.take() {
                Some(text) => text,
                None => return,
            },
            None => match glyph.as_unicode() {
                Some(BfString::Char(c)) => written_out(&c.to_string()),
                Some(BfString::String(text)) => written_out(&text),
                None => String::new(),
            },
        };
        if text.is_empty() {
            self.unknown += 1;
            return;
        }
        let advance = match glyph {
            Shown::Outline(glyph) => glyph.advance_width(),
            Shown::Type3(glyph) => glyph.advance_width(),
        };
        let advance = f64::from(advance.unwrap_or(500.0));
        let [a, b, c, d, x, y] = transform.as_coeffs();
        let size = 1000.0 * c.hypot(d);
        let angle = b.atan2(a).to_degrees();
        if vertical {
            // Downwards: the glyph's own origin is at its foot.
            let top = Point::new(x + 1000.0 * c, y + 1000.0 * d);
            self.push(text, top, angle - 90.0, size, size);
        } else {
            let width = advance * a.hypot(b) / stretch;
            // The em of a Type 3 font can be anything.
            let size = if width > 3.0 * size { width } else { size };
            self.push(text, Point::new(x, y), angle, width, size);
        }
    }
}

impl<'a> Device<'a> for Glyphs {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, 'a>, props: DrawProps<'a>, _: &DrawMode) {
        self.check_deadline();
        let placed = |transform: Affine| props.transform * transform;
        // A substitute font is stretched glyph by glyph, and the advances are not: take the commonest proportion as true.
        let mut ratios: Vec<f64> = run
            .glyphs()
            .iter()
            .map(|glyph| {
                let [a, b, c, d, ..] = placed(glyph.transform()).as_coeffs();
                a.hypot(b) / c.hypot(d).max(1e-9)
            })
            .collect();
        let shown = ratios.clone();
        ratios.sort_unstable_by(f64::total_cmp);
        let usual = ratios.get(ratios.len() / 2).copied().unwrap_or(1.0);
        for (glyph, ratio) in run.glyphs().iter().zip(shown) {
            if self.shown >= GLYPHS {
                self.cut = true;
                return;
            }
            self.shown += 1;
            let stretch = if usual > 0.0 && ratio > 0.0 {
                ratio / usual
            } else {
                1.0
            };
            let vertical = run.writing_mode() == WritingMode::Vertical;
            self.add(glyph, placed(glyph.transform()), stretch, vertical);
        }
    }

    fn begin_marked_content(&mut self, _: &[u8], properties: Option<&Dict<'_>>) {
        let text = properties.and_then(|dict| dict.get::<PdfString<'_>>(b"ActualText"));
        let text = text.map(|text| text_string(text.as_bytes()));
        self.marked.push(text.map(Some));
    }

    fn end_marked_content(&mut self) {
        self.marked.pop();
    }

    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'a>, _: &DrawMode) {
        self.check_deadline();
    }

    fn draw_image(&mut self, _: Image<'a, '_>, _: ImageDrawProps<'a>) {
        self.check_deadline();
    }

    fn push_clip_path(&mut self, _: &ClipPath) {}
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'a>>, _: BlendMode) {}
    fn pop_clip(&mut self) {}
    fn pop_transparency_group(&mut self) {}
}

/// Writes out ligatures and the shapes of Arabic letters, and removes control characters.
pub(super) fn written_out(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{fb00}'..='\u{fdfb}' | '\u{fe70}'..='\u{fefc}' => out.extend([c].into_iter().nfkc()),
            '\u{a0}' | '\t' | '\n' | '\r' | '\u{2000}'..='\u{200a}' | '\u{202f}' => out.push(' '),
            '\u{feff}' | '\u{fffd}' | '\u{200b}' => {}
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}
