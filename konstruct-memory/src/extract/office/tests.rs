use std::io::{Cursor, Write as _};

use konstruct_core::DocumentFormat;
use proptest::prelude::*;
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::{chunks, extract};

/// Builds an archive.
fn archive(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in parts {
        // The type of an OpenDocument is stored as it is.
        let method = match *name {
            "mimetype" => zip::CompressionMethod::Stored,
            _ => zip::CompressionMethod::Deflated,
        };
        let options = SimpleFileOptions::default().compression_method(method);
        archive.start_file(*name, options).unwrap();
        archive.write_all(content.as_bytes()).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

const WORD: &str = "xmlns:w=\"http://schemas.openxmlformats.org/wordprocessingml/2006/main\"";

fn docx_with(body: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let document = format!("<w:document {WORD}><w:body>{body}<w:sectPr/></w:body></w:document>");
    let mut parts = vec![("word/document.xml", document.as_str())];
    parts.extend(more);
    archive(&parts)
}

fn docx(body: &str) -> Vec<u8> {
    docx_with(body, &[])
}

fn xlsx(sheets: &[(&str, &str, &str)], styles: &str, strings: &[&str]) -> Vec<u8> {
    let mut book = "<workbook xmlns:r=\"r\"><sheets>".to_owned();
    let mut relations = "<Relationships>".to_owned();
    let mut parts = Vec::new();
    for (number, (name, attributes, sheet)) in (1..).zip(sheets) {
        book += &format!(
            "<sheet name=\"{name}\" sheetId=\"{number}\" r:id=\"r{number}\" {attributes}/>"
        );
        relations +=
            &format!("<Relationship Id=\"r{number}\" Target=\"worksheets/sheet{number}.xml\"/>");
        parts.push((
            format!("xl/worksheets/sheet{number}.xml"),
            format!("<worksheet>{sheet}</worksheet>"),
        ));
    }
    let strings: String = strings
        .iter()
        .map(|text| format!("<si>{text}</si>"))
        .collect();
    parts.push(("xl/workbook.xml".to_owned(), book + "</sheets></workbook>"));
    parts.push((
        "xl/_rels/workbook.xml.rels".to_owned(),
        relations + "</Relationships>",
    ));
    parts.push((
        "xl/sharedStrings.xml".to_owned(),
        format!("<sst>{strings}</sst>"),
    ));
    parts.push((
        "xl/styles.xml".to_owned(),
        format!("<styleSheet>{styles}</styleSheet>"),
    ));
    let parts: Vec<(&str, &str)> = parts
        .iter()
        .map(|(name, content)| (name.as_str(), content.as_str()))
        .collect();
    archive(&parts)
}

fn ods(tables: &str) -> Vec<u8> {
    let content = format!(
        "<office:document-content xmlns:office=\"o\" xmlns:table=\"t\" xmlns:text=\"x\" xmlns:style=\"s\"><office:automatic-styles>\
         <style:style style:name=\"gone\"><style:table-properties table:display=\"false\"/></style:style></office:automatic-styles>\
         <office:body><office:spreadsheet>{tables}</office:spreadsheet></office:body></office:document-content>"
    );
    let kind = "application/vnd.oasis.opendocument.spreadsheet";
    archive(&[("mimetype", kind), ("content.xml", &content)])
}

fn text(format: DocumentFormat, content: &[u8]) -> String {
    extract(format, content).unwrap().text
}

#[test]
fn paragraphs_of_word_are_read_as_they_are_shown() {
    let check = |body: &str, expected: &str| {
        assert_eq!(
            text(DocumentFormat::Docx, &docx(body)).trim(),
            expected,
            "{body}"
        );
    };
    let p = |inside: &str| format!("<w:p>{inside}</w:p>");
    let r = |text: &str| format!("<w:r><w:t>{text}</w:t></w:r>");
    check(
        &(p(&r("One")) + &p("") + &p(&r("Two &amp; &#8364;&unknown;"))),
        "One\n\nTwo & €",
    );
    check(
        &p("<w:r><w:t>A</w:t><w:tab/><w:t>B</w:t><w:br/><w:t>C</w:t></w:r>"),
        "A B\nC",
    );
    check(
        &p(&format!(
            "{}<w:ins>{}</w:ins><w:del><w:r><w:delText>40</w:delText></w:r></w:del>",
            r("Costs "),
            r("50")
        )),
        "Costs 50",
    );
    check(
        &p(&format!(
            "{}<w:r><w:rPr><w:vanish/></w:rPr><w:t> secret</w:t></w:r>",
            r("Shown")
        )),
        "Shown",
    );
    check(
        &p("<w:r><w:rPr><w:vanish w:val=\"0\"/></w:rPr><w:t>Shown</w:t></w:r>"),
        "Shown",
    );
    check(
        &p(&format!(
            "<w:r><w:rPr><w:strike/></w:rPr><w:t>20</w:t></w:r>{}",
            r(" 15 euros")
        )),
        "~~20~~ 15 euros",
    );
    check(
        &p(&format!("<w:hyperlink>{}</w:hyperlink>", r("our shop"))),
        "our shop",
    );
    check(&p(&r("# 1 in town")), "\u{200b}# 1 in town");
    let boxed = |name: &str| {
        format!(
            "<mc:{name}><w:txbxContent>{}</w:txbxContent></mc:{name}>",
            p(&r("In a box"))
        )
    };
    check(
        &p(&format!(
            "{}<w:r><mc:AlternateContent>{}{}</mc:AlternateContent></w:r>",
            r("Beside"),
            boxed("Choice"),
            boxed("Fallback")
        )),
        "Beside\n\nIn a box",
    );
}

#[test]
fn headings_lists_and_notes_come_from_the_other_parts() {
    let style = |id: &str, name: &str, more: &str| {
        format!("<w:style w:styleId=\"{id}\"><w:name w:val=\"{name}\"/>{more}</w:style>")
    };
    let styles = format!(
        "<w:styles {WORD}>{}{}{}{}</w:styles>",
        style("berschrift1", "heading 1", ""),
        style("U2", "Überschrift 2", ""),
        style("Own", "Shop title", "<w:basedOn w:val=\"U2\"/>"),
        style(
            "Deep",
            "Clause",
            "<w:pPr><w:outlineLvl w:val=\"2\"/></w:pPr>"
        ),
    );
    let level = |at: usize, format: &str, text: &str| {
        format!(
            "<w:lvl w:ilvl=\"{at}\"><w:start w:val=\"1\"/><w:numFmt w:val=\"{format}\"/><w:lvlText w:val=\"{text}\"/></w:lvl>"
        )
    };
    let lists = format!(
        "<w:numbering {WORD}><w:abstractNum w:abstractNumId=\"0\">{}{}</w:abstractNum><w:abstractNum w:abstractNumId=\"1\">{}</w:abstractNum>\
         <w:num w:numId=\"1\"><w:abstractNumId w:val=\"0\"/></w:num><w:num w:numId=\"2\"><w:abstractNumId w:val=\"1\"/></w:num></w:numbering>",
        level(0, "decimal", "%1."),
        level(1, "lowerLetter", "%1.%2)"),
        level(0, "bullet", "•"),
    );
    let notes = format!(
        "<w:footnotes {WORD}><w:footnote w:id=\"0\" w:type=\"separator\"><w:p/></w:footnote>\
         <w:footnote w:id=\"2\"><w:p><w:r><w:t>incl. VAT</w:t></w:r></w:p></w:footnote></w:footnotes>"
    );
    let styled = |style: &str, text: &str| {
        format!(
            "<w:p><w:pPr><w:pStyle w:val=\"{style}\"/></w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"
        )
    };
    let item = |list: usize, level: usize, text: &str| {
        format!(
            "<w:p><w:pPr><w:numPr><w:ilvl w:val=\"{level}\"/><w:numId w:val=\"{list}\"/></w:numPr></w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"
        )
    };
    let body = [
        styled("berschrift1", "Rental"),
        styled("U2", "Prices"),
        styled("Own", "Bikes"),
        styled("Deep", "Fine print"),
        item(1, 0, "First"),
        item(1, 0, "Second"),
        item(1, 1, "Part"),
        item(1, 0, "Third"),
        item(2, 0, "Point"),
        "<w:p><w:r><w:t>9.99</w:t><w:footnoteReference w:id=\"2\"/></w:r></w:p>".to_owned(),
    ]
    .concat();
    let file = docx_with(
        &body,
        &[
            ("word/styles.xml", &styles),
            ("word/numbering.xml", &lists),
            ("word/footnotes.xml", &notes),
        ],
    );
    let expected = "# Rental\n\n## Prices\n\n## Bikes\n\n### Fine print\n\n1. First\n2. Second\n2.a) Part\n3. Third\n- Point\n\n9.99 [incl. VAT]";
    assert_eq!(text(DocumentFormat::Docx, &file).trim(), expected);
}

#[test]
fn merged_cells_of_word_are_repeated() {
    let cell = |properties: &str, text: &str| {
        format!("<w:tc><w:tcPr>{properties}</w:tcPr><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:tc>")
    };
    let rows = [
        cell("<w:gridSpan w:val=\"3\"/>", "Opening hours"),
        cell("<w:vMerge w:val=\"restart\"/>", "Shop") + &cell("", "Monday") + &cell("", "9 to 18"),
        cell("<w:vMerge/>", "") + &cell("<w:gridSpan w:val=\"2\"/>", "closed"),
    ];
    let rows: String = rows
        .iter()
        .map(|cells| format!("<w:tr>{cells}</w:tr>"))
        .collect();
    let gone =
        "<w:tr><w:trPr><w:del/></w:trPr><w:tc><w:p><w:r><w:t>gone</w:t></w:r></w:p></w:tc></w:tr>";
    let found = text(
        DocumentFormat::Docx,
        &docx(&format!("<w:tbl>{rows}{gone}</w:tbl>")),
    );
    assert_eq!(
        found.trim(),
        "Opening hours\nShop | Monday | 9 to 18\nShop | closed | closed"
    );
}

#[test]
fn sheets_of_excel_are_read_as_they_are_shown() {
    let styles = "<numFmts><numFmt numFmtId=\"164\" formatCode=\"#,##0.00\\ [$€-407]\"/></numFmts>\
        <cellXfs><xf numFmtId=\"0\"/><xf numFmtId=\"20\"/><xf numFmtId=\"9\"/><xf numFmtId=\"164\"/><xf numFmtId=\"14\"/></cellXfs>";
    let strings = [
        "<t>Bike rental 2026</t>",
        "<r><t>Pro</t></r><r><t>duct</t></r><rPh><t>x</t></rPh>",
        "<t>Price</t>",
        "<t>From</t>",
    ];
    let row = |cells: &str| format!("<row>{cells}</row>");
    let prices = format!(
        "<cols><col min=\"5\" max=\"5\" hidden=\"1\"/></cols><sheetData>{}{}{}{}{}</sheetData><mergeCells><mergeCell ref=\"A1:D1\"/><mergeCell ref=\"A3:A5\"/></mergeCells>",
        row("<c r=\"A1\" t=\"s\"><v>0</v></c>"),
        row(
            "<c r=\"A2\" t=\"s\"><v>1</v></c><c r=\"B2\" t=\"s\"><v>2</v></c><c r=\"C2\" t=\"s\"><v>3</v></c><c r=\"D2\" t=\"inlineStr\"><is><t>Off</t></is></c><c r=\"E2\" t=\"str\"><v>Cost</v></c>"
        ),
        row(
            "<c r=\"A3\" t=\"str\"><v>City bike</v></c><c r=\"B3\" s=\"3\"><v>1234.5</v></c><c r=\"C3\" s=\"1\"><v>0.4791666667</v></c><c r=\"D3\" s=\"2\"><v>0.5</v></c><c r=\"E3\"><v>1</v></c>"
        ),
        "<row r=\"4\" hidden=\"1\"><c r=\"B4\"><v>7</v></c></row>",
        row("<c r=\"B5\"><v>0.30000000000000004</v></c><c r=\"C5\" s=\"4\"><v>46356</v></c>"),
    );
    let secret = "<sheetData><row><c t=\"str\"><v>secret</v></c></row></sheetData>";
    let file = xlsx(
        &[
            ("Prices &amp; more", "", &prices),
            ("Internal", "state=\"hidden\"", secret),
        ],
        styles,
        &strings,
    );
    let found = text(DocumentFormat::Xlsx, &file);
    let expected = "## Prices & more\n\nBike rental 2026\n\nProduct: City bike; Price: 1,234.50 €; From: 11:30; Off: 50%\n\nProduct: City bike; Price: 0.3; From: 2026-11-30\n\n";
    assert_eq!(found, expected);
    assert_eq!(
        chunks(DocumentFormat::Xlsx, &found)[0].title(),
        "Prices & more"
    );
}

#[test]
fn a_cell_far_away_costs_nothing() {
    let sheet = "<sheetData><row r=\"1\"><c r=\"A1\"><v>1</v></c></row><row r=\"1048576\"><c r=\"XFD1048576\"><v>2</v></c><c r=\"B1048576\"><v>3</v></c></row>\
        </sheetData><mergeCells><mergeCell ref=\"A1:XFD1048576\"/></mergeCells>";
    let found = text(DocumentFormat::Xlsx, &xlsx(&[("S", "", sheet)], "", &[]));
    assert!(found.len() < 20_000, "{}", found.len());
}

#[test]
fn sheets_of_opendocument_are_read_as_they_are_shown() {
    let cell = |attributes: &str, text: &str| {
        format!("<table:table-cell {attributes}><text:p>{text}</text:p></table:table-cell>")
    };
    let covered = "<table:covered-table-cell/>";
    let rows = [
        cell("table:number-columns-spanned=\"3\"", "Price list") + covered + covered,
        cell("", "Product") + &cell("", "Price") + &cell("", "From"),
        cell("table:number-rows-spanned=\"2\"", "City<text:s/>bike")
            + &cell("office:value=\"12.5\"", "12,50 €")
            + &cell("", "10:30"),
        covered.to_owned()
            + &cell("table:number-columns-repeated=\"2\"", "free")
            + "<table:table-cell table:number-columns-repeated=\"16000\"/>",
    ];
    let rows: String = rows
        .iter()
        .map(|cells| format!("<table:table-row>{cells}</table:table-row>"))
        .collect();
    let hidden = format!(
        "<table:table-row table:visibility=\"collapse\">{}</table:table-row>",
        cell("", "hidden")
    );
    let end = "<table:table-row table:number-rows-repeated=\"1048000\"><table:table-cell/></table:table-row>";
    let file = ods(&format!(
        "<table:table table:name=\"Prices\">{rows}{hidden}{end}</table:table><table:table table:name=\"X\" table:style-name=\"gone\">{rows}</table:table>"
    ));
    let expected = "## Prices\n\nPrice list\n\nProduct: City bike; Price: 12,50 €; From: 10:30\n\nProduct: City bike; Price: free; From: free\n\n";
    assert_eq!(text(DocumentFormat::Ods, &file), expected);
}

#[test]
fn numbers_are_shown_by_their_format() {
    let check = |value: f64, code: &str, expected: &str| {
        assert_eq!(
            super::number::shown(value, code, false),
            expected,
            "{value} {code}"
        );
    };
    check(5.0, "General", "5");
    check(1234567.891, "General", "1234567.891");
    check(0.0123, "0.00%", "1.23%");
    check(0.5, "0%", "50%");
    check(1234.5, "#,##0.00 \"EUR\"", "1,234.50 EUR");
    check(-3.0, "$#,##0;[Red]($#,##0)", "($3)");
    check(7.0, "000", "007");
    check(2.5, "0.##", "2.5");
    check(0.75, "h:mm AM/PM", "6:00 PM");
    check(1.5, "[h]:mm", "36:00");
    check(46356.25, "dd.mm.yyyy hh:mm", "30.11.2026 06:00");
    check(46356.0, "dddd, d mmmm yy", "Monday, 30 November 26");
    check(46356.0, "[$-407]d. mmm", "30. Nov");
}

#[test]
fn bombs_and_damage_are_refused() {
    let refused = |content: &[u8], expected: &str| {
        let error = extract(DocumentFormat::Docx, content)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("content") && error.contains(expected),
            "{error}"
        );
    };
    refused(&docx(&" ".repeat(33 << 20)), "too much data");
    refused(&docx(&"<w:p>".repeat(1000)), "too large");
    refused(&docx("<w:p>"), "cannot be read");
    let entities = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]><w:document><w:body><w:p><w:r><w:t>x&b;</w:t></w:r></w:p></w:body></w:document>";
    assert_eq!(
        text(
            DocumentFormat::Docx,
            &archive(&[("word/document.xml", entities)])
        )
        .trim(),
        "x"
    );
}

