//! Texts that are difficult to split. Their words are numbered, so that each can be recognised in what arrives.

use super::Failed;

/// The length of the longest samples, in characters, whatever the channel's limit.
const LONGEST: usize = 60_000;

/// Texts that show nothing.
pub(super) const BLANK: &[&str] = &["", " ", "\n\n", "\t \u{a0}\r\n "];

/// Characters that a reader takes for one: a family, a flag, an accent of its own.
pub(super) const GRAPHEMES: &[&str] = &["👨‍👩‍👧‍👦", "🇩🇪", "e\u{301}"];

/// A text to send.
pub(super) struct Sample {
    pub(super) name: &'static str,
    pub(super) text: String,
    /// Extracts what must arrive, in its order.
    pub(super) content: fn(&str) -> String,
}

/// Returns texts that do not fit into one message of `max_text` characters, a short one, and one of 100 kB.
pub(super) fn samples(max_text: usize) -> Vec<Sample> {
    let length = max_text.saturating_mul(9).div_ceil(4).min(LONGEST);
    let long = |piece: fn(usize) -> String| repeated(length, piece);
    let sample = |content: fn(&str) -> String| {
        move |(name, text): (&'static str, String)| Sample {
            name,
            text,
            content,
        }
    };
    let words = [
        ("a short text", "w0w w1w".to_owned()),
        ("paragraphs", long(sentence)),
        ("one line", long(|n| format!("w{n}w "))),
        ("lines", long(|n| format!("w{n}w x\n"))),
        ("lines of Windows", long(|n| format!("w{n}w x\r\n"))),
        ("a list", long(|n| format!("- w{n}w x\n"))),
        ("a numbered list", long(|n| format!("{}. w{n}w x\n", n + 1))),
        (
            "a nested list",
            long(|n| format!("{}- w{n}w\n", if n % 3 == 0 { "" } else { "  " })),
        ),
        (
            "a code block",
            format!("```text\n{}```", long(|n| format!("w{n}w = x;\n"))),
        ),
        (
            "a code block of one line",
            format!("```\n{}\n```", long(|n| format!("w{n}w "))),
        ),
        (
            "a code block between paragraphs",
            long(|n| match n % 60 {
                20 => format!("\n\n```\nw{n}w\n"),
                40 => format!("w{n}w\n```\n\n"),
                21..40 => format!("    w{n}w\n"),
                _ => format!("w{n}w "),
            }) + "\n```",
        ),
        (
            "a table",
            "| a | b |\n|---|---|\n".to_owned() + &long(|n| format!("| w{n}w | x |\n")),
        ),
        ("a quote", long(|n| format!("> w{n}w x\n"))),
        (
            "emphasis",
            format!("**{}**", long(|n| format!("w{n}w ")).trim_end()),
        ),
        (
            "links",
            long(|n| format!("[w{n}w](https://shop.example/a) ")),
        ),
        (
            "signs",
            long(|n| format!("w{n}w < & > * _ ` ~ # | \\ [ ] ")),
        ),
        ("100 kB", repeated(100_000, sentence)),
    ];
    let letters = [
        ("one word", long(|_| "x".to_owned())),
        ("ampersands", long(|_| "&".to_owned())),
        ("Chinese", long(|_| "字".to_owned())),
        ("right to left", long(|_| "שלום عالم ".to_owned())),
    ];
    let words = words.into_iter().map(sample(self::words));
    let letters = letters.into_iter().map(sample(self::letters));
    words.chain(letters).collect()
}

/// Returns those that differ most.
pub(super) fn few_samples(max_text: usize) -> Vec<Sample> {
    let few = ["a short text", "paragraphs", "a code block", "one word"];
    let mut samples = samples(max_text);
    samples.retain(|sample| few.contains(&sample.name));
    samples
}

fn sentence(n: usize) -> String {
    let end = match n {
        _ if n % 40 == 39 => ".\n\n",
        _ if n % 9 == 8 => ". ",
        _ => " ",
    };
    format!("w{n}w{end}")
}

/// Returns the pieces that make up a text of at least `length` characters.
fn repeated(length: usize, piece: fn(usize) -> String) -> String {
    let (mut text, mut count) = (String::new(), 0);
    for n in 0.. {
        if count >= length {
            break;
        }
        let piece = piece(n);
        count += piece.chars().count();
        text.push_str(&piece);
    }
    text
}

/// Extracts the numbered words. Markup that is repeated in every part, such as the header of a table, has none.
fn words(text: &str) -> String {
    let is_word = |word: &&str| {
        let number = word
            .strip_prefix('w')
            .and_then(|word| word.strip_suffix('w'));
        number.is_some_and(|number| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    let words: Vec<&str> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(is_word)
        .collect();
    words.join(" ")
}

/// Extracts everything but white space.
fn letters(text: &str) -> String {
    text.split_whitespace().collect()
}

/// Checks that nothing was lost, invented or moved.
pub(super) fn same_content(found: &str, expected: &str) -> Result<(), Failed> {
    if found == expected {
        return Ok(());
    }
    let pairs = found.chars().zip(expected.chars());
    let same = pairs.take_while(|(one, other)| one == other).count();
    let excerpt = |text: &str| -> String {
        let from = same.saturating_sub(10);
        text.chars().skip(from).take(30).collect()
    };
    Err(format!(
        "at character {same} of {}: found {:?}, expected {:?}",
        expected.chars().count(),
        excerpt(found),
        excerpt(expected)
    )
    .into())
}
