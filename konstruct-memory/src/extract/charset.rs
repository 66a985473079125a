//! Decodes text: by its byte order mark, as it declares itself, or as it looks.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{
    Encoding, ISO_2022_JP, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1250, WINDOWS_1251, WINDOWS_1252,
};
use konstruct_core::{DocumentFormat, Result};

use super::invalid;

/// Where a page may declare its encoding.
const HEAD: usize = 4096;
/// One of this many characters may be unreadable.
const UNREADABLE: usize = 500;

/// A text with so few bytes beyond ASCII, and fewer letters of ASCII, is read only if it looks the same in all of these countries.
/// For an unusual encoding, twice as many are few.
const FEW: usize = 6;
const USUAL: &[&Encoding] = &[WINDOWS_1250, WINDOWS_1251, WINDOWS_1252];
const PLACES: &[&[u8]] = &[b"jp", b"tw", b"cn", b"kr", b"ru", b"gr"];

/// The first bytes of files that are not text, and what they are.
const FILES: &[(&[u8], &str)] = &[
    (b"%PDF-", "a PDF"),
    (b"PK\x03\x04", "a ZIP, Word or Excel file"),
    (b"\xd0\xcf\x11\xe0", "an old Word or Excel file"),
    (b"{\\rtf", "an RTF file"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"RIFF", "an image, a sound or a video"),
    (b"\x1f\x8b", "a compressed file"),
    (b"7z\xbc\xaf", "a compressed file"),
    (b"Rar!", "a compressed file"),
    (b"SQLite format 3", "a database"),
    (b"\x7fELF", "a program"),
    (b"ID3", "a sound"),
    (b"OggS", "a sound"),
];

/// Returns the text of a document, with `\n` at the end of lines. `header` is the encoding that the server of a page declares.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](konstruct_core::ErrorKind::InvalidInput) if it is not text, or its encoding cannot be told.
pub(crate) fn decode(
    format: DocumentFormat,
    content: &[u8],
    header: Option<&str>,
) -> Result<String> {
    let advice = match format {
        DocumentFormat::Csv => "save it as \"CSV UTF-8\"",
        _ => "save it as UTF-8",
    };
    if let Some((_, what)) = FILES.iter().find(|(start, _)| content.starts_with(start)) {
        let what = if *what == "a ZIP, Word or Excel file" {
            zip(content)
        } else {
            what
        };
        return Err(invalid(&format!(
            "is {what}, not text: choose the format of the file, or {advice}"
        )));
    }
    let (encoding, start) = match Encoding::for_bom(content) {
        Some((encoding, length)) => (encoding, length),
        None => match encoding(format, content, header) {
            Some(encoding) => (encoding, 0),
            None => {
                return Err(invalid(&format!(
                    "is too short to tell its encoding: {advice}"
                )));
            }
        },
    };
    let (text, _) = encoding.decode_without_bom_handling(&content[start..]);
    let text = text.trim_end_matches('\u{1a}');
    let unreadable = text.chars().filter(|c| {
        *c == '\u{fffd}'
            || (c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\x0b' | '\x0c' | '\u{85}'))
    });
    let unreadable = unreadable.count();
    if unreadable > 0 && unreadable * UNREADABLE > text.chars().count() {
        return Err(invalid(&format!(
            "is not text in an encoding that can be told: {advice}"
        )));
    }
    let text = if text.contains('\r') {
        text.replace("\r\n", "\n").replace('\r', "\n")
    } else {
        text.to_owned()
    };
    Ok(text.replace(
        |c: char| matches!(c, '\0'..='\x08' | '\x0e'..='\x1f' | '\x7f'),
        "",
    ))
}

/// Returns what a ZIP holds.
fn zip(content: &[u8]) -> &'static str {
    let head = &content[..content.len().min(HEAD)];
    let has = |name: &[u8]| head.windows(name.len()).any(|part| part == name);
    if has(b"word/") {
        "a Word file (DOCX)"
    } else if has(b"xl/") {
        "an Excel file (XLSX)"
    } else if has(b"opendocument") {
        "an OpenDocument file"
    } else {
        "a ZIP, Word or Excel file"
    }
}

