use std::{fmt::Write as _, io::Write as _, time::Duration};

use flate2::{Compression, write::ZlibEncoder};
use konstruct_core::{ExtractWarning, Result};
use proptest::prelude::*;

use super::*;

/// Objects of a PDF, numbered from 1. The first is the catalog and the second the tree of pages.
#[derive(Default)]
struct File {
    objects: Vec<Vec<u8>>,
    pages: Vec<usize>,
    catalog: String,
}

impl File {
    fn new() -> Self {
        let mut file = Self {
            objects: vec![Vec::new(); 2],
            ..Self::default()
        };
        file.add(
            "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        );
        file
    }

    fn add(&mut self, object: &str) -> usize {
        self.objects.push(object.as_bytes().to_vec());
        self.objects.len()
    }

    fn stream(&mut self, entries: &str, data: &[u8]) -> usize {
        let head = format!("<< {entries} /Length {} >>\nstream\n", data.len());
        let object = [head.as_bytes(), data, b"\nendstream"].concat();
        self.objects.push(object);
        self.objects.len()
    }

    /// Adds a page of A4 with the font `/F1`.
    fn page(&mut self, content: &str, entries: &str, resources: &str, fonts: &str) -> usize {
        let content = self.stream("", content.as_bytes());
        self.pages.push(self.objects.len() + 1);
        self.add(&format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {content} 0 R {entries} /Resources << /Font << /F1 3 0 R {fonts} >> {resources} >> >>"
        ))
    }

    fn bytes(mut self) -> Vec<u8> {
        let kids: String = self
            .pages
            .iter()
            .map(|page| format!("{page} 0 R "))
            .collect();
        let catalog = format!("<< /Type /Catalog /Pages 2 0 R {} >>", self.catalog);
        self.objects[0] = catalog.into_bytes();
        let tree = format!(
            "<< /Type /Pages /Kids [{kids}] /Count {} >>",
            self.pages.len()
        );
        self.objects[1] = tree.into_bytes();
        let mut bytes = b"%PDF-1.7\n".to_vec();
        let mut table = String::new();
        for (number, object) in (1..).zip(&self.objects) {
            writeln!(table, "{:010} 00000 n ", bytes.len()).unwrap();
            bytes.extend(format!("{number} 0 obj\n").bytes());
            bytes.extend(object);
            bytes.extend(b"\nendobj\n");
        }
        let (start, size) = (bytes.len(), self.objects.len() + 1);
        bytes.extend(format!("xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n").bytes());
        bytes
    }
}

fn pdf(pages: &[&str]) -> Vec<u8> {
    let mut file = File::new();
    for page in pages {
        file.page(page, "", "", "");
    }
    file.bytes()
}

