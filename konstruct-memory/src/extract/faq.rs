//! Questions and answers as JSON.

use konstruct_core::Result;
use serde_json::{Deserializer, Value};

use super::{blocks, invalid};

const QUESTION: &[&str] = &[
    "question",
    "questions",
    "q",
    "frage",
    "fragen",
    "pregunta",
    "preguntas",
    "domanda",
    "pergunta",
    "vraag",
    "prompt",
];
const ANSWER: &[&str] = &[
    "answer",
    "answers",
    "a",
    "acceptedAnswer",
    "antwort",
    "antworten",
    "respuesta",
    "respuestas",
    "réponse",
    "reponse",
    "risposta",
    "resposta",
    "antwoord",
    "response",
    "responses",
    "reply",
];
/// Names of fields with entries. Other fields with entries are named by the category.
const ENTRIES: &[&str] = &[
    "faq",
    "faqs",
    "items",
    "entries",
    "data",
    "mainentity",
    "@graph",
    "pairs",
    "categories",
    "sections",
    "content",
    "results",
    "list",
    "qa",
    "children",
    "rows",
];
/// Names of a category's field with its name.
const CATEGORY: &[&str] = &["category", "name", "title", "topic", "section", "heading"];

const SHAPE: &str = "give each entry a `question` and an `answer`, such as [{\"question\": \"Where?\", \"answer\": \"Here.\"}]";

/// Turns JSON into `Q:` and `A:` lines, with categories as headings. Other text is returned unchanged.
pub(super) fn lines(text: String) -> Result<String> {
    let is_json = text.trim_start().starts_with(['[', '{']);
    if !is_json {
        return Ok(text);
    }
    let values: std::result::Result<Vec<Value>, _> =
        Deserializer::from_str(&text).into_iter().collect();
    let values = match values {
        Ok(values) => values,
        // Text may begin with a bracket too.
        Err(_) if !looks_like_json(&text) => return Ok(text),
        Err(error) => {
            let place = format!("line {}, column {}", error.line(), error.column());
            let message =
                format!("is not valid JSON at {place}: {SHAPE}, or write lines with `Q:` and `A:`");
            return Err(invalid(&message).with_source(error));
        }
    };
    let mut pairs = Pairs::default();
    for value in &values {
        pairs.read(value, "the document")?;
    }
    if pairs.count == 0 {
        return Err(invalid(&format!(
            "is JSON without questions and answers: {SHAPE}"
        )));
    }
    Ok(pairs.out)
}

/// Returns whether the first bracket opens a string, an object or an array.
fn looks_like_json(text: &str) -> bool {
    let text = text.trim_start();
    text[1..]
        .trim_start()
        .starts_with(['"', '{', '[', '}', ']'])
}

#[derive(Debug, Default)]
struct Pairs {
    out: String,
    count: usize,
}

impl Pairs {
    /// Writes the pairs of a value. Its nesting is bounded by the parser.
    fn read(&mut self, value: &Value, place: &str) -> Result<()> {
        match value {
            Value::Array(values) => {
                if let [Value::String(question), Value::String(answer)] = values.as_slice() {
                    self.pair(std::slice::from_ref(question), std::slice::from_ref(answer));
                    return Ok(());
                }
                for (at, value) in values.iter().enumerate() {
                    let place = format!("entry {} of {place}", at + 1);
                    if !value.is_array() && !value.is_object() {
                        return Err(invalid(&format!(
                            "has no question and answer in {place}: {SHAPE}"
                        )));
                    }
                    self.read(value, &place)?;
                }
                Ok(())
            }
            Value::Object(fields) => self.object(fields, place),
            _ => Err(invalid(&format!(
                "has no question and answer in {place}: {SHAPE}"
            ))),
        }
    }

    fn object(&mut self, fields: &serde_json::Map<String, Value>, place: &str) -> Result<()> {
        let named = |known: &[&str]| {
            let is = |name: &String| known.iter().any(|one| one.eq_ignore_ascii_case(name));
            fields
                .iter()
                .find(|(name, _)| is(name))
                .map(|(_, value)| value)
        };
        // schema.org calls the question a name.
        let answer = named(ANSWER);
        let question = named(QUESTION).or_else(|| answer.and(named(&["name", "title", "text"])));
        let question = question.map(texts).filter(|texts| !texts.is_empty());
        if let Some(question) = question {
            let answer = answer.map(texts).filter(|texts| !texts.is_empty());
            let missing = || invalid(&format!("has no answer in {place}: {SHAPE}"));
            self.pair(&question, &answer.ok_or_else(missing)?);
            return Ok(());
        }
        if answer.is_some_and(|value| !texts(value).is_empty()) {
            return Err(invalid(&format!("has no question in {place}: {SHAPE}")));
        }
        let is_entries = |value: &&Value| value.is_array() || value.is_object();
        if fields.values().any(|value| is_entries(&value)) {
            if let Some(Value::String(name)) = named(CATEGORY) {
                self.category(name);
            }
            for (name, value) in fields.iter().filter(|(_, value)| is_entries(value)) {
                let is_answer = value
                    .as_array()
                    .is_some_and(|values| values.iter().all(Value::is_string));
                if is_answer && !ENTRIES.contains(&name.to_lowercase().as_str()) {
                    self.pair(std::slice::from_ref(name), &texts(value));
                    continue;
                }
                if !ENTRIES.contains(&name.to_lowercase().as_str())
                    && !QUESTION.contains(&name.as_str())
                {
                    self.category(name);
                }
                self.read(value, &format!("`{name}`"))?;
            }
            return Ok(());
        }
        // An object of questions with their answers.
        let is_asked =
            |name: &str| name.contains(char::is_whitespace) || name.ends_with(['?', '？', '؟']);
        let pairs: Vec<_> = fields.iter().filter(|(name, _)| is_asked(name)).collect();
        if pairs.is_empty() && !fields.is_empty() {
            return Err(invalid(&format!(
                "has no question and answer in {place}: {SHAPE}"
            )));
        }
        for (question, answer) in pairs {
            let answer = texts(answer);
            if !answer.is_empty() {
                self.pair(std::slice::from_ref(question), &answer);
            }
        }
        Ok(())
    }

