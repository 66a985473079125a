//! The marks of models and chat templates that a server may leave in the text.

/// What a mark means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Reasoning begins.
    Open,
    /// Reasoning ends. Without a beginning, everything before it is reasoning.
    Close,
    /// A tool call begins, until one of these or the end of the answer.
    Call(&'static [&'static str]),
    /// The name of the next speaker follows.
    Role,
    /// A header follows, which names the channel and ends with `<|message|>`.
    Channel,
    /// The model's own words follow.
    Assistant,
    /// Another speaker's words follow.
    Other,
    /// The model's message ends.
    End,
    /// The model's message ends, if nothing follows.
    LastEnd,
    /// Has no meaning here.
    Nothing,
}

/// The result of looking for a mark at the beginning of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    No,
    /// The text is the beginning of a mark.
    Partial,
    /// The mark, and its length in bytes.
    Mark(Mark, usize),
}

/// Characters with which a mark begins.
pub(super) const LEADS: [char; 3] = ['<', '[', '◁'];

/// The longest mark without a fixed spelling, in bytes.
const LONGEST: usize = 64;

/// The end of a message on a channel.
pub(super) const MESSAGE_ENDS: &[&str] = &[
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|start|>",
    "<|channel|>",
];

/// The beginning of reasoning.
const OPENS: &[&str] = &[
    "<think>",
    "<thinking>",
    "<thought>",
    "<thoughts>",
    "<reasoning>",
    "<reflection>",
    "<scratchpad>",
    "<inner_monologue>",
    "<antthinking>",
    "<seed:think>",
    "[think]",
    "◁think▷",
    "<|think|>",
    "<|start_thinking|>",
    "<|begin_of_thought|>",
    "<|inner_prefix|>",
];

/// The end of reasoning. Models do not always use the one that matches the beginning.
pub(super) const CLOSES: &[&str] = &[
    "</think>",
    "</thinking>",
    "</thought>",
    "</thoughts>",
    "</reasoning>",
    "</reflection>",
    "</scratchpad>",
    "</inner_monologue>",
    "</antthinking>",
    "</seed:think>",
    "[/think]",
    "◁/think▷",
    "<|/think|>",
    "<|end_think|>",
    "<|end_thinking|>",
    "<|end_of_thought|>",
    "<|inner_suffix|>",
];

/// Other fixed spellings, compared without regard to ASCII case.
const MARKS: &[(&str, Mark)] = &[
    ("<tool_call>", Mark::Call(&["</tool_call>"])),
    ("<tool_calls>", Mark::Call(&["</tool_calls>"])),
    ("<toolcall>", Mark::Call(&["</toolcall>"])),
    ("<tool_use>", Mark::Call(&["</tool_use>"])),
    ("<function_call>", Mark::Call(&["</function_call>"])),
    (
        "<functioncall>",
        Mark::Call(&["</functioncall>", "<|endoftext|>"]),
    ),
    ("<function_calls>", Mark::Call(&["</function_calls>"])),
    ("<minimax:tool_call>", Mark::Call(&["</minimax:tool_call>"])),
    ("<function=", Mark::Call(&["</function>"])),
    ("<invoke name=", Mark::Call(&["</invoke>"])),
    ("[tool_calls]", Mark::Call(&["[/tool_calls]", "</s>"])),
    ("[tool_call]", Mark::Call(&["[/tool_call]", "</s>"])),
    ("[tool_request]", Mark::Call(&["[end_tool_request]"])),
    ("<|python_tag|>", Mark::Call(&["<|eom_id|>", "<|eot_id|>"])),
    (
        "<|tool_call|>",
        Mark::Call(&["<|/tool_call|>", "<|tool_call_end|>", "</tool_call>"]),
    ),
    ("<|tool_calls|>", Mark::Call(&["<|/tool_calls|>"])),
    (
        "<|tool_calls_section_begin|>",
        Mark::Call(&["<|tool_calls_section_end|>"]),
    ),
    ("<|tool_call_begin|>", Mark::Call(&["<|tool_call_end|>"])),
    ("<|start_action|>", Mark::Call(&["<|end_action|>"])),
    (
        "<｜tool▁calls▁begin｜>",
        Mark::Call(&["<｜tool▁calls▁end｜>"]),
    ),
    (
        "<｜tool▁call▁begin｜>",
        Mark::Call(&["<｜tool▁call▁end｜>"]),
    ),
    ("</tool_call>", Mark::Nothing),
    ("</tool_calls>", Mark::Nothing),
    ("</function_calls>", Mark::Nothing),
    ("<|im_start|>", Mark::Role),
    ("<|start_header_id|>", Mark::Role),
    ("<start_of_turn>", Mark::Role),
    ("<|start|>", Mark::Channel),
    ("<|channel|>", Mark::Channel),
    ("<|assistant|>", Mark::Assistant),
    ("<｜assistant｜>", Mark::Assistant),
    ("[/inst]", Mark::Assistant),
    ("<|user|>", Mark::Other),
    ("<|system|>", Mark::Other),
    ("<|observation|>", Mark::Other),
    ("<｜user｜>", Mark::Other),
    ("[inst]", Mark::Other),
    ("<<sys>>", Mark::Other),
    ("<</sys>>", Mark::Nothing),
    ("<|im_end|>", Mark::End),
    ("<|eot_id|>", Mark::End),
    ("<|eom_id|>", Mark::End),
    ("<|end|>", Mark::End),
    ("<|return|>", Mark::End),
    ("<|endoftext|>", Mark::End),
    ("<|end_of_text|>", Mark::End),
    ("<|end_of_turn|>", Mark::End),
    ("<end_of_turn>", Mark::End),
    ("<｜end▁of▁sentence｜>", Mark::End),
    ("<eos>", Mark::End),
    // Within a text it is HTML.
    ("</s>", Mark::LastEnd),
    ("<bos>", Mark::Nothing),
];

