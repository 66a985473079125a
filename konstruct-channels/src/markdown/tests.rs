//! Tests of the displayed result, by kind of Markdown.

use super::{Notation, translate};

const SLACK: Notation = Notation {
    entities: true,
    brackets: false,
};
const VERBATIM: Notation = Notation {
    entities: true,
    brackets: true,
};
const WHATSAPP: Notation = Notation {
    entities: false,
    brackets: false,
};

/// Asserts the result for both vendors.
fn both(markdown: &str, expected: &str) {
    for notation in [WHATSAPP, SLACK] {
        assert_eq!(
            translate(markdown, notation),
            expected,
            "{notation:?}: {markdown}"
        );
    }
}

fn slack(markdown: &str, expected: &str) {
    assert_eq!(translate(markdown, SLACK), expected, "{markdown}");
}

#[test]
fn emphasis_is_nested_and_written_in_the_vendors_marks() {
    both("Our offer: ***today only***!", "Our offer: *_today only_*!");
    both(
        "___both___ **_both_** *__both__*",
        "*_both_* *_both_* *_both_*",
    );
    both(
        "**bold** __bold__ *it* _it_ ~~gone~~",
        "*bold* *bold* _it_ _it_ ~gone~",
    );
    both("**bold *and it* on**", "*bold _and it_ on*");
    both("*it **and bold** on*", "_it *and bold* on_");
    both("***bold it** it*", "_*bold it* it_");
    both("~~**old**~~ price", "*~old~* price");
    both(
        "\"**quoted**\" (*it*), **end**.",
        "\"*quoted*\" (_it_), *end*.",
    );
    both("**two\nlines**", "*two*\n*lines*");
    both("**a **b****", "*a b*");
}

#[test]
fn marks_that_are_not_emphasis_stay() {
    both("**open", "**open");
    both("2 ** 3 ** 4 and 2 * 3 * 4", "2 ** 3 ** 4 and 2 * 3 * 4");
    both("2*3*4 2**3**4", "2*3*4 2**3**4");
    both("snake_case_name", "snake_case_name");
    both("~5 EUR to ~10 EUR", "~5 EUR to ~10 EUR");
    both("****", "———");
    both("é*é[é", "é*é[é");
    both("#hash ####### seven", "#hash ####### seven");
}

#[test]
fn emphasis_within_a_word_leaves_the_word() {
    both("un**believ**able", "unbelievable");
    both("这是**重要**的", "这是重要的");
    both("**Note**s", "Notes");
}

