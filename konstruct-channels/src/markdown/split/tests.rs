use konstruct_core::{
    Outgoing,
    outgoing::{Choice, Choices, Rendered},
};

use super::{
    super::{MAX_SOURCE, Notation, translate},
    Limits, render,
};

const SLACK: Notation = Notation {
    entities: true,
    brackets: false,
};
const WHATSAPP: Notation = Notation {
    entities: false,
    brackets: false,
};

fn measure(text: &str) -> usize {
    translate(text, WHATSAPP).encode_utf16().count()
}

fn rendered(outgoing: &Outgoing, max: usize, max_parts: usize) -> Rendered {
    let limits = Limits {
        max,
        with_choices: max / 4,
        measure: &measure,
    };
    render(outgoing, max_parts, &limits)
}

/// Splits a text into any number of parts, each within the limit.
fn parts(text: &str, max: usize) -> Vec<String> {
    let rendered = rendered(&Outgoing::markdown(text), max, usize::MAX);
    assert_eq!(rendered.rest, None);
    let parts: Vec<String> = rendered.parts.into_iter().map(|part| part.text).collect();
    for part in &parts {
        assert!(measure(part) <= max, "{max}: {part}");
        assert!(measure(part) > 0);
    }
    parts
}

#[test]
fn a_text_within_the_limit_is_one_unchanged_part() {
    let text = "# Hi\n\n- a\n- b\n\n| a |\n|---|\n| 1 |";
    assert_eq!(parts(&format!("\n {text} \n"), 100), [format!(" {text}")]);
    assert_eq!(parts(" \n \n<!-- nothing -->", 100), Vec::<String>::new());
    assert_eq!(
        rendered(&Outgoing::markdown("a"), 100, 0).rest,
        Some(Outgoing::markdown("a"))
    );
}

#[test]
fn a_text_is_cut_between_blocks_and_after_sentences() {
    assert_eq!(
        parts("First one. It goes on.\n\nSecond paragraph.", 25),
        ["First one. It goes on.", "Second paragraph."]
    );
    assert_eq!(
        parts("A first sentence here. And a second one", 30),
        ["A first sentence here.", "And a second one"]
    );
    assert_eq!(parts("one two three four", 9), ["one two", "three", "four"]);
    assert_eq!(
        parts("Before it.\n\n# Title\n\nA paragraph under it.", 32),
        ["Before it.", "# Title\n\nA paragraph under it."]
    );
    // The rest must not become a list, nor a number 1.
    for part in parts("we open - as always - at 9 in room 5 1. floor", 14) {
        assert!(!translate(&part, WHATSAPP).contains('•'), "{part}");
    }
}

#[test]
fn graphemes_links_and_emphasis_are_not_broken() {
    let family = "👨‍👩‍👧‍👦";
    for part in parts(&family.repeat(20), 40) {
        assert_eq!(part.replace(family, ""), "", "{part}");
    }
    for part in parts(&"see [our long page](https://a.example/x) ".repeat(10), 60) {
        assert_eq!(
            part.matches('[').count(),
            part.matches(')').count(),
            "{part}"
        );
    }
    let bold = format!("**{}end**", "many bold words ".repeat(10));
    for part in parts(&bold, 50) {
        let shown = translate(&part, WHATSAPP);
        assert!(
            shown.starts_with('*') && shown.ends_with('*') && !shown.contains("**"),
            "{shown}"
        );
    }
    // A grapheme that exceeds the limit is cut.
    let zalgo = format!("a{}", "\u{301}".repeat(300));
    assert!(parts(&zalgo, 50).len() > 5);
    assert!(parts(&format!("<https://a.example/{}>", "x".repeat(300)), 50).len() > 5);
}

#[test]
fn a_cut_fence_is_closed_and_reopened() {
    let code: String = (0..300)
        .map(|line| format!("print(\"line {line}\")\n"))
        .collect();
    for fence in ["```", "~~~~"] {
        let text = format!("Run this:\n{fence}python\n{code}{fence}\nDone.");
        let parts = parts(&text, 1000);
        let mut lines = 0;
        for part in &parts {
            assert_eq!(part.matches(fence).count(), 2, "{part}");
            assert!(part.contains(&format!("{fence}python\n")), "{part}");
            lines += part.matches("print(").count();
            let shown = translate(part, SLACK);
            assert_eq!(shown.matches("```").count(), 2, "{shown}");
        }
        assert_eq!(lines, 300);
        assert!(parts.last().expect("parts").ends_with("Done."));
        assert!(parts.len() <= 8, "{}", parts.len());
    }
    // A line that is longer than a part.
    let long = format!("```\n{}\n```", "x".repeat(300));
    let all: String = parts(&long, 50)
        .iter()
        .map(|part| translate(part, WHATSAPP).replace(['`', '\n'], ""))
        .collect();
    assert_eq!(all, "x".repeat(300));
    // A fence that is never closed.
    let open = format!("```sh\n{code}");
    for part in parts(&open, 500) {
        assert!(part.starts_with("```sh\n"), "{part}");
    }
}

