//! Any text of a model is rendered within the limits, without losing a word, and accepted by the vendors.

use std::collections::BTreeMap;

use konstruct_channels::{Slack, WhatsApp};
use konstruct_core::{
    Channel, Outgoing, Secret,
    outgoing::{Choice, Choices},
};
use proptest::{collection::vec, prelude::*, sample::select};

/// Typical pieces of texts by models and attackers. Words are numbered, so that each can be found again.
const PIECES: &[&str] = &[
    "word",
    "**bold** ",
    "*it* ",
    "***both*** ",
    "~~gone~~ ",
    "`code` ",
    "**",
    "*",
    "_",
    "`",
    "```",
    "~~~",
    "\n",
    "\n\n",
    "\n- ",
    "\n  - ",
    "\n1. ",
    "\n   1. ",
    "\n> ",
    "\n# ",
    "\n```rust\n",
    "\n```\n",
    "\n| a | b |\n|---|---|\n",
    "| x | y |\n",
    "\n---\n",
    "<!channel>",
    "<@U1>",
    "<!here|x>",
    "[a](https://a.example/x) ",
    "<https://b.example> ",
    "![i](https://c.example/i.png)",
    "[x]: https://d.example\n",
    "[^1]",
    "\n[^1]: note\n",
    "<b>",
    "</b>",
    "<br>",
    "<div>",
    "</div>\n",
    "<!-- ",
    " -->",
    "\\*",
    "&amp;",
    "&lt;",
    "é",
    "👨‍👩‍👧‍👦",
    "這是",
    " ",
    ". ",
    "\t",
    "    ",
    "\u{202e}",
    "\u{200b}",
    "|",
    "!",
    "[ ] ",
    "\n- [x] ",
];

fn text() -> impl Strategy<Value = String> {
    vec(select(PIECES), 0..400).prop_map(|pieces| {
        let numbered = pieces.iter().enumerate().map(|(n, piece)| match *piece {
            "word" => format!("w{n}w "),
            piece => piece.to_owned(),
        });
        numbered.collect()
    })
}

/// Returns the numbered words of a text with their number of occurrences.
fn words(text: &str) -> BTreeMap<String, usize> {
    let mut words = BTreeMap::new();
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
        let inner = word
            .strip_prefix('w')
            .and_then(|word| word.strip_suffix('w'));
        if inner.is_some_and(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit())) {
            *words.entry(word.to_owned()).or_insert(0) += 1;
        }
    }
    words
}

fn check(
    channel: &dyn Channel,
    text: &str,
    max_parts: usize,
    choices: bool,
) -> Result<(), TestCaseError> {
    let mut outgoing = Outgoing::markdown(text).quoting("m1");
    if choices {
        outgoing = outgoing.with_choices(Choices::new([Choice::new("y", "Yes")]));
    }
    let rendered = channel.render(&outgoing, max_parts);
    prop_assert_eq!(&rendered, &channel.render(&outgoing, max_parts));
    prop_assert!(rendered.parts.len() <= max_parts);
    let kept: String = rendered
        .parts
        .iter()
        .chain(&rendered.rest)
        .map(|part| part.text.clone() + " ")
        .collect();
    let (before, after) = (words(text), words(&kept));
    for word in before.keys() {
        prop_assert!(after.contains_key(word), "{} is lost", word);
    }
    for (index, part) in rendered.parts.iter().enumerate() {
        prop_assert_eq!(part.quote.is_some(), index == 0);
        prop_assert_eq!(
            part.choices.is_some(),
            choices && index + 1 == rendered.parts.len()
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_word_is_lost(text in text(), max_parts in 1_usize..6, choices: bool, repeat in 1_usize..12) {
        let slack = Slack::builder(Secret::new("x")).build().expect("a fixture");
        let whatsapp = WhatsApp::builder("P1", Secret::new("x")).build().expect("a fixture");
        let text = text.repeat(repeat);
        check(&slack, &text, max_parts, choices)?;
        check(&whatsapp, &text, max_parts, choices)?;
    }
}
