//! LoCoMo: two people, many sessions.

use std::collections::HashMap;

use serde_json::Value;

use super::chat::{Chat, Question, Speaker, Turn, list, text};
use crate::Failed;

pub(super) const SHA256: &str = "79fa87e90f04081343b8c8debecb80a9a6842b76a7aa537dc9fdf651ea698ff4";

pub(super) fn chat(sample: &Value) -> Result<Chat, Failed> {
    let mut chat = Chat::default();
    let mut places = HashMap::new();
    let conversation = &sample["conversation"];
    let sessions = (1..).map_while(|number| {
        // A session without turns has only a date.
        let known = |key: String| conversation.get(key.as_str());
        let turns = known(format!("session_{number}"));
        turns.or(known(format!("session_{number}_date_time")))
    });
    for (session, turns) in sessions.enumerate() {
        for turn in turns.as_array().into_iter().flatten() {
            let mut said = text(turn, "text")?;
            if let Some(caption) = turn["blip_caption"].as_str() {
                said = format!("{said} [photo: {caption}]");
            }
            places.insert(text(turn, "dia_id")?, chat.turns.len());
            chat.turns.push(Turn {
                speaker: Speaker::Person(text(turn, "speaker")?),
                text: said,
                session,
            });
        }
    }
    for asked in list(sample, "qa")? {
        let places = |id: &Value| -> Vec<usize> {
            // Some are combined, such as `D8:6; D9:17`.
            let ids = id.as_str().unwrap_or_default();
            let ids = ids.split(|c: char| c.is_whitespace() || matches!(c, ';' | ','));
            ids.filter_map(|id| places.get(id).copied()).collect()
        };
        let evidence = asked["evidence"].as_array().into_iter().flatten();
        let mut evidence: Vec<usize> = evidence.flat_map(places).collect();
        evidence.sort_unstable();
        evidence.dedup();
        if !evidence.is_empty() {
            let text = text(asked, "question")?;
            chat.questions.push(Question { text, evidence });
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
        let turn = |id: &str| json!({"speaker": "Ann", "dia_id": id, "text": "hi", "blip_caption": "a dog"});
        let sample = json!({
            "conversation": {
                "speaker_a": "Ann",
                "session_1": [turn("D1:1"), turn("D1:2")],
                "session_2_date_time": "8 May",
                "session_3": [turn("D3:1")],
            },
            "qa": [
                {"question": "q", "evidence": ["D1:2; D3:1", "D3:1", "D"]},
                {"question": "none", "evidence": []},
            ],
        });
        let chat = chat(&sample).unwrap();
        let sessions: Vec<usize> = chat.turns.iter().map(|turn| turn.session).collect();
        assert_eq!(sessions, [0, 0, 2]);
        assert_eq!(chat.turns[0].text, "hi [photo: a dog]");
        assert_eq!(chat.turns[0].speaker, Speaker::Person("Ann".into()));
        assert_eq!(chat.questions.len(), 1);
        assert_eq!(chat.questions[0].evidence, [1, 2]);
    }
}