#[test]
fn lists_are_cut_between_items_and_count_on() {
    for counted in [false, true] {
        let item = |n: usize| {
            let marker = format!("{}. ", if counted { n } else { 1 });
            format!("{marker}item {n}\n{}- below {n}", " ".repeat(marker.len()))
        };
        let items: Vec<String> = (1..=30).map(item).collect();
        let mut next = 1;
        for part in parts(&items.join("\n"), 120) {
            let shown = translate(&part, WHATSAPP);
            for line in shown.lines() {
                if line.contains("item") {
                    assert_eq!(line, format!("{next}. item {next}"));
                    next += 1;
                } else {
                    assert_eq!(
                        line.trim_start(),
                        format!("◦ below {}", next - 1),
                        "{shown}"
                    );
                }
            }
            assert!(
                !shown.starts_with(' ') && !shown.starts_with('◦'),
                "{shown}"
            );
        }
        assert_eq!(next, 31);
    }
    // An item that is longer than a part, with a nested list.
    let text = format!(
        "1. first {}\n   - inner a\n   - inner b\n2. second",
        "word ".repeat(40)
    );
    let shown: Vec<String> = parts(&text, 100)
        .iter()
        .map(|part| translate(part, WHATSAPP))
        .collect();
    let all = shown.join("\n");
    assert_eq!(all.matches("word").count(), 40);
    assert!(
        all.contains("2. second") && all.contains("inner a\n"),
        "{all}"
    );
    assert!(!all.contains("```"), "{all}");
}

#[test]
fn tables_and_quotes_are_reopened() {
    let rows: String = (0..40)
        .map(|n| format!("| item {n} | {n} EUR |\n"))
        .collect();
    let text = format!("Prices:\n\n| Item | Price |\n|---|---|\n{rows}");
    let mut next = 0;
    for part in parts(&text, 200) {
        let shown = translate(&part, WHATSAPP);
        for line in shown.lines().filter(|line| line.contains("EUR")) {
            assert_eq!(line, format!("Item: item {next}; Price: {next} EUR"));
            next += 1;
        }
        assert!(!shown.contains('|'), "{shown}");
    }
    assert_eq!(next, 40);
    let quote = format!("> {}", "quoted words ".repeat(30));
    for part in parts(&quote, 100) {
        assert!(translate(&part, WHATSAPP).starts_with("> "), "{part}");
    }
}

#[test]
fn reference_links_are_inlined() {
    let text = format!(
        "See [our shop][shop].\n\n{}\n\n[shop]: https://a.example",
        "filler words. ".repeat(30)
    );
    let parts = parts(&text, 100);
    assert_eq!(
        translate(&parts[0], WHATSAPP).lines().next(),
        Some("See our shop (https://a.example).")
    );
}

#[test]
fn the_number_of_parts_is_limited_and_nothing_is_lost() {
    let text = "One sentence of words. ".repeat(2_000);
    let rendered = rendered(&Outgoing::markdown(&text).quoting("m1"), 1000, 4);
    assert_eq!(rendered.parts.len(), 4);
    assert_eq!(rendered.parts[0].quote.as_deref(), Some("m1"));
    assert!(rendered.parts[1..].iter().all(|part| part.quote.is_none()));
    let rest = rendered.rest.expect("a rest");
    let sentences = |text: &str| text.matches("One sentence of words.").count();
    let shown: usize = rendered
        .parts
        .iter()
        .map(|part| sentences(&part.text))
        .sum();
    assert_eq!(shown + sentences(&rest.text), 2_000);
    assert!(shown > 130, "the parts are filled: {shown}");
    // The rest can be rendered again.
    assert_eq!(
        render(
            &rest,
            1,
            &Limits {
                max: 1000,
                with_choices: 0,
                measure: &measure
            }
        )
        .parts
        .len(),
        1
    );
}

#[test]
fn the_last_part_has_room_for_its_choices() {
    let choices = Choices::new([Choice::new("y", "Yes")]);
    for (length, max_parts) in [
        (0, 4),
        (10, 4),
        (60, 4),
        (100, 4),
        (900, 4),
        (900, 2),
        (90, 1),
    ] {
        let text = "A sentence of six words here. ".repeat(length / 10);
        let outgoing = Outgoing::markdown(text.clone()).with_choices(choices.clone());
        let rendered = rendered(&outgoing, 400, max_parts);
        let (last, others) = rendered.parts.split_last().expect("a part");
        assert_eq!(last.choices.as_ref(), Some(&choices), "{length}");
        assert!(measure(&last.text) <= 100, "{length}: {}", last.text);
        assert!(
            others
                .iter()
                .all(|part| part.choices.is_none() && measure(&part.text) <= 400)
        );
        let rest = rendered.rest.map_or(String::new(), |rest| rest.text);
        let all: String = rendered
            .parts
            .iter()
            .map(|part| part.text.clone() + " ")
            .chain([rest])
            .collect();
        assert_eq!(all.matches("sentence").count(), length / 10);
    }
}

