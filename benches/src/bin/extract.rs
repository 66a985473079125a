//! Measures how the `extract` backend answers questions as people type them on a phone, about made-up businesses in seven languages.
//!
//! A folder has a folder for each business with `LANGUAGE.md`, its document, and `LANGUAGE.tsv`, whose rows are the heading that
//! answers (`-` if none does, several joined by ` + `), a tab, and the question. The businesses are split into a development half,
//! on which the backend is calibrated, and a test half. Ends with the shares of the test half in percent.

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Parser;
use konstruct_benches::Failed;
use konstruct_core::{
    Audience, DocumentFormat, LlmBackend as _, MemoryStore, NewDocument, Recall, TenantId,
    llm::{CallContext, LlmBackendExt as _, ModelMessage, ModelRequest, Passage, Role},
    memory::{KnowledgeStore as _, Scope},
};
use konstruct_llm::{Extract, extract::Assessment};
use konstruct_memory::{Redb, StaticEmbedder};

/// The businesses of the test half. The backend is calibrated on the others.
const TEST: [&str; 2] = ["guesthouse", "repair"];

/// Measures how the extractive backend answers.
#[derive(Parser)]
struct Arguments {
    /// Folder with the businesses.
    #[arg(default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/data/phone"))]
    folder: PathBuf,
    /// Prints each question that is answered wrongly or not at all.
    #[arg(long)]
    verbose: bool,
    /// Prints the figures of each candidate as tab-separated values, from which the backend is calibrated.
    #[arg(long)]
    features: bool,
}

/// What became of some questions.
#[derive(Clone, Copy, Default)]
struct Counts {
    inside: u32,
    right: u32,
    helped: u32,
    wrong: u32,
    outside: u32,
    outside_wrong: u32,
    outside_offered: u32,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.inside += other.inside;
        self.right += other.right;
        self.helped += other.helped;
        self.wrong += other.wrong;
        self.outside += other.outside;
        self.outside_wrong += other.outside_wrong;
        self.outside_offered += other.outside_offered;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |part: u32, all: u32| 100.0 * f64::from(part) / f64::from(all.max(1));
        write!(
            f,
            "inside_right={:.1} inside_helped={:.1} inside_wrong={:.1} outside_wrong={:.1} outside_offered={:.1}",
            share(self.right, self.inside),
            share(self.helped, self.inside),
            share(self.wrong, self.inside),
            share(self.outside_wrong, self.outside),
            share(self.outside_offered, self.outside)
        )
    }
}

/// A business's document and questions in one language.
struct Shop {
    business: String,
    language: String,
    document: String,
    /// The headings that answer, and the question.
    questions: Vec<(Vec<String>, String)>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    let arguments = Arguments::parse();
    let shops = shops(&arguments.folder)?;
    if arguments.features {
        return print_all_features(&shops).await;
    }
    let questions: usize = shops.iter().map(|shop| shop.questions.len()).sum();
    let counts = measure(&shops, arguments.verbose).await?;
    for (half, name) in [(false, "development"), (true, "test")] {
        println!("{name}:");
        let mut sum = Counts::default();
        for ((_, language), of) in counts.iter().filter(|((test, _), _)| *test == half) {
            println!("  {language}: {of}");
            sum.add(*of);
        }
        println!("  all: {sum}");
        if half {
            println!("questions={questions} {sum}");
        }
    }
    Ok(())
}

/// The backend, and a store for its documents.
struct Setup {
    store: Redb,
    backend: Extract,
}

impl Setup {
    fn new() -> Result<Self, Failed> {
        let embedder = Arc::new(StaticEmbedder::new());
        Ok(Self {
            store: Redb::builder().embedder(embedder.clone()).in_memory()?,
            backend: Extract::new().with_embedder(embedder),
        })
    }

    /// Stores a business's document for a tenant of its own.
    async fn open(&self, shop: &Shop) -> Result<TenantId, Failed> {
        let tenant = TenantId::new();
        let document = NewDocument::new("FAQ", DocumentFormat::Markdown, &*shop.document);
        self.store.put_document(tenant, document).await?;
        self.store.catch_up(tenant).await?;
        Ok(tenant)
    }

