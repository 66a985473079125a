//! LongMemEval: one question for each chat; the turns that contain its answer are marked.

use serde_json::Value;

use super::chat::{Chat, Question, Speaker, Turn, list, text};
use crate::Failed;

pub(super) fn chat(sample: &Value) -> Result<Chat, Failed> {
    let mut chat = Chat::default();
    let mut evidence = Vec::new();
    for (session, turns) in list(sample, "haystack_sessions")?.iter().enumerate() {
        for turn in turns.as_array().ok_or("a session is not a list")? {
            if turn["has_answer"] == true {
                evidence.push(chat.turns.len());
            }
            chat.turns.push(Turn {
                speaker: if turn["role"] == "user" {
                    Speaker::Person(String::new())
                } else {
                    Speaker::Employee
                },
                text: text(turn, "content")?,
                session,
            });
        }
    }
    if !evidence.is_empty() {
        let text = text(sample, "question")?;
        chat.questions.push(Question { text, evidence });
    }
    Ok(chat)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn marked_turns_are_evidence() {
        let sample = json!({
            "question": "q",
            "haystack_sessions": [
                [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "has_answer": false}],
                [{"role": "user", "content": "c", "has_answer": true}],
            ],
        });
        let chat = chat(&sample).unwrap();
        assert_eq!(chat.questions[0].evidence, [2]);
        assert_eq!(chat.turns[2].session, 1);
        assert_eq!(chat.turns[1].speaker, Speaker::Employee);
    }
}
