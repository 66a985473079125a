//! Tests of the Markdown of pages, by kind.

use super::markdown;

fn check(page: &str, expected: &str) {
    assert_eq!(markdown(page), format!("{expected}\n"), "{page}");
}

#[test]
fn a_page_becomes_markdown() {
    check("just text", "just text");
    check(
        "<html><head><title>T</title><style>p{}</style></head><body><nav><a href=/>Home</a></nav><h1>A &amp; B</h1><p>One <b>two</b>\n three.</p><footer>(c)</footer>",
        "# A & B\n\nOne two three.",
    );
    check("<title>Shop</title><p>x</p>", "# Shop\n\nx");
    check(
        "<a href='https://a.example/x'>Book here</a> or <a href='/b'>there</a>, <a href='https://b.example'>b.example</a>",
        "[Book here](https://a.example/x) or there, b.example",
    );
    check(
        "<p><a href='tel:+49301'>030 1</a>, <a href='tel:+49301'>call</a>",
        "030 1, [call](tel:+49301)",
    );
    check("<pre>a\n  b</pre>c", "```\na\n  b\n```\n\nc");
    check("<script>if (a<b) {'</p>'}</script><!-- no -->yes", "yes");
    check("<nav>All there is</nav>", "All there is");
    check("a&nbsp;b<br/>c", "a b\nc");
    check(
        "<h2><img src=x alt='Our hours'></h2>9 to 18",
        "## Our hours\n\n9 to 18",
    );
    check(
        "<p>5 * 3 = *15* [a] &lt;b&gt;</p><p>1. May</p>",
        "5 \\* 3 = \\*15\\* \\[a\\] \\<b>\n\n1\\. May",
    );
    assert_eq!(markdown(""), "");
}

#[test]
fn tags_that_may_be_left_out_are_added() {
    check(
        "<!DOCTYPE html><html lang=en><meta charset=utf-8><head><title>T</title><body><h1>Inn</h1><p>Open.<h2>Pets</h2><p>Yes.",
        "# Inn\n\nOpen.\n\n## Pets\n\nYes.",
    );
    check("<ul><li>a<li><p>b</ul><p>c", "- a\n- b\n\nc");
    check(
        "<dl><dt>Where?<dd>Here.<dt>Tea<dt>Coffee<dd>2 EUR</dl>",
        "**Where?**\n\nHere.\n\n**Tea / Coffee**\n\n2 EUR",
    );
}

#[test]
fn a_panel_has_its_button_as_heading() {
    // A heading around the button.
    check(
        "<h3><button data-bs-target='#a' aria-expanded=false>Pets?</button></h3><div id=a class=collapse hidden>On a lead.</div>",
        "### Pets?\n\nOn a lead.",
    );
    // Buttons and links without one.
    let opens = [
        "<button aria-controls=a>Pets?</button><div id=a aria-hidden=true>On a lead.</div>",
        "<a href='#a' data-toggle=collapse>Pets?</a><div id=a style='display: none'>On a lead.</div>",
        "<ul><li role=tab aria-controls=a>Pets?</ul><div role=tabpanel id=a hidden>On a lead.</div>",
        "<button class=accordion>Pets?</button><div class=panel style='display:none'>On a lead.</div>",
        "<div><button aria-expanded=false>Pets?</button></div><div hidden>On a lead.</div>",
        "<details><summary>Pets?</summary>On a lead.</details>",
        "<dl><dt class=toggle>Pets?<dd hidden>On a lead.</dl>",
    ];
    for page in opens {
        check(page, "**Pets?**\n\nOn a lead.");
    }
    check(
        "<p>See <a href='#n'>the note</a>.<div id=n hidden>Cash only.</div>",
        "See the note.\n\nCash only.",
    );
    check("<button>Add to cart</button><p>9 EUR", "9 EUR");
    check(
        "<button class=navbar-toggle data-target='#m'>Menu</button><div id=m><h2>Home</h2>x</div>",
        "## Home\n\nx",
    );
    // What follows a panel is not its text.
    let rest = "<h2>Visit</h2><details><summary>Pets?</summary>Yes.</details><p>Quay 1<h2>Pay</h2>";
    check(
        rest,
        "## Visit\n\n**Pets?**\n\nYes.\n\n---\n\nQuay 1\n\n## Pay",
    );
}

#[test]
fn what_nobody_sees_is_left_out() {
    check(
        "<p>seen<span hidden>x</span><i style='display : none'>y</i><template>z</template></p>",
        "seen",
    );
    check(
        "<p>seen<noscript>Enable scripts</noscript><dialog>d</dialog>",
        "seen",
    );
    check(
        "<div class='cookie-banner'>We use cookies</div>seen",
        "seen",
    );
    check(
        "<div role=dialog aria-label='Consent'>We ask</div>seen",
        "seen",
    );
    // A small shop states its hours where others have only links.
    check(
        "<p>Hi<aside>ad</aside><footer><address>Quay 1</address></footer>",
        "Hi\n\nQuay 1",
    );
}