/// Returns the encoding of a document without a mark; `None` if it is so short that it may be in several.
fn encoding(
    format: DocumentFormat,
    content: &[u8],
    header: Option<&str>,
) -> Option<&'static Encoding> {
    let has_escape = content.windows(2).any(|pair| pair == b"\x1b$");
    if has_escape && content.is_ascii() {
        return Some(ISO_2022_JP);
    }
    if let Some(wide) = wide(content) {
        return Some(wide);
    }
    let invalid = match std::str::from_utf8(content) {
        Ok(_) => return Some(UTF_8),
        Err(_) => content
            .utf8_chunks()
            .filter(|part| !part.invalid().is_empty())
            .count(),
    };
    let valid = content.utf8_chunks().map(|part| part.valid());
    let valid: usize = valid
        .map(|text| text.chars().filter(|c| !c.is_ascii()).count())
        .sum();
    // Some damaged bytes do not change what the others are.
    if valid > 20 * invalid {
        return Some(UTF_8);
    }
    let header = header
        .and_then(|label| Encoding::for_label(label.as_bytes()))
        .filter(|encoding| ![UTF_8, UTF_16BE, UTF_16LE].contains(encoding));
    let declared = (format == DocumentFormat::Html)
        .then(|| declared(content))
        .flatten();
    let declared = declared.filter(|encoding| *encoding != UTF_8);
    header.or(declared).or_else(|| detected(content))
}

/// Returns the encoding that a text looks like; `None` if it is a word or two that look like different scripts, depending on where
/// they come from.
fn detected(content: &[u8]) -> Option<&'static Encoding> {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(content, true);
    let guess = |place: Option<&[u8]>| detector.guess(place, Utf8Detection::Deny);
    let best = guess(None);
    // Rare letters beyond ASCII are accents.
    let others = content.iter().filter(|byte| !byte.is_ascii()).count();
    if others * 20 < content.len() && !best.is_single_byte() {
        return Some(WINDOWS_1252);
    }
    let letters = content.iter().filter(|byte| byte.is_ascii_alphabetic());
    let is_usual = !best.is_single_byte() || USUAL.contains(&best);
    let few = if is_usual { FEW } else { 2 * FEW };
    let few = others <= few && letters.count() < others;
    let same = |place: &&[u8]| guess(Some(place)) == best;
    let (text, _) = best.decode_without_bom_handling(content);
    // Nothing else looks like several kana.
    let kana = text
        .chars()
        .filter(|c| matches!(c, '\u{3041}'..='\u{30fe}'));
    (!few || kana.count() >= 3 || PLACES.iter().all(same)).then_some(best)
}

/// Recognises UTF-16 without a mark by its zero bytes.
fn wide(content: &[u8]) -> Option<&'static Encoding> {
    let (pairs, _) = content[..content.len().min(HEAD)].as_chunks::<2>();
    let high = pairs.iter().filter(|pair| pair[0] == 0).count();
    let low = pairs.iter().filter(|pair| pair[1] == 0).count();
    let is_many = |zeros: usize| zeros > 0 && zeros * 20 >= pairs.len();
    match (is_many(high), is_many(low)) {
        (true, false) if low == 0 => Some(UTF_16BE),
        (false, true) if high == 0 => Some(UTF_16LE),
        _ => None,
    }
}