fn deflated(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// Adds a font of CIDs with widths of `/W` only, whose codes 1, 2, .. mean the given texts.
fn cid_font(file: &mut File, texts: &[&str], widths: &str) -> String {
    let mut map = String::from(
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap 1 begincodespacerange <0000> <FFFF> endcodespacerange\n",
    );
    for (code, text) in (1..).zip(texts) {
        let units: String = text
            .encode_utf16()
            .map(|unit| format!("{unit:04X}"))
            .collect();
        writeln!(map, "1 beginbfchar <{code:04X}> <{units}> endbfchar").unwrap();
    }
    map.push_str("endcmap end end");
    let map = file.stream("", map.as_bytes());
    let descriptor = file.add("<< /Type /FontDescriptor /FontName /X /Flags 4 /FontBBox [0 0 1000 1000] /ItalicAngle 0 /Ascent 800 /Descent -200 /CapHeight 700 /StemV 80 >>");
    let font = file.add(&format!(
        "<< /Type /Font /Subtype /CIDFontType2 /BaseFont /X /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> /FontDescriptor {descriptor} 0 R /W [{widths}] /DW 1000 >>"
    ));
    let font = file.add(&format!(
        "<< /Type /Font /Subtype /Type0 /BaseFont /X /Encoding /Identity-H /DescendantFonts [{font} 0 R] /ToUnicode {map} 0 R >>"
    ));
    format!("/F2 {font} 0 R")
}

fn text(bytes: &[u8]) -> String {
    markdown(bytes).unwrap().text
}

fn at(x: f64, y: f64, size: f64, words: &str) -> String {
    format!("BT /F1 {size} Tf 1 0 0 1 {x} {y} Tm ({words}) Tj ET\n")
}

#[test]
fn lines_are_read_wherever_they_are_placed() {
    let check = |content: &str, expected: &str| {
        let found = text(&pdf(&[content]));
        assert_eq!(
            found.trim_start_matches("## Page 1\n\n").trim_end(),
            expected,
            "{content}"
        );
    };
    check(
        "BT /F1 12 Tf 14 TL 50 700 Td (Opening hours) Tj 0 -40 Td (Monday to Fri-) Tj T* (day, 9 to) Tj 0 -14 Td [(18)-400(o)10('clock)] TJ ET",
        "Opening hours\n\nMonday to Friday, 9 to\n18 o'clock",
    );
    check("BT /F1 9 Tf 50 700 Td (M\\374ller) Tj ET", "Müller");
    check(
        &at(50.0, 600.0, 12.0, "# no heading"),
        "\u{200b}# no heading",
    );
    // Placed by matrices, in any order.
    check(
        "q 1 0 0 1 0 -14 cm q 1 0 0 1 50 700 cm BT 12 0 0 12 0 0 Tm /F1 1 Tf (costs 20 euros.) Tj ET Q Q \
         q 1 0 0 1 50 700 cm BT /F1 1 Tf 12 0 0 12 0 0 Tm (A city bike) Tj ET Q",
        "A city bike\ncosts 20 euros.",
    );
    // Letter by letter, and with kerning.
    check(
        "BT /F1 10 Tf 50 700 Td (i) Tj 2.22 0 Td (l) Tj 2.22 0 Td (l) Tj 5 0 Td (W) Tj 9.44 0 Td (e) Tj ET",
        "ill We",
    );
    check(
        "BT /F1 10 Tf 50 700 Td [(W)80(A)70(V)60(E)-278(t)-20(w)-30(o)] TJ ET",
        "WAVE two",
    );
    // Painted twice for a bold look, and filled and stroked.
    check(
        &(at(50.0, 700.0, 12.0, "Bold ll") + &at(50.3, 700.0, 12.0, "Bold ll")),
        "Bold ll",
    );
    check("BT /F1 12 Tf 2 Tr 50 700 Td (Stroked) Tj ET", "Stroked");
    // The text behind a scan.
    check(
        "BT /F1 12 Tf 3 Tr 50 700 Td (Recognised) Tj ET",
        "Recognised",
    );
    check(
        "BT /F1 12 Tf 50 700 Td (CO) Tj /F1 8 Tf -3 Ts (2) Tj 0 Ts /F1 12 Tf ( and 9) Tj /F1 8 Tf 5 Ts (99) Tj ET",
        "CO2 and 9 99",
    );
    check(
        "/Span << /ActualText (shop) >> BDC BT /F1 12 Tf 50 700 Td (sh0p) Tj ET EMC",
        "shop",
    );
    // Outside the page.
    check(
        &(at(50.0, 700.0, 12.0, "inside") + &at(700.0, 700.0, 12.0, "outside")),
        "inside",
    );
    // Across the margin.
    check(
        &(at(50.0, 700.0, 12.0, "Main text of the page")
            + "BT /F1 12 Tf 0 1 -1 0 30 300 Tm (Draft) Tj ET"),
        "Main text of the page\n\nDraft",
    );
}

#[test]
fn columns_of_prose_are_parted_and_tables_are_not() {
    let left = [
        "The deposit for a city bike",
        "is 50 euros and is paid",
        "back in cash when the",
        "bike is returned.",
    ];
    let right = [
        "Children under twelve ride",
        "free of charge, always with",
        "an adult who has booked",
        "a bike of their own.",
    ];
    let mut content = at(
        50.0,
        800.0,
        11.0,
        "These terms apply to every bike that is rented in our shop, on every day of the whole year.",
    );
    for (row, (left, right)) in left.iter().zip(right).enumerate() {
        let y = 780.0 - 14.0 * row as f64;
        content += &at(320.0, y, 11.0, right);
        content += &at(50.0, y, 11.0, left);
    }
    for (row, cells) in [
        ["Bike", "Day", "Week"],
        ["City bike", "20", "90"],
        ["Mountain bike", "35", "150"],
        ["Cargo bike", "40", "180"],
    ]
    .iter()
    .enumerate()
    {
        for (column, cell) in cells.iter().enumerate() {
            content += &at(
                50.0 + 150.0 * column as f64,
                680.0 - 14.0 * row as f64,
                11.0,
                cell,
            );
        }
    }
    let found = text(&pdf(&[&content]));
    let (one, two) = (left.join("\n"), right.join("\n"));
    for expected in [
        &*one,
        &*two,
        "City bike 20 90\nMountain bike 35 150\nCargo bike 40 180",
    ] {
        assert!(found.contains(expected), "{found}");
    }
    let place = |part: &str| found.find(part);
    assert!(
        place("These terms") < place(&one)
            && place(&one) < place(&two)
            && place(&two) < place("City bike 20"),
        "{found}"
    );
}

#[test]
fn letters_come_from_the_map_of_a_font() {
    let check = |texts: &[&str], widths: &str, content: &str, expected: &str| {
        let mut file = File::new();
        let font = cid_font(&mut file, texts, widths);
        file.page(content, "", "", &font);
        assert_eq!(
            text(&file.bytes()).trim(),
            format!("## Page 1\n\n{expected}")
        );
    };
    let show = |codes: &str| format!("BT /F2 10 Tf 50 700 Td <{codes}> Tj ET");
    // Ligatures, as one character or as several.
    check(
        &["ﬁ", "ffi", "t", "o", "ce"],
        "",
        &show("00010003000400020005"),
        "fitoffice",
    );
    // The widths of /W: a blank of 5 points after a narrow letter, none after a wide one.
    check(
        &["i", "W"],
        "1 [200 900]",
        "BT /F2 10 Tf 50 700 Td <0001> Tj 7 0 Td <0002> Tj 9 0 Td <0001> Tj ET",
        "i Wi",
    );
    // Hebrew with a number, a time and Latin words: painted from left to right.
    let hebrew = ["א", "ב", "ג", " ", "1", "2", ":", "A", "b", "("];
    check(
        &hebrew,
        "",
        &show("0005 0006 0007 0006 0005 0004 0003 0002 0001"),
        "אבג 12:21",
    );
    check(
        &hebrew,
        "",
        &show("0008 0009 0004 0005 0006 0004 0002 0001"),
        "אב Ab 12",
    );
    check(
        &hebrew,
        "",
        &show("0008 0009 0004 0002 0001 0004 0008 0009 0008 0009"),
        "Ab אב AbAb",
    );
    // Painted from right to left, with the shapes of Arabic letters.
    check(
        &["ﻻ", "ﺑ", "ﺎ"],
        "",
        "BT /F2 10 Tf 100 700 Td <0002> Tj -10 0 Td <0003> Tj -10 0 Td <0001> Tj ET",
        "بالا",
    );
    // A mark of Thai, which is set above its base.
    check(
        &["ก", "\u{e31}", "น"],
        "1 [600 0 600]",
        "BT /F2 10 Tf 50 700 Td <0001> Tj 6 3 Td <0002> Tj 0 -3 Td <0003> Tj ET",
        "กั\u{e19}",
    );
}

#[test]
fn forms_and_fields_are_read() {
    let mut file = File::new();
    let inner = file.stream(
        "/Type /XObject /Subtype /Form /BBox [0 0 500 100] /Resources << /Font << /F1 3 0 R >> >>",
        b"BT /F1 12 Tf 0 0 Td (Late return: 15 euros) Tj ET",
    );
    let appearance = file.stream(
        "/Type /XObject /Subtype /Form /BBox [0 0 150 20] /Resources << /Font << /F1 3 0 R >> >>",
        b"BT /F1 12 Tf 2 6 Td (9 to 14) Tj ET",
    );
    let drawn = file.add(&format!(
        "<< /Type /Annot /Subtype /Widget /FT /Tx /V (9 to 14) /Rect [200 594 350 614] /AP << /N {appearance} 0 R >> >>"
    ));
    let parent = file.add("<< /FT /Tx /T (sun) /V (closed) >>");
    let undrawn = file.add(&format!(
        "<< /Type /Annot /Subtype /Widget /Parent {parent} 0 R /Rect [200 564 350 584] >>"
    ));
    let hidden = file.add(
        "<< /Type /Annot /Subtype /Widget /FT /Tx /F 2 /V (hidden) /Rect [200 500 350 520] >>",
    );
    file.catalog = format!(
        "/AcroForm << /Fields [{drawn} 0 R {parent} 0 R {hidden} 0 R] /NeedAppearances true >>"
    );
    let content = "q 1 0 0 1 50 700 cm /X1 Do Q ".to_owned()
        + &at(50.0, 600.0, 12.0, "Saturday:")
        + &at(50.0, 570.0, 12.0, "Sunday:");
    file.page(
        &content,
        &format!("/Annots [{drawn} 0 R {undrawn} 0 R {hidden} 0 R]"),
        &format!("/XObject << /X1 {inner} 0 R >>"),
        "",
    );
    let expected = "## Page 1\n\nLate return: 15 euros\n\nSaturday: 9 to 14\nSunday: closed\n\n";
    assert_eq!(text(&file.bytes()), expected);
}

#[test]
fn pages_are_turned_and_cropped() {
    let check = |entries: &str, content: &str, expected: &str| {
        let mut file = File::new();
        file.page(content, entries, "", "");
        assert_eq!(
            text(&file.bytes()).trim(),
            format!("## Page 1\n\n{expected}"),
            "{entries}"
        );
    };
    let turned = "BT /F1 12 Tf 0 1 -1 0 100 100 Tm (First line) Tj ET BT /F1 12 Tf 0 1 -1 0 114 100 Tm (second line) Tj ET";
    check("/Rotate 90", turned, "First line\nsecond line");
    let content = at(50.0, 700.0, 12.0, "visible") + &at(50.0, 100.0, 12.0, "cut away");
    check("/CropBox [0 400 595 842]", &content, "visible");
}

#[test]
fn large_lines_are_headings_and_running_heads_are_dropped() {
    let page = |number: usize| {
        at(50.0, 820.0, 9.0, "Acme Bikes, rental terms")
            + &at(
                50.0,
                780.0,
                18.0,
                ["Prices", "Opening hours", "Lost keys"][number],
            )
            + &at(
                50.0,
                750.0,
                11.0,
                [
                    "A city bike costs 20 euros a day, with a helmet.",
                    "Monday to Friday from 10 to 18, in winter to 16.",
                    "A lost key costs 40 euros, which are paid in cash.",
                ][number],
            )
            + &at(50.0, 736.0, 11.0, "Ask us for anything else.")
            + &at(280.0, 20.0, 9.0, &format!("Page {} of 3", number + 1))
    };
    let pages: Vec<String> = (0..3).map(page).collect();
    let pages: Vec<&str> = pages.iter().map(String::as_str).collect();
    let expected = "## Page 1\n\nAcme Bikes, rental terms\n\n### Prices\n\nA city bike costs 20 euros a day, with a helmet.\nAsk us for anything else.\n\n\
        ## Page 2\n\n### Opening hours\n\nMonday to Friday from 10 to 18, in winter to 16.\nAsk us for anything else.\n\n\
        ## Page 3\n\n### Lost keys\n\nA lost key costs 40 euros, which are paid in cash.\nAsk us for anything else.\n\n";
    assert_eq!(text(&pdf(&pages)), expected);
}

#[test]
fn pages_without_text_are_named() {
    let words = at(50.0, 700.0, 12.0, "words");
    let read = markdown(&pdf(&[&words, "0 0 10 10 re f", &words, ""])).unwrap();
    assert_eq!(
        read.warnings,
        [ExtractWarning::PagesWithoutText(vec![2, 4])]
    );
    assert!(markdown(&pdf(&[&words])).unwrap().warnings.is_empty());
    let mut file = File::new();
    let font = cid_font(&mut file, &[], "");
    file.page(&words, "", "", "");
    file.page("BT /F2 10 Tf 50 700 Td <00010002> Tj ET", "", "", &font);
    let read = markdown(&file.bytes()).unwrap();
    assert_eq!(
        read.warnings,
        [ExtractWarning::PagesWithUnknownLetters(vec![2])]
    );
}

fn refused(read: Result<Extracted>, expected: &str) {
    let error = read.map(|read| read.text.len()).unwrap_err().to_string();
    assert!(
        error.contains("content") && error.contains(expected),
        "{error}"
    );
}

#[test]
fn unreadable_files_are_named_as_such() {
    refused(markdown(b"%PDF-1.5\n"), "cannot be read");
    refused(markdown(&pdf(&["q Q", "0 0 10 10 re f"])), "only images");
    let mut file = File::new();
    let font = cid_font(&mut file, &[&"many more words ".repeat(15)], "");
    let line = "0001".repeat(500);
    let lines = format!("0 -14 Td <{line}> Tj\n").repeat(10);
    file.page(&format!("BT /F2 1 Tf 50 700 Td {lines} ET"), "", "", &font);
    refused(markdown(&file.bytes()), "1 MiB");
    refused(markdown(&pdf(&vec![""; 2001])), "2,000 pages");
    refused(
        read_within(&pdf(&["0 0 10 10 re f"]), Duration::ZERO),
        "too long",
    );
    let mut file = File::new();
    file.page(&at(50.0, 700.0, 9.0, "secret"), "", "", "");
    let mut bytes = file.bytes();
    let end = bytes
        .windows(8)
        .rposition(|part| part == b"/Root 1 ")
        .unwrap();
    let key = format!(
        "/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <{0}> /U <{0}> >> /ID [<00> <00>] ",
        "41".repeat(32)
    );
    bytes.splice(end..end, key.bytes());
    refused(markdown(&bytes), "password");
}

#[test]
fn bombs_are_refused() {
    let blanks = vec![b' '; 65 << 20];
    let once = deflated(&blanks);
    let with = |entries: &str, data: &[u8]| {
        let mut file = File::new();
        file.stream(entries, data);
        file.page(&at(50.0, 700.0, 9.0, "words"), "", "", "");
        markdown(&file.bytes())
    };
    refused(with("/Filter /FlateDecode", &once), "too much data");
    refused(
        with("/Type /ObjStm /N 1 /First 4 /Filter /FlateDecode", &once),
        "too much data",
    );
    refused(
        with("/Filter [/Fl /F#6cateDecode]", &deflated(&once)),
        "too much data",
    );
    refused(
        with("/Filter /RunLengthDecode", &[129, b' '].repeat(1 << 20)),
        "too much data",
    );
    let hex: String = once.iter().map(|byte| format!("{byte:02x}")).collect();
    refused(
        with("/Filter [/ASCIIHexDecode /FlateDecode]", hex.as_bytes()),
        "too much data",
    );
    // Images are not read at all.
    let read = with("/Type /XObject /Subtype /Image /Filter /FlateDecode", &once).unwrap();
    assert_eq!(read.text, "## Page 1\n\nwords\n\n");
}

#[test]
fn lzw_is_followed() {
    // The example of the PDF specification, 7.4.4.2.
    let data = [0x80, 0x0b, 0x60, 0x50, 0x22, 0x0c, 0x0c, 0x85, 0x01];
    assert_eq!(
        guard::lzw(&data, 1000),
        [45, 45, 45, 45, 45, 65, 45, 45, 45, 66]
    );
    assert_eq!(guard::ascii85(b"9jqo^~>", 1000), b"Man ");
}

#[test]
fn a_page_full_of_glyphs_is_cut() {
    let content = format!(
        "BT /F1 9 Tf 50 700 Td {} ET",
        "(0123456789) Tj\n".repeat(10_500)
    );
    let mut glyphs = Glyphs::new((595.0, 842.0), Instant::now() + Duration::from_secs(100));
    let pdf = Pdf::new(pdf(&[&content])).unwrap();
    let cache = InterpreterCache::new();
    let page = &pdf.pages()[0];
    let visible = Rect::new(0.0, 0.0, 595.0, 842.0);
    let mut context = Context::new(
        Affine::IDENTITY,
        visible,
        &cache,
        pdf.xref(),
        InterpreterSettings::default(),
    );
    interpret_page(page, &mut context, &mut glyphs);
    assert!(glyphs.cut && glyphs.glyphs.len() <= 100_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn damage_neither_panics_nor_hangs(at in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 1..20)) {
        let mut file = pdf(&["q 1 0 0 1 5 5 cm BT /F1 12 Tf 50 700 Td (text) Tj [(a)-500(b)] TJ ET Q"]);
        let at = at.index(file.len());
        let end = (at + bytes.len()).min(file.len());
        file[at..end].copy_from_slice(&bytes[..end - at]);
        let _ = markdown(&file);
    }

    #[test]
    fn no_line_is_lost_in_turning(text in "[a-zא-ת0-9 :().,]{0,40}") {
        let clusters: Vec<String> = text.chars().map(String::from).collect();
        let sorted = |text: &str| {
            let mut chars: Vec<char> = text.chars().filter(|c| !"()".contains(*c)).collect();
            chars.sort_unstable();
            chars
        };
        prop_assert_eq!(sorted(&bidi::in_reading_order(&clusters)), sorted(&text));
    }
}

/// Fonts of Chinese, Japanese and Korean programs often have no map to letters, but name a character collection.
#[test]
fn a_font_of_a_known_collection_needs_no_map() {
    let check = |encoding: &str, ordering: &str, codes: &str, expected: &str| {
        let mut file = File::new();
        let descriptor = file.add("<< /Type /FontDescriptor /FontName /X /Flags 4 /FontBBox [0 0 1000 1000] /ItalicAngle 0 /Ascent 800 /Descent -200 /CapHeight 700 /StemV 80 >>");
        let font = file.add(&format!(
            "<< /Type /Font /Subtype /CIDFontType0 /BaseFont /X /CIDSystemInfo << /Registry (Adobe) /Ordering ({ordering}) /Supplement 2 >> /FontDescriptor {descriptor} 0 R /DW 1000 >>"
        ));
        let font = file.add(&format!(
            "<< /Type /Font /Subtype /Type0 /BaseFont /X /Encoding /{encoding} /DescendantFonts [{font} 0 R] >>"
        ));
        let page = format!("BT /F2 10 Tf 50 700 Td <{codes}> Tj ET");
        file.page(&page, "", "", &format!("/F2 {font} 0 R"));
        assert_eq!(
            text(&file.bytes()),
            format!("## Page 1\n\n{expected}\n\n"),
            "{encoding}"
        );
    };
    check("90ms-RKSJ-H", "Japan1", "89638BC68E9E8AD4", "営業時間");
    check("UniJIS-UTF16-H", "Japan1", "55B6696D66429593", "営業時間");
    check("Identity-H", "Japan1", "04D504D6", "嘘唄");
    check("GBK-EUC-H", "GB1", "D3AAD2B5CAB1BCE4", "营业时间");
    check("ETen-B5-H", "CNS1", "C0E7B77EAEC9B6A1", "營業時間");
    check("KSCms-UHC-H", "Korea1", "BFB5BEF7", "영업");
}

/// A page of which much is missing says so, although some of it can be read.
#[test]
fn a_page_with_some_unknown_letters_is_named() {
    let check = |unknown: usize, warned: bool| {
        let mut file = File::new();
        let font = cid_font(&mut file, &[], "");
        let codes = "0001".repeat(unknown);
        let words = at(50.0, 700.0, 12.0, "twenty letters here, you see");
        let page = format!("{words}BT /F2 10 Tf 50 600 Td <{codes}> Tj ET");
        file.page(&page, "", "", &font);
        let read = markdown(&file.bytes()).unwrap();
        let expected = [ExtractWarning::PagesWithUnknownLetters(vec![1])];
        assert_eq!(read.warnings, &expected[..usize::from(warned)], "{unknown}");
        assert_eq!(read.text, "## Page 1\n\ntwenty letters here, you see\n\n");
    };
    check(2, false);
    check(20, true);
}
