use crate::preface::PREFACE;

/// The frames of HTTP/2 that carry a head, and the flag of the last one.
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Length, kind, flags, stream.
const FRAME_HEAD: usize = 9;

/// Follows the frames of an HTTP/2 client, to know whether it owes the rest of a head.
#[derive(Debug)]
pub(crate) struct UnfinishedHead {
    frame: [u8; FRAME_HEAD],
    filled: usize,
    /// Bytes of the frame that are to come, or of the preface.
    left: usize,
    /// The last frame of a head is to come, or the first of all.
    unfinished: bool,
}

impl UnfinishedHead {
    /// From a connection's first byte.
    pub(crate) fn new() -> Self {
        Self { frame: [0; FRAME_HEAD], filled: 0, left: PREFACE.len(), unfinished: true }
    }

    /// Goes on behind these bytes, and says whether the client then owes the rest of a head.
    pub(crate) fn follow(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            let passed = self.left.min(bytes.len());
            self.left -= passed;
            bytes = bytes.get(passed..).unwrap_or_default();
            let Some((first, rest)) = bytes.split_first() else { break };
            bytes = rest;
            if let Some(byte) = self.frame.get_mut(self.filled) {
                *byte = *first;
            }
            self.filled += 1;
            if self.filled == FRAME_HEAD {
                self.filled = 0;
                let [a, b, c, kind, flags, ..] = self.frame;
                self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                self.unfinished = is_head(kind) && flags & END_HEADERS == 0;
            }
        }
        let [_, _, _, kind, ..] = self.frame;
        self.unfinished || self.left > 0 && is_head(kind)
    }
}

fn is_head(kind: u8) -> bool {
    matches!(kind, HEADERS | CONTINUATION)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        [&[0, 0, length, kind, flags, 0, 0, 0, 1][..], &vec![b'x'; length.into()]].concat()
    }

    #[test]
    fn a_head_is_owed_until_its_last_byte_however_it_arrives() {
        const SETTINGS: u8 = 4;
        const DATA: u8 = 0;
        let pieces: [(Vec<u8>, bool); 9] = [
            (PREFACE.to_vec(), true),
            (frame(SETTINGS, 0, 6), false),
            (frame(HEADERS, END_HEADERS, 40), false),
            (frame(DATA, 0, 200)[..100].to_vec(), false),
            (frame(DATA, 0, 200)[100..].to_vec(), false),
            (frame(HEADERS, 0, 0), true),
            (frame(CONTINUATION, 0, 3), true),
            (frame(CONTINUATION, END_HEADERS, 3), false),
            (frame(HEADERS, END_HEADERS, 9)[..17].to_vec(), true),
        ];
        let (mut whole, mut by_byte) = (UnfinishedHead::new(), UnfinishedHead::new());
        for (index, (bytes, owes)) in pieces.iter().enumerate() {
            assert_eq!(whole.follow(bytes), *owes, "{index}");
            assert_eq!(bytes.iter().map(|byte| by_byte.follow(&[*byte])).last(), Some(*owes), "{index}");
        }
        let at_once: Vec<u8> = pieces.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        assert!(UnfinishedHead::new().follow(&at_once));
    }
}
