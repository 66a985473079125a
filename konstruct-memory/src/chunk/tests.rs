//! Tests of the passages, as the model and the customer see them.

use proptest::prelude::*;

use super::{part::LONGEST, *};
use crate::chunk::word_count;

fn check(format: DocumentFormat, text: &str, expected: &[(&str, &str)]) {
    let chunks = chunks(format, text);
    let found: Vec<_> = chunks
        .iter()
        .map(|chunk| (chunk.path.join(" > "), chunk.text.clone()))
        .collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
        .collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn text_is_split_into_paragraphs_and_questions() {
    let check = |text, expected| check(DocumentFormat::Text, text, expected);
    check("One.\n\nTwo\nlines.", &[("", "One."), ("", "Two\nlines.")]);
    check(
        "Do you ship?\n\nYes.\n\nMore.",
        &[("Do you ship?", "Yes."), ("", "More.")],
    );
    check("Q: Open on Sunday?\nA: No.", &[("Open on Sunday?", "No.")]);
    check(
        "Hours:\nMon 9-18\nTue 9-18",
        &[("Hours", "Mon 9-18\nTue 9-18")],
    );
    check(
        "1. Pets?\n\tYes.\n2. Cash?\n\tNo.",
        &[("Pets?", "Yes."), ("Cash?", "No.")],
    );
    check(
        "A: a street\n\nP: 030",
        &[("", "A: a street"), ("", "P: 030")],
    );
    check("Anything else?", &[("", "Anything else?")]);
    check("  \n ", &[]);
}

#[test]
fn markdown_keeps_the_headings() {
    let check = |text, expected| check(DocumentFormat::Markdown, text, expected);
    check(
        "Intro\n\n# A\n\n## B\nb1\n\nb2\n\n# C #\nc",
        &[("", "Intro"), ("A > B", "b1\n\nb2"), ("C", "c")],
    );
    check("Title\n=====\n\nSub\n---\nbody", &[("Title > Sub", "body")]);
    check(
        "## Q\n```\n# no heading\n```\nafter",
        &[("Q", "# no heading\n\nafter")],
    );
    check(
        "**Where?**\n* [here](https://a.example)",
        &[("Where?", "- here (https://a.example)")],
    );
    check("# Only", &[("", "Only")]);
    check("---\nkey: value\n---\ntext", &[("", "text")]);
    check("#hashtag first", &[("", "#hashtag first")]);
    check("# A\n\n## B\n\n## C\nc", &[("A", "B"), ("A > C", "c")]);
}

#[test]
fn markdown_is_parsed() {
    let check = |text, expected| check(DocumentFormat::Markdown, text, expected);
    // Front matter, with the line ends of any system.
    check(
        "---\r\ntitle: x\r\n---\r\n\r\n# A\r\ntext\r\n",
        &[("A", "text")],
    );
    check("+++\ntitle = 1\n+++\ntext", &[("", "text")]);
    check(
        "---\n\nA rule begins this.\n\n---",
        &[("", "A rule begins this.")],
    );
    // What the author hides or escapes.
    check(
        "<!-- margin 40 % -->\n\n# A <!-- x -->\ntext<!-- y -->",
        &[("A", "text")],
    );
    check("<!-- all -->", &[]);
    check(
        "# **Call** \\#1 {#call}\n\\+49 30\\-1\\.",
        &[("Call #1", "+49 30-1.")],
    );
    check(
        "![][i] ![our menu](https://a.example/m.png)\n\n[i]: <data:image/png;base64,AA==>",
        &[("", "our menu (https://a.example/m.png)")],
    );
    check(
        "![logo](data:image/png;base64,AA==) See [us][u].\n\n[u]: https://a.example",
        &[("", "logo See us (https://a.example).")],
    );
    // HTML.
    check(
        "<details>\n<summary>Free?</summary>\n\nYes, **two** hours.\n\n</details>",
        &[("Free?", "Yes, two hours.")],
    );
    check(
        "one<br>two &amp; three&nbsp;four",
        &[("", "one\ntwo & three four")],
    );
    check(
        "9<sup>99</sup> EUR <del>12</del> ~~11~~",
        &[("", "9.99 EUR ~~12~~ ~~11~~")],
    );
    check("<div hidden>\n\nsecret\n\n</div>\n\nopen", &[("", "open")]);
    check("Use <title> for it.", &[("", "Use <title> for it.")]);
    // Blocks.
    check(
        "Steps:\n\n1. one\n1. two\n   - a\n   - b\n1. three\n\n   more\n",
        &[(
            "",
            "Steps:\n1. one\n2. two\n   - a\n   - b\n3. three\n   more",
        )],
    );
    check("7. seven\n9. nine", &[("", "7. seven\n9. nine")]);
    check("- [x] paid\n- [ ] open", &[("", "- [x] paid\n- [ ] open")]);
    check(
        "| Item | Price |\n|---|--:|\n| Tube | ~~12~~ 9 |\n| Tyre | 29 |",
        &[("", "Item: Tube; Price: ~~12~~ 9\n\nItem: Tyre; Price: 29")],
    );
    check(
        "Free[^1].\n\n[^1]: From 50 EUR.",
        &[("", "Free[1].\n\n[1] From 50 EUR.")],
    );
    check("```sh\na\n\n  b *c*\n```", &[("", "a\n\n  b *c*")]);
    check(
        "> quoted\n> **text**\n\nMon 9\nTue 10",
        &[("", "quoted\ntext\n\nMon 9\nTue 10")],
    );
    check(
        "**Where?**\nHere.\n\n**Now** or never",
        &[("Where?", "Here.\n\nNow or never")],
    );
}

#[test]
fn long_passages_are_split_without_loss() {
    let sentence = "The quick brown fox jumps over the lazy dog every single day. ";
    for text in [
        sentence.repeat(100),
        "word ".repeat(1000),
        "x".repeat(100_000),
        format!("## H\n{}", sentence.repeat(30)),
    ] {
        let chunks = chunks(DocumentFormat::Markdown, &text);
        assert!(chunks.len() > 1);
        for chunk in &chunks {
            assert!(word_count(&chunk.text) <= LONGEST, "{}", chunk.text);
        }
        let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).count();
        let kept: usize = chunks.iter().map(|chunk| letters(&chunk.text)).sum();
        let heads = usize::from(text.starts_with("##"));
        assert_eq!(kept + heads, letters(&text));
    }
}