    async fn recall(&self, tenant: TenantId, question: &str) -> Result<Vec<Passage>, Failed> {
        let limit = self.backend.describe().passages;
        let query = Recall::new(question, Audience::Tenant, Scope::KNOWLEDGE).with_limit(limit);
        let hits = self.store.recall(tenant, query).await?.into_iter();
        let passages = hits.map(|hit| Passage {
            source: hit.name,
            title: hit.title,
            text: hit.text,
            confidence: hit.coverage,
        });
        Ok(passages.collect())
    }
}

/// Asks all questions. Returns the counts by half and language.
async fn measure(
    shops: &[Shop],
    verbose: bool,
) -> Result<BTreeMap<(bool, String), Counts>, Failed> {
    let setup = Setup::new()?;
    let mut counts: BTreeMap<(bool, String), Counts> = BTreeMap::new();
    for shop in shops {
        let tenant = setup.open(shop).await?;
        let test = TEST.contains(&&*shop.business);
        for (headings, question) in &shop.questions {
            let passages = setup.recall(tenant, question).await?;
            let (text, offered) = ask(&setup.backend, tenant, question, passages).await?;
            let result = judge(headings, &text, &offered);
            counts
                .entry((test, shop.language.clone()))
                .or_default()
                .add(result);
            if verbose && result.right + result.outside - result.outside_wrong == 0 {
                let half = if test { "test" } else { "development" };
                println!(
                    "{half}\t{}\t{headings:?}\t{question}\t{offered:?}\t{text:?}",
                    shop.business
                );
            }
        }
    }
    Ok(counts)
}

async fn print_all_features(shops: &[Shop]) -> Result<(), Failed> {
    let setup = Setup::new()?;
    for shop in shops {
        let tenant = setup.open(shop).await?;
        for (headings, question) in &shop.questions {
            let passages = setup.recall(tenant, question).await?;
            let call = CallContext::new(tenant, "1", Duration::from_secs(5));
            let assessment = setup.backend.assess(question, &passages, &call).await?;
            print_features(shop, headings, question, &passages, &assessment);
        }
    }
    Ok(())
}

fn shops(folder: &Path) -> Result<Vec<Shop>, Failed> {
    let mut shops = Vec::new();
    for business in fs::read_dir(folder)? {
        let business = business?.path();
        for file in fs::read_dir(&business)? {
            let file = file?.path();
            if file.extension().is_none_or(|it| it != "tsv") {
                continue;
            }
            let name = |path: &Path| -> String {
                path.file_stem()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into()
            };
            let questions = fs::read_to_string(&file)?;
            let questions = questions.lines().filter_map(|line| {
                let (headings, question) = line.split_once('\t')?;
                let headings = headings.split(" + ").filter(|it| *it != "-");
                Some((headings.map(str::to_owned).collect(), question.to_owned()))
            });
            shops.push(Shop {
                business: name(&business),
                language: name(&file),
                document: fs::read_to_string(file.with_extension("md"))?,
                questions: questions.collect(),
            });
        }
    }
    shops.sort_by(|a, b| (&a.business, &a.language).cmp(&(&b.business, &b.language)));
    Ok(shops)
}

/// Returns the text of the answer, and the headings that it offers.
async fn ask(
    backend: &Extract,
    tenant: TenantId,
    question: &str,
    passages: Vec<Passage>,
) -> Result<(String, Vec<String>), Failed> {
    let request = ModelRequest::default().with(|it| {
        it.passages = passages;
        it.messages = vec![ModelMessage::text(Role::User, question)];
        it.max_tokens = 500;
    });
    let call = CallContext::new(tenant, "1", Duration::from_secs(5));
    let answer = backend.complete(request, &call).await?;
    let offered = answer.choices().into_iter().flat_map(|it| &it.options);
    let offered = offered.map(|it| it.description.clone().unwrap_or_else(|| it.label.clone()));
    Ok((answer.text(), offered.collect()))
}