#[test]
fn files_of_another_kind_are_recognised() {
    let check = |declared: DocumentFormat, content: &[u8], expected: &str| {
        let error = extract(declared, content).unwrap_err().to_string();
        assert!(
            error.contains("content") && error.contains(expected),
            "{error}"
        );
    };
    let old = |name: &str| {
        let wide = name.bytes().flat_map(|byte| [byte, 0]);
        b"\xd0\xcf\x11\xe0\xa1\xb1"
            .iter()
            .copied()
            .chain(wide)
            .collect::<Vec<u8>>()
    };
    check(
        DocumentFormat::Text,
        b"{\\rtf1 Hours}",
        "RTF: save it as DOCX",
    );
    check(
        DocumentFormat::Docx,
        &old("WordDocument"),
        "DOC: save it as DOCX",
    );
    check(
        DocumentFormat::Csv,
        &old("Workbook"),
        "XLS: save it as XLSX",
    );
    check(DocumentFormat::Xlsx, &old("EncryptedPackage"), "password");
    check(
        DocumentFormat::Pdf,
        &archive(&[("ppt/presentation.xml", "")]),
        "PPTX: save it as PDF",
    );
    check(
        DocumentFormat::Docx,
        &archive(&[("Index/Document.iwa", "")]),
        "Pages",
    );
    check(DocumentFormat::Docx, &archive(&[("a.txt", "a")]), "archive");
    check(DocumentFormat::Pdf, b"\x89PNG\r\n\x1a\n", "image");
    check(DocumentFormat::Docx, b"Hours", "not a DOCX");
    let word = docx("<w:p><w:r><w:t>Hours</w:t></w:r></w:p>");
    check(DocumentFormat::Text, &word, "is a DOCX");
    // Both become Markdown.
    assert_eq!(text(DocumentFormat::Xlsx, &word).trim(), "Hours");
    assert_eq!(
        text(DocumentFormat::Text, b"PK is no archive"),
        "PK is no archive"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn damage_neither_panics_nor_hangs(at in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 1..20)) {
        let word = docx("<w:tbl><w:tr><w:tc><w:p><w:r><w:t>Hours</w:t></w:r></w:p></w:tc></w:tr></w:tbl>");
        let excel = xlsx(&[("S", "", "<sheetData><row><c s=\"1\"><v>1.5</v></c></row></sheetData>")], "", &[]);
        let open = ods("<table:table><table:table-row><table:table-cell><text:p>a</text:p></table:table-cell></table:table-row></table:table>");
        for (format, mut file) in [(DocumentFormat::Docx, word), (DocumentFormat::Xlsx, excel), (DocumentFormat::Ods, open)] {
            let at = at.index(file.len());
            let end = (at + bytes.len()).min(file.len());
            file[at..end].copy_from_slice(&bytes[..end - at]);
            let _ = extract(format, &file);
        }
    }

    #[test]
    fn no_sheet_or_format_panics(sheet in "[<>/a-z0-9 =\"&;:$A-D]{0,200}", code in "[0#?.,%;ymdhsAMP/\\[\\]$\"_*\\\\ E-]{0,20}", value in any::<f64>()) {
        let _ = extract(DocumentFormat::Xlsx, &xlsx(&[("S", "", &sheet)], "", &[]));
        super::number::shown(value, &code, true);
    }
}
