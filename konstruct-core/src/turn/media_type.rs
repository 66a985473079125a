//! Recognizes images and recordings by their first bytes, because the declared type comes from the sender.

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// An image that models accept, by its media type.
    Image(&'static str),
    /// An image in another format.
    OtherImage,
    /// A recording, by its media type.
    Audio(&'static str),
    /// A video, or an image that moves.
    Moving,
    /// Anything else, possibly a document.
    Other,
}

/// Returns what a file is. Containers that hold both recordings and videos are recordings if they were declared so.
pub(super) fn file_kind(data: &[u8], declared_audio: bool) -> FileKind {
    let container = |audio| {
        if declared_audio {
            FileKind::Audio(audio)
        } else {
            FileKind::Moving
        }
    };
    match data {
        [0xff, 0xd8, 0xff, ..] => FileKind::Image("image/jpeg"),
        [0x89, b'P', b'N', b'G', ..] => FileKind::Image("image/png"),
        [b'G', b'I', b'F', b'8', ..] if moves(data) => FileKind::Moving,
        [b'G', b'I', b'F', b'8', ..] => FileKind::Image("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, rest @ ..] => match rest {
            // The flags of an extended file say that it is an animation.
            [
                b'W',
                b'E',
                b'B',
                b'P',
                b'V',
                b'P',
                b'8',
                b'X',
                _,
                _,
                _,
                _,
                flags,
                ..,
            ] if flags & 2 != 0 => FileKind::Moving,
            [b'W', b'E', b'B', b'P', ..] => FileKind::Image("image/webp"),
            [b'W', b'A', b'V', b'E', ..] => FileKind::Audio("audio/wav"),
            [b'A', b'V', b'I', b' ', ..] => FileKind::Moving,
            _ => FileKind::Other,
        },
        [b'O', b'g', b'g', b'S', ..] => FileKind::Audio("audio/ogg"),
        [b'I', b'D', b'3', ..] | [0xff, 0xfb | 0xfa | 0xf3 | 0xf2 | 0xe3, ..] => {
            FileKind::Audio("audio/mpeg")
        }
        [0xff, 0xf1 | 0xf9, ..] => FileKind::Audio("audio/aac"),
        [b'f', b'L', b'a', b'C', ..] => FileKind::Audio("audio/flac"),
        [b'#', b'!', b'A', b'M', b'R', ..] => FileKind::Audio("audio/amr"),
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => match brand {
            [b'M', b'4', b'A' | b'B', ..] => FileKind::Audio("audio/mp4"),
            [b'h', b'e', ..] | [b'm', b'i' | b's', b'f', b'1', ..] | [b'a', b'v', b'i', ..] => {
                FileKind::OtherImage
            }
            _ => container("audio/mp4"),
        },
        [0x1a, 0x45, 0xdf, 0xa3, ..] => container("audio/webm"),
        [0, 0, 1, 0xba | 0xb3, ..] | [b'F', b'L', b'V', 1, ..] => FileKind::Moving,
        [b'I', b'I', b'*', 0, ..]
        | [b'M', b'M', 0, b'*', ..]
        | [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => FileKind::OtherImage,
        _ => FileKind::Other,
    }
}

/// Returns whether a GIF declares that it repeats, as animations do.
fn moves(data: &[u8]) -> bool {
    let head = &data[..data.len().min(4096)];
    head.windows(11).any(|part| part == b"NETSCAPE2.0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_what_their_bytes_are() {
        let check = |data: &[u8], declared_audio, expected| {
            assert_eq!(file_kind(data, declared_audio), expected, "{data:?}");
        };
        check(b"\xff\xd8\xff\xe0", false, FileKind::Image("image/jpeg"));
        check(b"GIF89a", true, FileKind::Image("image/gif"));
        check(b"GIF89a..\x21\xff\x0bNETSCAPE2.0", false, FileKind::Moving);
        check(
            b"RIFF\0\0\0\0WEBPVP8 ",
            false,
            FileKind::Image("image/webp"),
        );
        check(
            b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x02",
            false,
            FileKind::Moving,
        );
        check(b"RIFF\0\0\0\0WAVE", false, FileKind::Audio("audio/wav"));
        check(b"OggS\0", false, FileKind::Audio("audio/ogg"));
        check(b"\0\0\0\x20ftypM4A ", false, FileKind::Audio("audio/mp4"));
        check(b"\0\0\0\x20ftypisom", false, FileKind::Moving);
        check(b"\0\0\0\x20ftypisom", true, FileKind::Audio("audio/mp4"));
        check(b"\0\0\0\x20ftypheic", true, FileKind::OtherImage);
        check(b"\x1a\x45\xdf\xa3", true, FileKind::Audio("audio/webm"));
        // The byte order mark of UTF-16 is not the beginning of an MP3.
        check(b"\xff\xfeH\0i\0", false, FileKind::Other);
        check(b"%PDF-1.7", true, FileKind::Other);
        check(b"<!doctype html>", true, FileKind::Other);
        check(b"", true, FileKind::Other);
    }
}
