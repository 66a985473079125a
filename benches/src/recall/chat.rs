//! What the data sets have in common.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{beam, locomo, longmemeval};
use crate::Failed;

/// Chats and the questions about them.
#[derive(Debug)]
pub struct Dataset {
    /// Its name.
    pub name: &'static str,
    /// Whether it is the file that the published figures are of. `None`: no sum of it is known.
    pub pinned: Option<bool>,
    /// The chats.
    pub chats: Vec<Chat>,
}

/// One long chat: a conversation.
#[derive(Debug, Default)]
pub struct Chat {
    /// What was said, in order.
    pub turns: Vec<Turn>,
    /// What is asked about it.
    pub questions: Vec<Question>,
}

/// Something said.
#[derive(Debug)]
pub struct Turn {
    /// By whom.
    pub speaker: Speaker,
    /// What.
    pub text: String,
    /// Which session it belongs to, from 0.
    pub session: usize,
}

/// Who says something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// A person, by name; empty where the data has none.
    Person(String),
    /// The employee.
    Employee,
}

/// A question.
#[derive(Debug)]
pub struct Question {
    /// The question.
    pub text: String,
    /// The turns that hold the answer: at least one.
    pub evidence: Vec<usize>,
}

/// Reads one chat of a format.
type Read = fn(&Value) -> Result<Chat, Failed>;

impl Dataset {
    /// Reads a file of BEAM (as `corpus/README.md` describes it), LoCoMo or LongMemEval.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Self, Failed> {
        let samples: Vec<Value> = serde_json::from_slice(bytes)?;
        let first = samples.first().ok_or("the file has no chat")?;
        let has = |key: &str| first.get(key).is_some();
        let (name, sum, read): (_, _, Read) = if has("turns") {
            ("BEAM", Some(beam::SHA256), beam::chat)
        } else if has("conversation") {
            ("LoCoMo", Some(locomo::SHA256), locomo::chat)
        } else if has("haystack_sessions") {
            ("LongMemEval", None, longmemeval::chat)
        } else {
            return Err("the file is none of BEAM, LoCoMo and LongMemEval".into());
        };
        let found = hex::encode(Sha256::digest(bytes));
        Ok(Self {
            name,
            pinned: sum.map(|sum| sum == found),
            chats: samples.iter().map(read).collect::<Result<_, _>>()?,
        })
    }
}

/// Returns a text of an object.
pub(super) fn text(of: &Value, key: &str) -> Result<String, Failed> {
    let text = of[key].as_str();
    Ok(text
        .ok_or_else(|| format!("`{key}` is no text"))?
        .to_owned())
}

/// Returns a list of an object.
pub(super) fn list<'a>(of: &'a Value, key: &str) -> Result<&'a [Value], Failed> {
    let list = of[key].as_array();
    Ok(list.ok_or_else(|| format!("`{key}` is no list"))?)
}
