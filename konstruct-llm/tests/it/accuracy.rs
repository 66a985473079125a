//! Measures how often the extract backend answers correctly: paraphrased questions, and questions that it must not answer.

use std::collections::HashMap;

use konstruct_core::llm::Passage;
use konstruct_llm::extract::{choose, expand};
use rust_stemmers::{Algorithm, Stemmer};

/// Returns the passages of a simulated recall: the best eight by BM25 on stems of heading and text.
fn recall(faq: &[(String, String)], words: &[String], question: &str) -> Vec<Passage> {
    let stemmer = Stemmer::create(Algorithm::English);
    let stems = |text: &str| -> Vec<String> {
        text.to_lowercase()
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(|word| stemmer.stem(word).into_owned())
            .collect()
    };
    let documents: Vec<Vec<String>> = faq
        .iter()
        .map(|(title, text)| stems(&format!("{title} {text}")))
        .collect();
    let length = documents.iter().map(Vec::len).sum::<usize>() as f32 / documents.len() as f32;
    let mut idf: HashMap<String, f32> = HashMap::new();
    let idf_of = |idf: &mut HashMap<String, f32>, stem: &str| {
        *idf.entry(stem.to_owned()).or_insert_with(|| {
            let n = documents
                .iter()
                .filter(|doc| doc.iter().any(|word| word == stem))
                .count() as f32;
            ((documents.len() as f32 - n + 0.5) / (n + 0.5) + 1.0).ln()
        })
    };
    let asked = stems(question);
    let query = stems(&words.join(" "));
    let mut ranked: Vec<(f32, Passage)> = documents
        .iter()
        .zip(faq)
        .map(|(document, (title, text))| {
            let count = |stem: &String| document.iter().filter(|word| *word == stem).count() as f32;
            let norm = 1.2 * (0.25 + 0.75 * document.len() as f32 / length);
            let score = query
                .iter()
                .map(|stem| idf_of(&mut idf, stem) * count(stem) * 2.2 / (count(stem) + norm))
                .sum();
            let total: f32 = asked.iter().map(|stem| idf_of(&mut idf, stem)).sum();
            let met: f32 = asked
                .iter()
                .filter(|stem| count(stem) > 0.0)
                .map(|stem| idf_of(&mut idf, stem))
                .sum();
            let passage = Passage {
                source: format!("FAQ › {title}"),
                title: title.clone(),
                text: text.clone(),
                confidence: met / total.max(0.01),
            };
            (score, passage)
        })
        .filter(|(score, _)| *score > 0.0)
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    ranked
        .into_iter()
        .take(8)
        .map(|(_, passage)| passage)
        .collect()
}

fn faq() -> Vec<(String, String)> {
    include_str!("../fixtures/faq.md")
        .split("## ")
        .filter_map(|entry| entry.split_once('\n'))
        .map(|(title, text)| (title.trim().to_owned(), text.trim().to_owned()))
        .collect()
}

/// Returns the shares of correct results among the questions inside and outside the FAQ.
fn accuracy(name: &str, set: &str, expanded: bool) -> (f32, f32) {
    let faq = faq();
    let (mut within, mut without) = ((0, 0), (0, 0));
    for line in set.lines() {
        let (title, question) = line.split_once('\t').unwrap();
        let words = if expanded {
            expand(question)
        } else {
            vec![question.to_owned()]
        };
        let passages = recall(&faq, &words, question);
        let choice = choose(question, &passages);
        let got = choice
            .as_ref()
            .map_or("-", |choice| &passages[choice.passage].title);
        let counts = if title == "-" {
            &mut without
        } else {
            &mut within
        };
        counts.1 += 1;
        if got == title {
            counts.0 += 1;
        } else {
            let score = choice.map(|choice| choice.score);
            println!("{name}: {question:?} got {got:?} {score:?}, not {title:?}");
        }
    }
    let share = |(right, all): (u32, u32)| right as f32 / all as f32;
    println!("{name} expanded={expanded}: within {within:?}, without {without:?}");
    (share(within), share(without))
}

#[test]
fn the_tuning_set() {
    let (within, without) = accuracy("dev", include_str!("../fixtures/dev.tsv"), true);
    assert!(within >= 0.85 && without >= 0.9, "{within} {without}");
    let _shown = accuracy("dev", include_str!("../fixtures/dev.tsv"), false);
}

/// A held-out set: the backend was never tuned on it.
#[test]
fn the_held_out_set() {
    let (within, without) = accuracy("held out", include_str!("../fixtures/heldout.tsv"), true);
    assert!(within >= 0.75 && without >= 0.8, "{within} {without}");
}
