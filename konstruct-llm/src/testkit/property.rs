//! The properties of every decoder for arbitrary bytes.

use konstruct_core::{Error, ErrorKind, Result, llm::ModelEvent};

use crate::codec::{Decoder, Wire};

/// Decodes bytes split in two places, and byte by byte, and asserts that the events equal those of the unsplit bytes, with
/// exactly one ending, and nothing after it. Fuzz targets and property tests call it.
///
/// ```
/// # #[cfg(feature = "openai")]
/// konstruct_llm::testkit::decodes_alike(konstruct_llm::OpenAiDecoder::default, b"data: {\"choices\":[]}\n\n", 5, 9);
/// ```
///
/// # Panics
/// If one of these properties does not hold.
pub fn decodes_alike<W: Wire>(
    decoder: impl Fn() -> Decoder<W>,
    bytes: &[u8],
    one: usize,
    other: usize,
) {
    let cut = |at: usize| at % (bytes.len() + 1);
    let (first, second) = (cut(one).min(cut(other)), cut(one).max(cut(other)));
    let whole = events(decoder(), [bytes]);
    let (endings, last) = (
        whole.iter().filter(|event| is_ending(event)).count(),
        whole.last().is_some_and(is_ending),
    );
    assert!(
        endings == 1 && last,
        "expected exactly one ending, as the last event: {whole:?}"
    );
    let thirds = [&bytes[..first], &bytes[first..second], &bytes[second..]];
    assert_eq!(
        events(decoder(), thirds),
        whole,
        "split at {first} and {second}"
    );
    assert_eq!(events(decoder(), bytes.chunks(1)), whole, "byte by byte");
}

type Seen = std::result::Result<ModelEvent, (ErrorKind, String)>;

fn events<'a, W: Wire>(
    mut decoder: Decoder<W>,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<Seen> {
    let mut events: Vec<Result<ModelEvent>> = Vec::new();
    for piece in pieces {
        events.extend(decoder.push(piece));
    }
    events.extend(decoder.finish());
    let told = |error: Error| (error.kind(), error.message().to_owned());
    events
        .into_iter()
        .map(|event| event.map_err(told))
        .collect()
}

fn is_ending(event: &Seen) -> bool {
    matches!(event, Err(_) | Ok(ModelEvent::Finish(_)))
}