/// Judges an answer. A message of several questions is answered right if each of them is; one of them alone is a help.
fn judge(headings: &[String], text: &str, offered: &[String]) -> Counts {
    let sources = text.lines().filter(|line| line.contains("FAQ › "));
    let sources: Vec<&str> = sources
        .filter_map(|line| line.split_once("› "))
        .map(|(_, heading)| heading.trim())
        .collect();
    let known = |heading: &&str| headings.iter().any(|wanted| wanted == heading);
    let shown = |wanted: &String| {
        let begin = |it: &String| it.trim_end_matches('…').trim_end().to_owned();
        offered
            .iter()
            .any(|it| it == wanted || wanted.starts_with(&begin(it)))
    };
    let one = u32::from;
    if headings.is_empty() {
        return Counts {
            outside: 1,
            outside_wrong: one(!sources.is_empty()),
            outside_offered: one(!offered.is_empty()),
            ..Counts::default()
        };
    }
    let right = headings
        .iter()
        .all(|wanted| sources.contains(&wanted.as_str()));
    let wrong = !sources.iter().all(known) && !sources.is_empty();
    let helped = right || sources.iter().any(known) || headings.iter().any(shown);
    Counts {
        inside: 1,
        right: one(right && !wrong),
        helped: one(helped && !wrong),
        wrong: one(wrong),
        ..Counts::default()
    }
}

fn print_features(
    shop: &Shop,
    headings: &[String],
    question: &str,
    passages: &[Passage],
    assessment: &Assessment,
) {
    for candidate in &assessment.matches.passages {
        let title = &passages[candidate.passage].title;
        println!(
            "{}\t{}\t{question}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
            shop.business,
            shop.language,
            headings.join(" + "),
            title,
            candidate.whole,
            candidate.sentence,
            candidate.covered,
            candidate.heading,
            assessment.matches.known,
            assessment.matches.words
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sum(shops: &[Shop]) -> Counts {
        let mut sum = Counts::default();
        for of in measure(shops, false).await.unwrap().into_values() {
            sum.add(of);
        }
        sum
    }

    /// The limits have some room, so that a change that loses answers is noticed.
    #[tokio::test]
    async fn answers_stay_as_good_as_they_were() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/data/phone");
        let mut shops = shops(Path::new(folder)).unwrap();
        shops.retain(|it| ["repair", "salon"].contains(&&*it.business));
        let sum = sum(&shops).await;
        assert_eq!((sum.inside, sum.outside), (126, 42));
        assert!(sum.right >= 29 && sum.helped >= 86, "{sum}");
        assert!(sum.wrong <= 6 && sum.outside_wrong <= 3, "{sum}");
        assert!(sum.outside_offered <= 15, "{sum}");
    }

    /// Without stop words and stems, chance matches count more.
    #[tokio::test]
    async fn a_language_that_it_was_not_fitted_for_gets_no_wrong_answer() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/data/languages");
        let mut shops = Vec::new();
        for language in ["ar", "ja", "pl", "ru", "th", "tr", "zh"] {
            let rows = fs::read_to_string(format!("{folder}/{language}.tsv")).unwrap();
            let rows = rows.lines().map(|row| row.split('\t').collect::<Vec<_>>());
            let rows: Vec<Vec<&str>> = rows.collect();
            let passage = |row: &Vec<&str>| format!("## {}\n\n{}\n\n", row[0], row[1]);
            let question = |row: &Vec<&str>| (vec![row[0].to_owned()], row[2].to_owned());
            shops.push(Shop {
                business: "shop".into(),
                language: language.into(),
                document: rows.iter().map(passage).collect(),
                questions: rows.iter().map(question).collect(),
            });
        }
        let sum = sum(&shops).await;
        assert_eq!((sum.inside, sum.wrong), (84, 0));
        assert!(sum.helped >= 38, "{sum}");
    }
}