/// Returns the encoding that a page declares: `<meta charset>`, `http-equiv` or an XML declaration.
fn declared(content: &[u8]) -> Option<&'static Encoding> {
    let head = content[..content.len().min(HEAD)].to_ascii_lowercase();
    let head = String::from_utf8_lossy(&head);
    let mut rest = &*head;
    while let Some(at) = rest.find("charset").map(|at| at + 7).or_else(|| {
        let at = rest.find("encoding")?;
        Some(at + 8)
    }) {
        rest = &rest[at..];
        let value = rest.trim_start().strip_prefix('=').map(str::trim_start);
        let label = value.and_then(|value| {
            let value = value.trim_start_matches(['"', '\'']);
            value
                .split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | ':' | '.'))
                .next()
        });
        let encoding = label.and_then(|label| Encoding::for_label(label.as_bytes()));
        // What states its encoding in single bytes is not in two.
        if let Some(encoding) = encoding.filter(|one| *one != UTF_16LE && *one != UTF_16BE) {
            return Some(encoding);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use encoding_rs::{BIG5, EUC_JP, EUC_KR, GBK, SHIFT_JIS};

    use super::*;

    /// Files of one to three short lines. An ambiguous file is refused, and never read as something else.
    #[test]
    fn short_files_are_read_or_refused() {
        let mut read = 0;
        let mut wrong = Vec::new();
        let mut refused = Vec::new();
        for (encoding, texts) in [
            (SHIFT_JIS, JAPANESE),
            (EUC_JP, JAPANESE),
            (GBK, SIMPLIFIED),
            (BIG5, TRADITIONAL),
            (EUC_KR, KOREAN),
            (WINDOWS_1251, CYRILLIC),
            (WINDOWS_1252, WESTERN),
            (WINDOWS_1250, CENTRAL),
        ] {
            for text in texts {
                let (bytes, _, lossy) = encoding.encode(text);
                assert!(!lossy, "{text}");
                match decode(DocumentFormat::Text, &bytes, None) {
                    Ok(decoded) if decoded == *text => read += 1,
                    Ok(decoded) => wrong.push((encoding.name(), *text, decoded)),
                    Err(error) => {
                        assert!(error.to_string().contains("UTF-8"), "{error}");
                        refused.push((encoding.name(), *text));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(refused.len() * 10 <= read, "{refused:?}");
    }

    const JAPANESE: &[&str] = &[
        "営業時間",
        "営業時間：10時～18時",
        "定休日は水曜日です。",
        "お問い合わせはお電話でどうぞ。",
        "送料は全国一律500円です。\n返品は7日以内。",
        "駐車場あり\n予約不要\nカード可",
        "価格,在庫\nりんご,あり",
        "修理",
        "トップページ",
        "Q: 予約はできますか？\nA: はい。",
        "住所 東京都渋谷区1-2-3",
        "領収書発行可",
        "サイズ交換",
        "自転車の修理",
        "お支払い方法",
        "ギフト包装 300円",
    ];
    const SIMPLIFIED: &[&str] = &[
        "营业时间",
        "营业时间：9点到18点",
        "周日休息。",
        "退货请在七天内联系我们。",
        "价格,库存\n苹果,有",
        "可以停车\n无需预约\n支持刷卡",
        "配送费每单10元。",
        "维修",
        "问：可以预约吗？\n答：可以。",
        "地址 北京市朝阳区1号",
        "会员折扣",
        "自行车维修",
        "付款方式",
        "发票,邮费",
    ];
    const TRADITIONAL: &[&str] = &[
        "營業時間",
        "營業時間：9點到18點",
        "週日公休。",
        "退貨請在七天內聯絡我們。",
        "價格,庫存\n蘋果,有",
        "可以停車\n無需預約\n可刷卡",
        "運費每單100元。",
        "維修",
        "問：可以預約嗎？\n答：可以。",
        "地址 台北市大安區1號",
        "會員折扣",
        "腳踏車維修",
        "付款方式",
        "發票,郵資",
    ];
    const KOREAN: &[&str] = &[
        "영업시간",
        "영업시간: 10시부터 18시까지",
        "일요일은 쉽니다.",
        "반품은 7일 이내에 가능합니다.\n배송비는 3000원입니다.",
        "주차 가능\n예약 필요 없음",
    ];
    const CYRILLIC: &[&str] = &[
        "Часы работы",
        "Часы работы: с 9 до 18",
        "Воскресенье — выходной.",
        "Доставка стоит 300 рублей.\nВозврат в течение 7 дней.",
        "Цена,Наличие\nЯблоки,да",
        "Ремонт",
        "Гарантия 2 года",
        "ПАРКОВКА ЕСТЬ",
        "Оплата картой",
        "Возврат",
        "Адрес: Москва",
        "Самовывоз",
    ];
    const WESTERN: &[&str] = &[
        "Öffnungszeiten",
        "Geöffnet von 9 bis 18 Uhr",
        "Größe: 42",
        "Preis: 9,90 €",
        "Café",
        "Où êtes-vous ?",
        "L’hôtel est fermé à Noël.",
        "¿Cuándo abrís?\nMañana.",
        "Não há devolução após 7 dias.",
        "Straße, Schlüssel, Rückgabe",
        "Mêlée générale à l'été",
        "Tschüß",
        "Smörgåsbord på fredag",
        "Übergröße",
        "Öl",
        "été",
        "Ärzte, Lärm, Bär",
        "Sí",
        "pão",
        "“Quoted” – it’s fine",
        "10 % Rabatt für Schüler\nnur im März",
    ];
    const CENTRAL: &[&str] = &[
        "Otevřeno každý den od 9 do 18.\nZboží lze vrátit do 14 dnů.",
        "Sklep czynny w każdą sobotę.\nPłatność kartą jest możliwa, również zbliżeniowo.",
    ];
}
