//! The common format of the data sets.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{beam, locomo, longmemeval};
use crate::Failed;

/// Chats and questions about them.
#[derive(Debug)]
pub struct Dataset {
    /// Its name.
    pub name: &'static str,
    /// Whether it is the file of the published figures. `None` if no checksum of it is known.
    pub pinned: Option<bool>,
    /// The chats.
    pub chats: Vec<Chat>,
}

/// A long chat, stored as one conversation.
#[derive(Debug, Default)]
pub struct Chat {
    /// The messages, in order.
    pub turns: Vec<Turn>,
    /// The questions about it.
    pub questions: Vec<Question>,
}

/// A message.
#[derive(Debug)]
pub struct Turn {
    /// The speaker.
    pub speaker: Speaker,
    /// The text.
    pub text: String,
    /// The session, counted from 0.
    pub session: usize,
}

/// The speaker of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// A person, by name; empty if the data has none.
    Person(String),
    /// The employee.
    Employee,
}

/// A question.
#[derive(Debug)]
pub struct Question {
    /// The question.
    pub text: String,
    /// The turns that contain the answer: at least one.
    pub evidence: Vec<usize>,
}

/// Parses one chat of a format.
type Read = fn(&Value) -> Result<Chat, Failed>;

impl Dataset {
    /// Parses a file of BEAM (as `corpus/README.md` describes it), LoCoMo or LongMemEval.
    ///
    /// # Errors
    /// The file is malformed.
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
            return Err("the file is not of BEAM, LoCoMo or LongMemEval".into());
        };
        let found = hex::encode(Sha256::digest(bytes));
        Ok(Self {
            name,
            pinned: sum.map(|sum| sum == found),
            chats: samples.iter().map(read).collect::<Result<_, _>>()?,
        })
    }
}

/// Returns a text field of an object.
pub(super) fn text(of: &Value, key: &str) -> Result<String, Failed> {
    let text = of[key].as_str();
    Ok(text
        .ok_or_else(|| format!("`{key}` is not a text"))?
        .to_owned())
}

/// Returns a list field of an object.
pub(super) fn list<'a>(of: &'a Value, key: &str) -> Result<&'a [Value], Failed> {
    let list = of[key].as_array();
    Ok(list.ok_or_else(|| format!("`{key}` is not a list"))?)
}
