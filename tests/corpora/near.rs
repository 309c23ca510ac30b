/// Bytes near to those of a corpus, without end: the same in each run.
pub(crate) struct Near<'a> {
    seeds: &'a [&'a [u8]],
    largest: usize,
    state: u64,
}

/// What makes a difference to parsers, beside single bytes.
const WORDS: &[&[u8]] = &[
    b"%2e",
    b"%2f",
    b"%5c",
    b"%25",
    b"%00",
    b"..",
    b"//",
    b"/../",
    b";",
    b"\\",
    b"\0",
    b"\r\n",
    b"\n",
    b"\t",
    b" ",
    b"\"",
    b"'",
    b"{{",
    b"}}",
    b"*",
    b"[",
    b"]",
    b": ",
    b",",
    b"=",
    b"&",
    b"#",
    b"-",
    b"_",
    b"\xc3\xbc",
    b"\xff",
    b"\xe2\x80\xa8",
    b"null",
    b"true",
    b"{",
    b"}",
    b"0",
    b"99999999999999999999",
];

impl<'a> Near<'a> {
    pub(crate) fn new(seeds: &'a [&'a [u8]], largest: usize) -> Self {
        Self { seeds, largest, state: 0x9e37_79b9_7f4a_7c15 }
    }

    /// A number below another (splitmix64).
    fn below(&mut self, end: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bits = usize::try_from((bits ^ (bits >> 31)) >> 32).expect("32 bits");
        bits % end.max(1)
    }

    fn change(&mut self, data: &mut Vec<u8>) {
        let (at, to) = (self.below(data.len() + 1), self.below(data.len() + 1));
        let range = at.min(to)..at.max(to);
        match self.below(6) {
            0 => drop(data.drain(at..data.len().min(at + 1 + self.below(4)))),
            1 => drop(data.splice(at..at, WORDS[self.below(WORDS.len())].iter().copied())),
            2 => drop(data.splice(range, WORDS[self.below(WORDS.len())].iter().copied())),
            3 => {
                let piece = data[range].to_vec();
                data.splice(at..at, piece);
            }
            4 => {
                let other = self.seeds[self.below(self.seeds.len())];
                let from = self.below(other.len() + 1);
                data.truncate(at);
                data.extend_from_slice(&other[from..]);
            }
            _ => {
                let bit = 1 << self.below(8);
                if let Some(byte) = data.get_mut(at) {
                    *byte ^= bit;
                }
            }
        }
    }
}

impl Iterator for Near<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut data = self.seeds[self.below(self.seeds.len())].to_vec();
        for _ in 0..=self.below(3) {
            self.change(&mut data);
        }
        data.truncate(self.largest);
        Some(data)
    }
}