#[test]
fn escapes_are_resolved_and_inject_nothing() {
    both(r"1\. C\# \[x\] \\", r"1. C# [x] \");
    both(r"4 \* 5", "4 * 5");
    both(r"\*stars\*", "∗stars∗");
    both(r"\_under\_ \~wave\~", "ˍunderˍ ∼wave∼");
    both(r"\`a\`", "ˋaˋ");
    both(r"\*a and **b**", "∗a and *b*");
    both(r"**\*31#** and **\*\*x**", "*∗31#* and *∗∗x*");
    both("&ast;x&ast; &copy;", "∗x∗ ©");
    slack("&lt;!here&gt;", "&lt;!here&gt;");
    slack(r"\> no quote", "\u{200B}&gt; no quote");
}

#[test]
fn nobody_is_mentioned_and_no_address_is_hidden() {
    slack(
        "<!channel> <@U1> <!here> & co",
        "&lt;!channel&gt; &lt;@U1&gt; &lt;!here&gt; &amp; co",
    );
    slack("`<!channel>`", "`&lt;!channel&gt;`");
    slack("```\n<!channel>\n```", "```\n&lt;!channel&gt;\n```");
    slack(
        "[shop](https://a.example/?a=1&b=2)",
        "shop (https://a.example/?a=1&amp;b=2)",
    );
    slack(
        "[a|b](<https://a.example/|!channel>)",
        "a|b (https://a.example/|!channel)",
    );
    slack(
        "[<!here>](https://a.example)",
        "&lt;!here&gt; (https://a.example)",
    );
    both(
        "[https://bank.example](https://evil.example)",
        "https://bank.example (https://evil.example)",
    );
    both(
        "see [our **page**](https://a.example)",
        "see our *page* (https://a.example)",
    );
    both("[x](javascript:alert)", "x (javascript:alert)");
    both("[x](</a b>)", "x (/a%20b)");
    both("a\u{202E}b", "ab");
    assert_eq!(
        translate(
            "go to [us](https://a.example/|x), https://b.example/a_b_c. Or http",
            VERBATIM
        ),
        "go to us (<https://a.example/%7Cx>), <https://b.example/a_b_c>. Or http"
    );
}

#[test]
fn addresses_are_shown_once() {
    both(
        "<https://a.example> https://b.example/_x_/*y*",
        "https://a.example https://b.example/_x_/*y*",
    );
    both(
        "[https://a.example](https://a.example)",
        "https://a.example",
    );
    both("[a.example](https://a.example/)", "https://a.example/");
    both(
        "<me@a.example> [me@a.example](mailto:me@a.example)",
        "me@a.example me@a.example",
    );
    both("[call](tel:+4930123)", "call (+4930123)");
    both(
        "![a bike](https://a.example/b.png)",
        "a bike (https://a.example/b.png)",
    );
    both("![](https://a.example/b.png)", "https://a.example/b.png");
    both(
        "[![alt](https://a.example/i.png)](https://a.example)",
        "alt (https://a.example/i.png) (https://a.example)",
    );
    both(
        "[shop][1] and [1]\n\n[1]: https://a.example",
        "shop (https://a.example) and 1 (https://a.example)",
    );
}

#[test]
fn headings_and_rules() {
    both("# Title\n## Two\nbody", "*Title*\n*Two*\nbody");
    both("# The **bold** *it*\n\nbody", "*The bold _it_*\n\nbody");
    both("Title\n=====\n\na\n\n---\n\nb", "*Title*\n\na\n\n———\n\nb");
}

#[test]
fn lists_keep_their_order_and_nesting() {
    both(
        "Bring:\n- a\n- **b**\n  - c\n    - d\n- e",
        "Bring:\n• a\n• *b*\n  ◦ c\n    ▪ d\n• e",
    );
    both("* a\n* b", "• a\n• b");
    both("3. a\n3. b\n   1. c", "3. a\n4. b\n   1. c");
    both("1. a\n\n   more\n\n2. b", "1. a\n\n   more\n\n2. b");
    both("- [ ] open\n- [x] done", "☐ open\n☑ done");
}

#[test]
fn tables_become_lines() {
    both(
        "Prices:\n\n| Item | Price |\n|---|---|\n| **Tube** | 9 EUR |\n| Tyre | 29 EUR |\n\nDone.",
        "Prices:\n\nItem: Tube; Price: 9 EUR\nItem: Tyre; Price: 29 EUR\n\nDone.",
    );
    both(
        "| Key | Does |\n|:--|--:|\n| `a_b` | x \\| y |\n| | z |",
        "Key: `a_b`; Does: x | y\nDoes: z",
    );
    both("|a|b|c|d|\n|-|-|-|-|\n|1|2|3|4|", "a: 1; b: 2; c: 3; d: 4");
    both("|a|b|\n|-|-|", "a; b");
    both("|a|\n|-|\n|~~12~~ *9*|", "a: ~12~ 9");
}

#[test]
fn quotes_and_code() {
    slack("> a\n> **b**\n\nc", "> a\n> *b*\n\nc");
    slack("> a\n> - b\n>\n> > c", "> a\n> • b\n>\n> > c");
    both(
        "```python\nprint(1)\n# **no**\n```",
        "```\nprint(1)\n# **no**\n```",
    );
    both("    indented **no**", "```\nindented **no**\n```");
    both("`**no**` and **`yes`**", "`**no**` and *`yes`*");
    both("`` a`b ``", "aˋb");
    both("````\n```\n````", "```\n`\u{200B}`\u{200B}`\n```");
}

#[test]
fn meaningful_html_is_translated() {
    both("one<br>two<br/>three", "one\ntwo\nthree");
    both(
        "<b>bold</b> <em>it</em> <u>plain</u> H<sub>2</sub>O",
        "*bold* _it_ plain H2O",
    );
    both("<b>open", "open");
    both("a <!-- hidden --> b", "a  b");
    assert_eq!(
        translate("<!-- never closed\n\nmore", WHATSAPP),
        "<!-- never closed\n\nmore"
    );
    assert_eq!(translate("<div class=", WHATSAPP), "<div class=");
    both(
        "see <a href=\"https://a.example\">us</a>",
        "see us (https://a.example)",
    );
    both(
        "<div>\n<p>one &quot;</p>\n<p>two</p>\n</div>",
        "one \"\ntwo",
    );
    assert_eq!(translate("Dear <name>,", WHATSAPP), "Dear <name>,");
}

#[test]
fn footnotes_are_numbers_in_brackets() {
    both(
        "Free[^1] today.\n\n[^1]: From 50 EUR.",
        "Free[1] today.\n\n[1] From 50 EUR.",
    );
    both(
        "Free[^1] today, [^ not] this.",
        "Free[1] today, [^ not] this.",
    );
}

#[test]
fn deep_nesting_is_limited() {
    for deep in [
        "> ".repeat(20_000) + "x",
        "- ".repeat(20_000) + "x",
        "[".repeat(20_000),
        "**a ".repeat(5_000),
        "<b>".repeat(5_000),
    ] {
        let translated = translate(&deep, SLACK);
        assert!(translated.len() <= 2 * deep.len(), "{}", &deep[..4]);
    }
}