/// Looks for a mark at the beginning of a text. `ended` means that no more text follows.
pub(super) fn mark_at(text: &str, ended: bool) -> Found {
    if !text.starts_with(LEADS) {
        return Found::No;
    }
    let mut partial = false;
    let opens = OPENS.iter().map(|spelling| (*spelling, Mark::Open));
    let closes = CLOSES.iter().map(|spelling| (*spelling, Mark::Close));
    for (spelling, mark) in opens.chain(closes).chain(MARKS.iter().copied()) {
        if starts_with(text, spelling) {
            return Found::Mark(mark, spelling.len());
        }
        partial |= starts_with(spelling, text);
    }
    match any_spelling(text) {
        Found::No if partial && !ended => Found::Partial,
        Found::Partial if ended => Found::No,
        found => found,
    }
}

/// Looks for a mark that is unknown here but has the form of a model's special tokens, such as `<|foo|>`.
fn any_spelling(text: &str) -> Found {
    let bar = |c| matches!(c, '|' | '｜');
    let inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | '▁' | '.');
    let Some(rest) = text.strip_prefix('<') else {
        return Found::No;
    };
    let mut rest = rest.chars();
    match rest.next() {
        None => return Found::Partial,
        Some(c) if bar(c) => {}
        Some(_) => return Found::No,
    }
    let name = rest.as_str();
    let tail = name.trim_start_matches(inside);
    let length = name.len() - tail.len();
    if length > LONGEST {
        return Found::No;
    }
    let mut tail = tail.chars();
    match (tail.next(), tail.next()) {
        (None, _) => Found::Partial,
        (Some(c), None) if bar(c) && length > 0 => Found::Partial,
        (Some(c), Some('>')) if bar(c) && length > 0 => {
            Found::Mark(Mark::Nothing, text.len() - tail.as_str().len())
        }
        _ => Found::No,
    }
}

/// Returns the first of these marks in a text, with its position and length, and how many bytes at the end may begin one of them.
/// A mark in backticks is only mentioned.
pub(super) fn find(text: &str, marks: &[&str], ended: bool) -> (Option<(usize, usize)>, usize) {
    let leads = |c: char| {
        let mut first = marks.iter().filter_map(|mark| mark.chars().next());
        first.any(|first| first.eq_ignore_ascii_case(&c))
    };
    for (at, _) in text.char_indices().filter(|(_, c)| leads(*c)) {
        let rest = &text[at..];
        for mark in marks {
            if starts_with(rest, mark) {
                let after = &rest[mark.len()..];
                if !text[..at].ends_with('`') {
                    return (Some((at, mark.len())), 0);
                }
                if after.is_empty() && !ended {
                    return (None, rest.len() + 1);
                }
                if !after.starts_with('`') {
                    return (Some((at, mark.len())), 0);
                }
            } else if !ended && starts_with(mark, rest) {
                // The character before it shows whether it is only mentioned.
                let before = text[..at].chars().next_back();
                return (None, rest.len() + before.map_or(0, char::len_utf8));
            }
        }
    }
    (None, usize::from(!ended && text.ends_with('`')))
}

/// Whether a text starts with another, without regard to ASCII case.
fn starts_with(text: &str, start: &str) -> bool {
    let head = text.as_bytes().get(..start.len());
    head.is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()))
}
