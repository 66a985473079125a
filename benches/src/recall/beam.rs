//! BEAM, in the format of the corpus.

use std::collections::HashMap;

use serde_json::Value;

use super::chat::{Chat, Question, Speaker, Turn, list};
use crate::Failed;

pub(super) const SHA256: &str = "84eb716486d3b1c0b88001ae988aab103dd12c1e5901954db9db82c443527eed";

pub(super) fn chat(sample: &Value) -> Result<Chat, Failed> {
    let mut chat = Chat::default();
    let mut places = HashMap::new();
    let (mut session, mut anchor) = (0, "");
    for turn in list(sample, "turns")? {
        let (Some(id), Some(role), Some(text)) =
            (turn[0].as_u64(), turn[1].as_str(), turn[2].as_str())
        else {
            return Err("a turn is not [id, role, text, anchor]".into());
        };
        if let Some(now) = turn[3].as_str().filter(|now| *now != anchor) {
            session += usize::from(!chat.turns.is_empty());
            anchor = now;
        }
        places.insert(id, chat.turns.len());
        chat.turns.push(Turn {
            speaker: if role == "user" {
                Speaker::Person(String::new())
            } else {
                Speaker::Employee
            },
            text: text.to_owned(),
            session,
        });
    }
    for question in list(sample, "qs")? {
        let text = question[0].as_str().ok_or("a question is not a text")?;
        let ids = question[1]
            .as_array()
            .ok_or("a question has no list of ids")?;
        let evidence = ids
            .iter()
            .filter_map(|id| places.get(&id.as_u64()?).copied());
        let evidence: Vec<usize> = evidence.collect();
        if !evidence.is_empty() {
            chat.questions.push(Question {
                text: text.to_owned(),
                evidence,
            });
        }
    }
    Ok(chat)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_chat_is_read_with_its_sessions() {
        let sample = json!({
            "id": "1",
            "turns": [
                [0, "user", "a", "March-1"], [1, "assistant", "b", null], [4, "user", "c", "March-1"], [5, "user", "d", "April-2"],
            ],
            "qs": [["q", [1, 5, 99], "kind"], ["nothing", [], "kind"]],
        });
        let chat = chat(&sample).unwrap();
        let sessions: Vec<usize> = chat.turns.iter().map(|turn| turn.session).collect();
        assert_eq!(sessions, [0, 0, 0, 1]);
        assert_eq!(chat.turns[1].speaker, Speaker::Employee);
        assert_eq!(chat.questions.len(), 1);
        assert_eq!(chat.questions[0].evidence, [1, 3]);
    }
}