    fn category(&mut self, name: &str) {
        if !name.trim().is_empty() && !name.starts_with('@') {
            self.out.push_str(&format!("# {}\n\n", one_line(name)));
        }
    }

    /// Writes a pair. Other wordings of the question follow it.
    fn pair(&mut self, questions: &[String], answers: &[String]) {
        let questions: Vec<String> = questions.iter().map(|text| one_line(text)).collect();
        let answers: Vec<String> = answers.iter().map(|text| shown(text)).collect();
        self.out.push_str(&format!(
            "Q: {}\nA: {}\n\n",
            questions.join(" / "),
            answers.join("\n\n")
        ));
        self.count += 1;
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the text of an answer, which may be HTML.
fn shown(text: &str) -> String {
    let is_html = text.contains("</") || text.contains("<br") || text.contains("/>");
    if !is_html {
        return text.trim().to_owned();
    }
    let blocks = blocks(text, true);
    let texts = blocks.iter().map(|block| block.plain());
    texts.collect::<Vec<_>>().join("\n\n")
}

/// Returns the texts of a question or an answer: one, several, or a field of an object.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) if text.trim().is_empty() => Vec::new(),
        Value::String(text) => vec![text.clone()],
        Value::Number(number) => vec![number.to_string()],
        Value::Bool(answer) => vec![if *answer { "Yes" } else { "No" }.to_owned()],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(fields) => {
            let known = ["text", "value", "content", "body", "html", "answer", "name"];
            let found = known.iter().find_map(|name| fields.get(*name));
            found.map(texts).unwrap_or_default()
        }
        Value::Null => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_its_usual_shapes_becomes_lines() {
        let check = |json: &str, expected: &str| {
            assert_eq!(lines(json.into()).unwrap(), expected, "{json}");
        };
        check(
            r#" [{"question": "Where\nare you?", "answer": " Here. ", "id": 1}, {"question": "q", "answer": "a"}]"#,
            "Q: Where are you?\nA: Here.\n\nQ: q\nA: a\n\n",
        );
        check(
            r#"{"faqs": [{"q": "Where?", "a": "Here."}]}"#,
            "Q: Where?\nA: Here.\n\n",
        );
        check(
            r#"[{"question": ["Where?", "Which street?"], "answer": ["Here.", "There."]}]"#,
            "Q: Where? / Which street?\nA: Here.\n\nThere.\n\n",
        );
        check(
            r#"{"@type": "FAQPage", "mainEntity": [{"@type": "Question", "name": "Where?",
               "acceptedAnswer": {"@type": "Answer", "text": "<p>Here.</p><p>There.</p>"}}]}"#,
            "Q: Where?\nA: Here.\n\nThere.\n\n",
        );
        check(
            r#"{"When?": "Now.", "Where?": "Here."}"#,
            "Q: When?\nA: Now.\n\nQ: Where?\nA: Here.\n\n",
        );
        check(
            r#"{"Shipping": [{"Frage": "Wohin?", "Antwort": "Überall."}]}"#,
            "# Shipping\n\nQ: Wohin?\nA: Überall.\n\n",
        );
        check(
            r#"{"categories": [{"name": "Pay", "items": [{"question": "Cash?", "answer": true}]}]}"#,
            "# Pay\n\nQ: Cash?\nA: Yes\n\n",
        );
        check(
            "{\"q\": \"a\", \"a\": \"b\"}\n{\"q\": \"c\", \"a\": \"d\"}",
            "Q: a\nA: b\n\nQ: c\nA: d\n\n",
        );
        check(r#"[["Where?", "Here."]]"#, "Q: Where?\nA: Here.\n\n");
        check("Q: q\nA: a", "Q: q\nA: a");
        check("[Updated in May] Q: q", "[Updated in May] Q: q");
    }

    #[test]
    fn an_error_names_the_position_and_the_way_out() {
        let check = |json: &str, expected: &str| {
            let error = lines(json.into()).unwrap_err().to_string();
            assert!(
                error.contains(expected) && error.contains("`answer`"),
                "{error}"
            );
        };
        check("[{\"question\": \"q\",\n \"answer\": }]", "line 2");
        check(
            r#"[{"question": "q", "answer": "a"}, {"question": "q"}]"#,
            "entry 2",
        );
        check(r#"[{"answer": "a"}]"#, "no question in entry 1");
        check("[{\"q\": \"q\", \"a\": \"a\"}, 2]", "entry 2");
        check("[{\"title\": \"x\"}]", "entry 1");
        check("{}", "without questions");
    }
}
