//! The lines of a log, in bounded memory, without what terminals and encoders put into them.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read};

use memchr::memchr2;

/// A longer line comes in parts.
const PART_BYTES: usize = 64 << 10;
/// What two parts have in common, so that no message is lost between them.
const SHARED_BYTES: usize = 1 << 10;
const ESCAPE: u8 = 0x1b;
const BELL: u8 = 0x07;

/// Reads a log.
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    part: Vec<u8>,
    number: u64,
    within: bool,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(reader: R) -> Lines<R> {
        Lines {
            reader: BufReader::with_capacity(PART_BYTES, reader),
            part: Vec::new(),
            number: 0,
            within: false,
        }
    }

    /// The first bytes, for those that are no text.
    pub(super) fn start(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    /// The next line, or the next part of one, with its number from 1.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        let kept = if self.within { self.part.len().min(SHARED_BYTES) } else { 0 };
        self.part.drain(..self.part.len() - kept);
        let room = (PART_BYTES - kept) as u64;
        if self.reader.by_ref().take(room).read_until(b'\n', &mut self.part)? == 0 {
            return Ok(None);
        }
        self.number += u64::from(!self.within);
        self.within = self.part.last() != Some(&b'\n');
        Ok(Some((self.number, self.part.strip_suffix(b"\n").unwrap_or(&self.part))))
    }
}

/// The texts of a line that stood on the terminal one after the other.
pub(super) fn shown(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b'\r').filter(|text| !text.is_empty())
}

/// A text without escape sequences of terminals, and with quotes that an encoder escaped as they were, at any
/// depth: `msg=\"\\\"/\\\" is not\"` is `msg=""/" is not"`.
pub(super) fn plain(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr2(ESCAPE, b'\\', text) else { return Cow::Borrowed(text) };
    let mut out = Vec::with_capacity(text.len());
    out.extend_from_slice(&text[..first]);
    let mut rest = &text[first..];
    while let Some((&byte, after)) = rest.split_first() {
        let skipped = match byte {
            ESCAPE => sequence(after),
            b'\\' => {
                let depth = after.iter().take_while(|&&byte| byte == b'\\').count();
                match after.get(depth) {
                    Some(b'"') => depth,
                    Some(b'n' | b't') => {
                        out.push(b' ');
                        depth + 1
                    }
                    _ => {
                        out.extend_from_slice(&rest[..=depth]);
                        depth
                    }
                }
            }
            byte => {
                out.push(byte);
                0
            }
        };
        rest = &after[skipped..];
        let next = memchr2(ESCAPE, b'\\', rest).unwrap_or(rest.len());
        out.extend_from_slice(&rest[..next]);
        rest = &rest[next..];
    }
    Cow::Owned(out)
}

/// The length of an escape sequence after its first byte (ECMA-48): `[` to a letter, `]` to a bell or the
/// next escape, else one byte.
fn sequence(after: &[u8]) -> usize {
    match after.first() {
        None => 0,
        Some(b'[') => {
            let end = after.iter().skip(1).position(|byte| (0x40..=0x7e).contains(byte));
            end.map_or(after.len(), |end| end + 2)
        }
        Some(b']') => match memchr2(BELL, ESCAPE, after) {
            Some(end) => end + usize::from(after[end] == BELL),
            None => after.len(),
        },
        Some(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    fn all(text: &[u8]) -> Vec<(u64, usize)> {
        let mut lines = Lines::new(text);
        let mut all = Vec::new();
        while let Some((number, line)) = lines.next().unwrap() {
            all.push((number, line.len()));
        }
        all
    }

    #[test]
    fn lines_are_counted_and_long_ones_come_in_parts() {
        assert_eq!(all(b""), []);
        assert_eq!(all(b"a\n\nbc"), [(1, 1), (2, 0), (3, 2)]);
        let long = [vec![b'x'; 100_000], b"\nend\n".to_vec()].concat();
        let parts = all(&long);
        assert_eq!(parts.last(), Some(&(2, 3)));
        assert!(parts.iter().all(|(_, length)| *length <= PART_BYTES), "{parts:?}");
        assert_eq!(parts.iter().filter(|(number, _)| *number == 1).count(), 2);
    }

    #[test]
    fn a_message_between_two_parts_is_in_one_of_them() {
        let mut text = vec![b'x'; PART_BYTES - 5];
        text.extend_from_slice(b"no space left on device");
        let mut lines = Lines::new(&text[..]);
        let mut found = 0;
        while let Some((_, line)) = lines.next().unwrap() {
            found += usize::from(line.windows(23).any(|window| window == b"no space left on device"));
        }
        assert_eq!(found, 1);
    }

    #[test]
    fn what_terminals_and_encoders_add_is_taken_away() {
        for (text, expected) in [
            (&b"\x1b[36mINFO\x1b[0m[0000] a"[..], &b"INFO[0000] a"[..]),
            (b"\x1b]8;;https://x\x07link\x1b]8;;\x07", b"link"),
            (b"msg=\"\\\"/\\\" is not\"", b"msg=\"\"/\" is not\""),
            (b"{\"m\":\"a \\\\\\\"b\\\\\\\" c\"}", b"{\"m\":\"a \"b\" c\"}"),
            (b"failed\\nError", b"failed Error"),
            (b"dev-disk\\x2dby", b"dev-disk\\x2dby"),
            (b"end\\", b"end\\"),
            (b"end\x1b[", b"end"),
            (b"a\x1b]0;title\x1b\\b\x1b]0;c", b"ab"),
        ] {
            assert_eq!(plain(text), expected, "{}", String::from_utf8_lossy(text));
        }
        let shown: Vec<&[u8]> = shown(b"10 %\r20 %\rError: x\r").collect();
        assert_eq!(shown, [&b"10 %"[..], b"20 %", b"Error: x"]);
    }

    #[test]
    fn sequences_that_do_not_end_are_read_once() {
        let text = b"\x1b]".repeat(1 << 20);
        let started = Instant::now();
        assert_eq!(plain(&text), &b""[..]);
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_stop(text in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = all(&text);
            prop_assert!(plain(&text).len() <= text.len());
        }

        #[test]
        fn nor_do_escapes(text in "[\\\\\"nt\u{1b}\\]\\[m;0-9a\u{7}\r\n]{0,80}") {
            prop_assert!(plain(text.as_bytes()).len() <= text.len());
        }
    }
}