#[test]
fn a_rule_ends_a_bold_title() {
    check(
        DocumentFormat::Markdown,
        "# A\n\n**Pets?**\n\nYes.\n\n---\n\nQuay 1\n\n***",
        &[("A > Pets?", "Yes."), ("A", "Quay 1")],
    );
}

#[test]
fn items_are_not_cut() {
    let steps: String = (1..60)
        .map(|step| format!("{step}. Hold it. Then press.\n   - once\n"))
        .collect();
    let chunks = chunks(DocumentFormat::Markdown, &steps);
    assert!(chunks.len() > 2);
    for line in chunks.iter().flat_map(|chunk| chunk.text.lines()) {
        assert!(
            line.ends_with("Hold it. Then press.") || line.trim_start() == "- once",
            "{line}"
        );
    }
}

#[test]
fn a_row_of_values_is_a_passage_with_its_columns() {
    let check = |text, expected| check(DocumentFormat::Csv, text, expected);
    check(
        "Product,Price,Note\nBike,900,\n\"Big \"\"B\"\"\",\"1,200\",\"two\nlines\",more",
        &[
            ("Bike", "Product: Bike\nPrice: 900"),
            (
                "Big \"B\"",
                "Product: Big \"B\"\nPrice: 1,200\nNote: two lines\nmore",
            ),
        ],
    );
    check(
        "Tag;Zeit\nMontag;9,30 bis 18\n;\n",
        &[("Montag", "Tag: Montag\nZeit: 9,30 bis 18")],
    );
    check(
        "Question,Answer\nOpen on Sunday?,No.\nAnd Monday?,",
        &[
            ("Open on Sunday?", "No."),
            ("And Monday?", "Question: And Monday?"),
        ],
    );
    check("only,names", &[("", "only, names")]);
    check("a\tb\n1\t2", &[("1", "a: 1\nb: 2")]);
    check("", &[]);
}

