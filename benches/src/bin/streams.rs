//! Decodes every recording of a folder, split everywhere and truncated after every event, and compares the result with plain JSON
//! parsing.
//!
//! Ends with `recordings=N split_differences=N silent_truncations=N errors_unexplained=N`.

use std::{path::PathBuf, process::ExitCode, time::Instant};

use clap::Parser;
use konstruct_benches::{
    Failed,
    dice::Dice,
    streams::{Content, Expected, Wire, recordings},
};
use konstruct_core::{
    Error,
    llm::{Finish, ModelEvent},
};

/// A stream of up to this many bytes is split everywhere, a larger one at 200 places.
const SMALL: usize = 6_000;
const CUTS: usize = 200;

/// Tests the decoding of recordings.
#[derive(Parser)]
struct Arguments {
    /// Folder with the folders `openai`, `anthropic` and `ollama`.
    folder: PathBuf,
}

#[derive(Default)]
struct Tally {
    recordings: usize,
    split_differences: usize,
    silent_truncations: usize,
    errors_unexplained: usize,
}

fn main() -> Result<ExitCode, Failed> {
    let arguments = Arguments::parse();
    let mut tally = Tally::default();
    let mut dice = Dice::new(7);
    for recording in recordings(&arguments.folder)? {
        tally.recordings += 1;
        let told = match &recording.content {
            Content::Kept(kind) => Some(format!("kept: {kind}")),
            Content::Streams { wire, answers } => {
                let answers = answers.iter();
                let told: Vec<String> = answers
                    .filter_map(|data| stream(&mut tally, &mut dice, *wire, data))
                    .collect();
                (!told.is_empty()).then(|| told.join("; "))
            }
            Content::Document { wire, body } => document(&mut tally, *wire, body)?,
        };
        if let Some(told) = told {
            out(&format!("{}: {told}", recording.name));
        }
    }
    large();
    let Tally {
        recordings,
        split_differences,
        silent_truncations,
        errors_unexplained,
    } = tally;
    out(&format!(
        "recordings={recordings} split_differences={split_differences} silent_truncations={silent_truncations} errors_unexplained={errors_unexplained}"
    ));
    let right = recordings > 0 && split_differences + silent_truncations + errors_unexplained == 0;
    Ok(if right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A comparable event: errors by message.
type Seen = Result<ModelEvent, String>;

fn seen(events: Vec<Result<ModelEvent, Error>>) -> Vec<Seen> {
    let told = |error: Error| error.to_string();
    events
        .into_iter()
        .map(|event| event.map_err(told))
        .collect()
}

/// Returns the events of an answer without its usage.
fn said(events: &[Seen]) -> Vec<&Seen> {
    let said = |event: &&Seen| !matches!(event, Ok(ModelEvent::Usage(_) | ModelEvent::Heartbeat));
    events.iter().filter(said).collect()
}

fn stream(tally: &mut Tally, dice: &mut Dice, wire: Wire, data: &[String]) -> Option<String> {
    let frames: Vec<String> = data.iter().map(|data| wire.frame(data)).collect();
    let bytes = frames.concat().into_bytes();
    let whole = seen(wire.decode([&*bytes]));
    let expected = Expected::of_stream(wire, data);

    let all = 0..=bytes.len();
    let cuts: Vec<usize> = if bytes.len() <= SMALL {
        all.collect()
    } else {
        let end = bytes.len() as u64 + 1;
        (0..CUTS)
            .filter_map(|_| usize::try_from(dice.below(end)).ok())
            .collect()
    };
    let mut differences = 0;
    for at in cuts {
        let (head, tail) = bytes.split_at(at);
        differences += usize::from(seen(wire.decode([head, tail])) != whole);
    }
    for size in [1, 2, 97] {
        differences += usize::from(seen(wire.decode(bytes.chunks(size))) != whole);
    }
    tally.split_differences += differences;

    let mut silent = 0;
    let mut length = 0;
    for frame in &frames[..frames.len().saturating_sub(1)] {
        let cut = seen(wire.decode([&bytes[..length]]));
        // Only the usage may follow the finish reason.
        let all = said(&cut) == said(&whole);
        silent += usize::from(!matches!(cut.last(), Some(Err(_))) && !all);
        length += frame.len();
    }
    let mut told = ended(tally, &expected, &whole);
    if matches!(whole.last(), Some(Ok(_))) && expected.error.is_some() {
        silent += 1;
    }
    tally.silent_truncations += silent;
    if differences + silent > 0 {
        let also = format!("{differences} splits differ, {silent} cuts are silent");
        told = Some(told.map_or(also.clone(), |told| format!("{told}; {also}")));
    }
    told
}

fn document(tally: &mut Tally, wire: Wire, body: &str) -> Result<Option<String>, Failed> {
    let expected = Expected::of_document(wire, &serde_json::from_str(body)?);
    let events = match wire.document(body.as_bytes()) {
        Ok(events) => events.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error.to_string())],
    };
    Ok(ended(tally, &expected, &events))
}

/// Compares the end of an answer with the recording. Returns a note unless it is plainly right.
fn ended(tally: &mut Tally, expected: &Expected, events: &[Seen]) -> Option<String> {
    let usage = events.iter().rev().find_map(|event| match event {
        Ok(ModelEvent::Usage(usage)) => Some(*usage),
        _ => None,
    });
    let finish: Result<&Finish, String> = match events.last() {
        Some(Ok(ModelEvent::Finish(finish))) => Ok(finish),
        Some(Err(error)) => Err(error.clone()),
        other => Err(format!("ends with {other:?}")),
    };
    let problem = match (finish, &expected.error) {
        (Err(error), Some(why)) => {
            let why: String = why.chars().take(120).collect();
            return Some(format!("{error}, as expected: {why}"));
        }
        (Err(error), None) => Some(error),
        (Ok(finish), _) => expected.differs(finish, usage.as_ref()),
    };
    let problem = problem?;
    tally.errors_unexplained += 1;
    Some(format!("UNEXPLAINED: {problem}"))
}

/// Decodes one event of 4 MiB in pieces of 97 bytes: in linear time it takes milliseconds.
fn large() {
    let text = "a large event ".repeat(4 * 1024 * 1024 / 14);
    let event = format!("{{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}");
    let bytes = Wire::Chat.frame(&event).into_bytes();
    let started = Instant::now();
    let events = Wire::Chat.decode(bytes.chunks(97));
    let ms = started.elapsed().as_secs_f64() * 1_000.0;
    out(&format!(
        "large=4MiB pieces=97 events={} ms={ms:.1}",
        events.len()
    ));
}

#[expect(clippy::print_stdout, reason = "its lines are what a bench is for")]
fn out(line: &str) {
    println!("{line}");
}