#[test]
fn a_table_is_a_grid() {
    check(
        "<table><tr><th>Day<th>Hours</tr><tr><td>Mon</td><td>9-<br>18</td></tr><tr><td>Sun<td></table>",
        "Day: Mon; Hours: 9- 18\n\nDay: Sun",
    );
    check(
        "<table><tr><th>Day<th>Bar<th>Pool<tr><th>Mon<td rowspan=2>10-18<td>9-12<tr><th>Tue<td>13-17<tr><th>Sun<td colspan=2>closed</table>",
        "Day: Mon; Bar: 10-18; Pool: 9-12\n\nDay: Tue; Bar: 10-18; Pool: 13-17\n\nDay: Sun; Bar: closed; Pool: closed",
    );
    check(
        "<table><tr><td><th>Adult<th>Child<tr><th>Day<td>9<td>5</table>",
        "Day; Adult: 9; Child: 5",
    );
    check(
        "<table><thead><tr><td rowspan=2>Room<td colspan=2>Summer<tr><td>Week<td>Night</thead><tr><td>A<td>90<td>20</table>",
        "Room: A; Summer Week: 90; Summer Night: 20",
    );
    check(
        "<table><tr><th>Mon<td>9-18<tr><th>Tue<td>9-17</table>",
        "Mon: 9-18\n\nTue: 9-17",
    );
    check(
        "<table><tr><td><b>Cut</b><td><b>Price</b><tr><td>Men<td>20</table>",
        "Cut: Men; Price: 20",
    );
    check(
        "<table><caption>Fees</caption><tr><th>Cut<th>Price<tr><th colspan=2>Children<tr><td>Boys<td>9</table>",
        "**Fees**\n\n**Children**\n\nCut: Boys; Price: 9",
    );
    check("<table><tr><td>Mon<td>9-18</table>", "Mon | 9-18");
    check(
        "<table><tr><td><h2>Left</h2>a<td><ul><li>b</ul></table>",
        "## Left\n\na\n\n- b",
    );
    check("<table><tr><td>One<tr><td>column</table>", "One\n\ncolumn");
    check(
        "<table><tr><th>Day<th>Menu<tr><td>Mon<td><table><tr><td>Soup<td>4<tr><td>Fish<td>9</table></table>",
        "Day: Mon; Menu: Soup | 4, Fish | 9",
    );
    check(
        "<table><tr><td rowspan=0>a<td colspan=99999999>b</table>",
        "a | b",
    );
}

#[test]
fn a_list_keeps_its_numbers() {
    check("<ol><li>Hold.<li>Press.</ol>", "1. Hold.\n2. Press.");
    check(
        "<ol start=4><li>a<li value=9>b<li>c</ol>",
        "4. a\n9. b\n10. c",
    );
    check("<ol reversed><li>a<li>b</ol>", "2. a\n1. b");
    check(
        "<ol type=a><li>x<li>y</ol><ol type=I start=4><li>z</ol>",
        "a. x\nb. y\nIV. z",
    );
    check(
        "Bring:<ul><li>a<ol><li>b<li>c</ol><li><p>d</p><p>e</p></ul>",
        "Bring:\n- a\n  1. b\n  2. c\n- d\n\n  e",
    );
    check(
        "<ul><li><h3>Tube</h3><p>9 EUR<li><h3>Tyre</h3><p>29 EUR</ul>",
        "### Tube\n\n9 EUR\n\n### Tyre\n\n29 EUR",
    );
}

#[test]
fn marks_that_change_the_meaning_are_kept() {
    check("<p>Now <del>12</del> <ins>9</ins> EUR", "Now ~~12~~ 9 EUR");
    check(
        "<p><s> 12 EUR </s>9 EUR<p><span style='text-decoration: line-through'>5</span>",
        "~~12 EUR~~ 9 EUR\n\n~~5~~",
    );
    check("<del><p>a<p>b</del>", "~~a~~\n\n~~b~~");
    check(
        "<p>9<sup>99</sup> € for 12 m<sup>2</sup>",
        "9.99 € for 12 m²",
    );
    check("<p>9<span class=price-cents>50</span> €", "9.50 €");
    check(
        "<p>Free<sup><a href='#n'>1</a></sup> on the 1<sup>st</sup>",
        "Free¹ on the 1st",
    );
}

#[test]
fn questions_for_search_engines_are_read_once() {
    let data = r#"<script type="application/ld+json">{"@graph": [{"@type": "FAQPage", "mainEntity": [
        {"@type": "Question", "name": "Pets?", "acceptedAnswer": {"@type": "Answer", "text": "<p>On a <b>lead</b>.</p>"}},
        {"@type": "Question", "name": "Cash?", "acceptedAnswer": {"text": "Yes."}}]}]}</script>"#;
    check(
        &format!("{data}<h1>FAQ</h1><h2>Cash?</h2>Yes."),
        "# FAQ\n\n## Cash?\n\nYes.\n\n**Pets?**\n\nOn a lead.",
    );
}

#[test]
fn depth_and_size_cost_nothing() {
    let deep = "<div>".repeat(50_000) + "in" + &"</nav></table></li>".repeat(2_000);
    assert_eq!(markdown(&deep), "in\n");
    let open = "<table><tr><td>".repeat(20_000) + "x";
    assert_eq!(markdown(&open), "x\n");
    assert!(
        markdown(&"<a href=https://a.example>x".repeat(20_000)).contains("[x](https://a.example)")
    );
    assert_eq!(
        markdown(&"<".repeat(20_000))
            .trim_end()
            .replace('\\', "")
            .len(),
        20_000
    );
    for page in [
        "<p><b id=1>x".repeat(4_000),
        "<ul><li>x".repeat(4_000),
        "<dl><dt>x".repeat(4_000),
        "<td rowspan=0 colspan=1000>x<tr>".repeat(4_000),
        "<button aria-controls=a id=a>x".repeat(4_000),
        "<aside><footer>x".repeat(4_000),
        "<h1><img alt=x>".repeat(4_000),
        "9<sup>9</sup>".repeat(4_000),
        "<s>x</s>".repeat(4_000),
        "&amp;".repeat(4_000),
    ] {
        markdown(&page);
        assert!(markdown(&page).contains(['x', '9', '&']), "{}", &page[..12]);
    }
}