#[test]
fn a_pair_is_a_passage() {
    let check = |text, expected| check(DocumentFormat::Faq, text, expected);
    check(
        "Intro.\n\nQ: Where?\nA: Here.\n\nAnd there.\nQ: When?\nA: Now.",
        &[
            ("", "Intro."),
            ("Where?", "Here.\n\nAnd there."),
            ("When?", "Now."),
        ],
    );
    check("Frage: Wo?\nAntwort: Hier.", &[("Wo?", "Hier.")]);
    check("Q: Nobody knows?", &[("", "Nobody knows?")]);
    check("Where?\n\nHere.", &[("Where?", "Here.")]);
    check("", &[]);
}

#[test]
fn every_usual_mark_makes_a_pair() {
    let pairs = [("Where?", "Here."), ("When?", "Now.\n\nAnd later.")];
    for text in [
        "Q1: Where?\nA1: Here.\n\nQ2: When?\nA2: Now.\n\nAnd later.",
        "Q) Where?\nA) Here.\nQ) When?\nA) Now.\n\nAnd later.",
        "q: Where?\na: Here.\nq: When?\na: Now.\n\nAnd later.",
        "P: Where?\nR: Here.\n\nP: When?\nR: Now.\n\nAnd later.",
        "Q\u{a0}: Where?\nR\u{a0}: Here.\nQ\u{a0}: When?\nR\u{a0}: Now.\n\nAnd later.",
        "D. Where?\nR. Here.\nD. When?\nR. Now.\n\nAnd later.",
        "Pregunta 1: Where?\nRespuesta: Here.\nPregunta 2: When?\nRespuesta: Now.\n\nAnd later.",
        "Vraag: Where?\nAntwoord: Here.\nVraag: When?\nAntwoord: Now.\n\nAnd later.",
        "Ｑ：Where?\nＡ：Here.\nＱ１：When?\nＡ１：Now.\n\nAnd later.",
        "問：Where?\n答：Here.\n問：When?\n答：Now.\n\nAnd later.",
        "Q - Where?\nA - Here.\nQ – When?\nA – Now.\n\nAnd later.",
        "**Q:** Where?\n**A:** Here.\n\n**Q: When?**\n**A: Now.**\n\nAnd later.",
        "**Q** Where?\n**A** Here.\n**Q** When?\n**A** Now.\n\nAnd later.",
        "- Q: Where?\n- A: Here.\n- Q: When?\n- A: Now.\n\nAnd later.",
        "Q: Where? A: Here.\nQ: When?\nA:\nNow.\n\nAnd later.",
        "1.\tWhere?\n\tHere.\n2.\tWhen?\n\tNow.\n\nAnd later.",
        "1) Where?\nHere.\n2) When?\nNow.\n\nAnd later.",
        "1.\u{a0}Where?\n\nHere.\n\n2.\u{a0}When?\n\nNow.\n\nAnd later.",
        "Where?\nHere.\n\nWhen?\nNow.\n\nAnd later.",
        "## Where?\nHere.\n\n## 2. When?\nNow.\n\nAnd later.",
        "**Where?**\n\nHere.\n\n**When?**\n\nNow.\n\nAnd later.",
    ] {
        check(DocumentFormat::Faq, text, &pairs);
    }
    let check = |text, expected| check(DocumentFormat::Faq, text, expected);
    check(
        "1. Shipping\nBy post.\n2. Returns\nNo.",
        &[("Shipping", "By post."), ("Returns", "No.")],
    );
    check("# Pay\n\nQ: Cash?\nA: Yes.", &[("Pay > Cash?", "Yes.")]);
    check(
        "Q: Can I bring\nmy dog?\nA: Yes.",
        &[("Can I bring my dog?", "Yes.")],
    );
    check(
        "Où ?\nIci.\n返品できますか？\nはい。\nأين؟\nهنا.",
        &[
            ("Où ?", "Ici."),
            ("返品できますか？", "はい。"),
            ("أين؟", "هنا."),
        ],
    );
    check(
        "Q: Why vitamin\nA: It helps.\nA. Smith said so.\nP: 030 12",
        &[("Why vitamin", "It helps.\nSmith said so.\nP: 030 12")],
    );
}