/// Counts the translated bytes, as a measure of the work.
fn work(text: &str, max_parts: usize) -> usize {
    let bytes = std::cell::Cell::new(0);
    let counted = |text: &str| {
        bytes.set(bytes.get() + text.len());
        measure(text)
    };
    let limits = Limits {
        max: 400,
        with_choices: 100,
        measure: &counted,
    };
    let rendered = render(&Outgoing::markdown(text), max_parts, &limits);
    assert!(rendered.parts.len() <= max_parts);
    bytes.get()
}

#[test]
fn the_work_is_linear_and_ends_at_the_cap() {
    let shapes = [
        "`",
        "word ",
        "a\n\n",
        "- x\n",
        "> ",
        "```\n",
        "[a](b) ",
        "**a ",
        "| a ",
        "<b>",
        "x",
        "``` ` `` ",
    ];
    for shape in shapes {
        let small = work(&shape.repeat(4_000 / shape.len()), usize::MAX).max(1);
        let large = work(&shape.repeat(16_000 / shape.len()), usize::MAX);
        assert!(large <= 8 * small, "{shape:?}: {small} bytes, then {large}");
        let huge = work(&shape.repeat(3_000_000 / shape.len()), 4);
        assert!(huge < 4_000_000, "{shape:?}: {huge} bytes at the cap");
    }
    let huge = "x ".repeat(MAX_SOURCE);
    let rendered = rendered(&Outgoing::markdown(&huge), 4000, 4);
    let words: usize = rendered
        .parts
        .iter()
        .chain(&rendered.rest)
        .map(|part| part.text.matches('x').count())
        .sum();
    assert_eq!(words, MAX_SOURCE);
}

/// Typical pieces of texts by models and attackers.
const PIECES: &[&str] = &[
    "word ",
    "word ",
    "word ",
    "word. ",
    "**bold** ",
    "***both*** ",
    "~~gone~~ ",
    "`code` ",
    "**",
    "*",
    "_",
    "`",
    "~~~",
    "\n",
    "\n\n",
    "\n- ",
    "\n  - ",
    "\n1. ",
    "\n   1. ",
    "\n      - ",
    "\n> ",
    "\n# ",
    "\n```rust\n",
    "\n```\n",
    "\n| a | b |\n|---|---|\n",
    "| x | y |\n",
    "\n---\n",
    "<!channel>",
    "<@U1>",
    "[a](https://a.example/x) ",
    "<https://b.example> ",
    "[^1]",
    "\n[^1]: note ",
    "<b>",
    "</b>",
    "<br>",
    "<div>",
    "</div>\n",
    "<!-- x -->",
    "\\*",
    "&amp;",
    "é",
    "👨‍👩‍👧‍👦",
    "這是",
    "    ",
    "\t",
];

#[test]
fn any_text_is_split_within_the_limit_and_mentions_nobody() {
    let mut state = 7_u64;
    let mut below = |n: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap_or(0) % n
    };
    for case in 0..800 {
        let length = 1 + below(60);
        let mut text = String::new();
        for n in 0..length {
            let piece = PIECES[below(PIECES.len())];
            text.push_str(&piece.replace("word", &format!("w{n}w")));
            // A word may be broken only if the surrounding text has no space.
            if n % 3 == 2 {
                text.push(' ');
            }
        }
        let max = 110 + below(150);
        let parts = parts(&text, max);
        let displayed = translate(&text, WHATSAPP);
        let shown: Vec<String> = parts.iter().map(|part| translate(part, WHATSAPP)).collect();
        let (kept, shown) = (parts.join(" "), shown.join(" "));
        for n in 0..length {
            let word = format!("w{n}w");
            for (before, after) in [(&text, &kept), (&displayed, &shown)] {
                assert!(
                    !before.contains(&word) || after.contains(&word),
                    "{case}, {max}: {word} of {text:?} is lost: {parts:#?}"
                );
            }
        }
        for part in &parts {
            let shown = translate(part, SLACK);
            assert!(
                !shown.contains("<!") && !shown.contains("<@"),
                "{case}: {shown}"
            );
            assert_eq!(
                shown.matches("```").count() % 2,
                0,
                "{case}: {part:?}: {shown}"
            );
        }
    }
}
