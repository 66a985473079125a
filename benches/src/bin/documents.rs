//! Compares what `extract` reads from real documents with the reference text beside each: `NAME.pdf` and `NAME.pdf.txt`.
//!
//! ```text
//! cargo run -p konstruct-benches --no-default-features --bin documents -- DIR
//! ```
//! F1 is over the words as multisets; the order is the longest common subsequence of words over the words of the reference.
//! Both disregard case and our Markdown marks. Files whose reference has fewer than five words are left out. A file that is
//! refused counts as empty.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::{
    collections::BTreeMap,
    panic::catch_unwind,
    path::{Path, PathBuf},
    time::Instant,
};

use konstruct_core::DocumentFormat;
use konstruct_memory::extract;

/// The least words of a reference.
const WORDS: usize = 5;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let Some(dir) = arguments.next() else {
        return Err(std::io::Error::other("usage: documents DIR [--show]"));
    };
    let show = arguments.next().is_some();
    let (mut files, mut f1s, mut orders, mut refused, mut panics) = (0_u32, 0.0, 0.0, 0, 0);
    for path in documents(Path::new(&dir))? {
        let Some(format) = format_of(&path) else {
            continue;
        };
        let mut beside = path.clone().into_os_string();
        beside.push(".txt");
        let Ok(reference) = std::fs::read(beside) else {
            continue;
        };
        let reference = words(&String::from_utf8_lossy(&reference));
        if reference.len() < WORDS {
            continue;
        }
        let content = std::fs::read(&path)?;
        let start = Instant::now();
        let mut note = String::new();
        let text = match catch_unwind(|| extract(format, &content)) {
            Ok(Ok(extracted)) => {
                if !extracted.warnings.is_empty() {
                    note = format!("{:?}", extracted.warnings);
                }
                extracted.text
            }
            Ok(Err(error)) => {
                refused += 1;
                note = error.to_string();
                String::new()
            }
            Err(_) => {
                panics += 1;
                "panic".clone_into(&mut note);
                String::new()
            }
        };
        let time = start.elapsed().as_millis();
        if show {
            println!("{text}");
        }
        let found = words(&without_marks(&text));
        let (f1, order) = (f1(&found, &reference), order(&found, &reference));
        files += 1;
        f1s += f1;
        orders += order;
        println!(
            "{f1:.3} {order:.3} {:6} words {time:6} ms  {} {note}",
            reference.len(),
            path.strip_prefix(&dir).unwrap_or(&path).display(),
        );
    }
    let mean = |sum: f64| sum / f64::from(files.max(1));
    println!(
        "files={files} mean_f1={:.3} mean_order={:.3} refused={refused} panics={panics}",
        mean(f1s),
        mean(orders),
    );
    Ok(())
}

/// Lists the files of a folder and its folders, in order.
fn documents(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn format_of(path: &Path) -> Option<DocumentFormat> {
    let ending = path.extension()?.to_str()?.to_lowercase();
    Some(match ending.as_str() {
        "pdf" => DocumentFormat::Pdf,
        "docx" => DocumentFormat::Docx,
        "xlsx" => DocumentFormat::Xlsx,
        "ods" => DocumentFormat::Ods,
        "html" | "htm" => DocumentFormat::Html,
        "md" => DocumentFormat::Markdown,
        "csv" => DocumentFormat::Csv,
        _ => return None,
    })
}

/// Removes the headings of pages, heading marks, and the invisible escape before what looks like a mark.
fn without_marks(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| match line.strip_prefix("## Page ") {
            Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => "",
            _ => line.trim_start_matches('#').trim_start_matches('\u{200b}'),
        });
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Returns the words in lower case, without the invisible marks of direction that some tools add.
fn words(text: &str) -> Vec<String> {
    let text = text.replace(
        ['\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}'],
        "",
    );
    text.split_whitespace().map(str::to_lowercase).collect()
}

fn f1(found: &[String], reference: &[String]) -> f64 {
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for word in reference {
        *left.entry(word).or_default() += 1;
    }
    let mut common = 0;
    for word in found {
        if let Some(count) = left.get_mut(word.as_str()).filter(|count| **count > 0) {
            *count -= 1;
            common += 1;
        }
    }
    2.0 * f64::from(common) / (found.len() + reference.len()) as f64
}

/// Returns the length of the longest common subsequence over that of the reference.
fn order(found: &[String], reference: &[String]) -> f64 {
    let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
    let mut number = |word| {
        let next = numbers.len() as u32;
        *numbers.entry(word).or_insert(next)
    };
    let reference: Vec<u32> = reference.iter().map(|word| number(word)).collect();
    let found: Vec<u32> = found.iter().map(|word| number(word)).collect();
    // Bit by bit: a zero in `row` is a place where the subsequence grows (Hyyrö's algorithm).
    let blocks = reference.len().div_ceil(64);
    let mut places: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for (at, word) in reference.iter().enumerate() {
        places.entry(*word).or_insert_with(|| vec![0; blocks])[at / 64] |= 1 << (at % 64);
    }
    let mut row = vec![u64::MAX; blocks];
    for places in found.iter().filter_map(|word| places.get(word)) {
        let mut carry = false;
        for (block, places) in row.iter_mut().zip(places) {
            let hit = *block & places;
            let (sum, one) = block.overflowing_add(hit);
            let (sum, two) = sum.overflowing_add(u64::from(carry));
            carry = one || two;
            *block = sum | (*block & !places);
        }
    }
    let kept = (0..reference.len()).filter(|at| row[at / 64] >> (at % 64) & 1 == 0);
    kept.count() as f64 / reference.len() as f64
}