#[test]
fn a_table_of_any_spreadsheet_is_read() {
    let check = |text, expected| check(DocumentFormat::Csv, text, expected);
    check(
        "Preisliste 2026;;\n\nArtikel;Preis (EUR, netto);\nHelm;59,90;\n",
        &[(
            "Preisliste 2026 > Helm",
            "Artikel: Helm\nPreis (EUR, netto): 59,90",
        )],
    );
    check(
        "Prices\nFrom May\nItem,Price\nTube,9",
        &[
            ("", "Prices\nFrom May"),
            ("Prices > Tube", "Item: Tube\nPrice: 9"),
        ],
    );
    check(
        "Tube,9.90\nTyre,29",
        &[("Tube", "Tube\n9.90"), ("Tyre", "Tyre\n29")],
    );
    check(
        "Item,2025,2026\nTube,8,9",
        &[("Tube", "Item: Tube\n2025: 8\n2026: 9")],
    );
    check(
        "Item,Price\nTube,9,90\nTyre,29,00",
        &[
            ("Tube", "Item: Tube\nPrice: 9,90"),
            ("Tyre", "Item: Tyre\nPrice: 29,00"),
        ],
    );
    check(
        "No;Item\n1;Tube\n2;Tyre",
        &[("Tube", "No: 1\nItem: Tube"), ("Tyre", "No: 2\nItem: Tyre")],
    );
    check(
        "Topic;Frage;Antwort\nPay;Cash?;Yes.",
        &[("Cash?", "Yes.\nTopic: Pay")],
    );
    check(
        "Open on Sunday?;No.\nPets?;Yes.",
        &[("Open on Sunday?", "No."), ("Pets?", "Yes.")],
    );
}

proptest! {
    #[test]
    fn no_text_is_lost(text in "[a-z0-9 .,;|\"\t\n:?QA-]{0,300}") {
        for format in [DocumentFormat::Text, DocumentFormat::Csv, DocumentFormat::Faq] {
            let chunks = chunks(format, &text);
            let kept: String = chunks
                .iter()
                .flat_map(|chunk| chunk.path.iter().chain([&chunk.text]))
                .flat_map(|text| [text.as_str(), " "])
                .collect();
            // Markers such as `Q:` and `A:` are dropped and columns get names: compare words of lower-case letters and
            // digits.
            let words = |text: &str| -> std::collections::BTreeSet<String> {
                text.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit())
                    .filter(|word| !word.is_empty())
                    .map(str::to_owned)
                    .collect()
            };
            let (all, kept) = (words(&text), words(&kept));
            let lost: std::collections::BTreeSet<_> = all.difference(&kept).cloned().collect();
            // A column without a value omits its name, so one row, the header, may lose words.
            let of_header = format == DocumentFormat::Csv
                && text.lines().any(|line| lost.is_subset(&words(line)));
            let complete = lost.is_empty() || of_header || text.contains('"');
            prop_assert!(complete, "{format:?} lost {lost:?}");
        }
    }
}
