/// Decodes `%xx` once, as lenient servers do: what is no escape stands for itself.
pub fn decoded(text: &[u8]) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    while at < text.len() {
        match (text[at], text.get(at + 1).and_then(digit), text.get(at + 2).and_then(digit)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).expect("two digits"));
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// Where a path leads, as each kind of server reads it: as it is, decoded once and twice, and each of these with `;` ending
/// a segment, or with `\` for `/`. Dot segments are followed, and what is left of a segment is decoded to its end, so that
/// only readings differ that separate or climb otherwise.
pub fn of(path: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let once = decoded(path);
    let twice = decoded(&once);
    let texts = [path.to_vec(), once, twice];
    texts.iter().flat_map(|text| [segments(text, false, false), segments(text, true, false), segments(text, false, true)]).collect()
}

/// Fails unless a path leads all kinds of servers to one place, and this text, which is decoded already, leads there too.
pub fn assert_one_meaning(path: &[u8], decoded: &[u8]) {
    let readings = of(path);
    let asked = [segments(decoded, false, false), segments(decoded, true, false), segments(decoded, false, true)];
    for reading in readings.iter().chain(&asked) {
        assert_eq!(reading, &readings[0], "{:?} leads to several places", String::from_utf8_lossy(path));
    }
}

fn segments(text: &[u8], parameters: bool, backslashes: bool) -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    for segment in text.split(|byte| *byte == b'/' || (backslashes && *byte == b'\\')) {
        let segment = if parameters { segment.split(|byte| *byte == b';').next().unwrap_or_default() } else { segment };
        match segment {
            b"" | b"." => {}
            b".." => drop(found.pop()),
            segment => found.push(segment.to_vec()),
        }
    }
    found.into_iter().map(to_the_end).collect()
}

fn to_the_end(mut segment: Vec<u8>) -> Vec<u8> {
    loop {
        let next = decoded(&segment);
        if next == segment {
            return segment;
        }
        segment = next;
    }
}
