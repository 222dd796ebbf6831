//! One report after the other of a stream, whatever lies between them and however they are indented. A bad
//! one is skipped; the next begins at the next line that begins with `{`.

use std::io::{self, Read};

use memchr::{memchr, memchr_iter};

use serde_json::Value;

use super::lean::{Head, Lean};
use crate::report::SCHEMA;
use crate::report::saved::{self, LIMIT_BYTES, NoReport};

/// How much is read at once: several reports.
const CHUNK: usize = 1 << 20;
/// How much is read again in search of the next report behind broken ones, before the rest is given
/// up: a file can be made such that each of its lines begins one that never ends.
const MOST_READ_AGAIN: u64 = 64 << 20;

/// What was found in a stream.
pub(super) type Found<'a> = Result<Lean<'a>, String>;

/// Calls `found` with each report of `input`, or with why it is none, and with the line that it begins in.
///
/// # Errors
/// Those of reading.
pub(super) fn each(
    input: impl Read,
    buffer: &mut Vec<u8>,
    mut found: impl FnMut(u64, Found),
) -> io::Result<()> {
    buffer.clear();
    let mut stream = Stream { input, buffer, at: 0, passed: 0, line: 1, ended: false };
    let mut again = 0;
    while stream.at_text()? {
        let rest = &stream.buffer[stream.at..];
        let whole = stream.ended || rest.len() as u64 > LIMIT_BYTES;
        let (length, skip) = match take(rest, stream.line, whole, stream.ended) {
            Taken::Report(lean, length) => {
                found(stream.line, Ok(*lean));
                (length, Skip::Nothing)
            }
            Taken::Fault(why, length, skip) => {
                found(stream.line, Err(why));
                (length, skip)
            }
            Taken::Short => {
                stream.more()?;
                continue;
            }
        };
        let before = stream.passed;
        stream.forward(length);
        stream.skip(skip)?;
        if let Skip::Broken(read) = skip {
            again += read.saturating_sub(stream.passed - before);
        }
        if again > MOST_READ_AGAIN {
            found(stream.line, Err("too much before it is broken: the rest is not read".to_owned()));
            return Ok(());
        }
    }
    Ok(())
}

enum Taken<'a> {
    Report(Box<Lean<'a>>, usize),
    Fault(String, usize, Skip),
    /// It goes on behind what was read so far.
    Short,
}

/// Where the next report is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Skip {
    Nothing,
    /// In the next line.
    Line,
    /// In the next line that begins with `{`, after so many bytes had been read when it broke.
    Broken(u64),
}

/// The first report of a text that does not begin with space, in that line of its file. Of a
/// `whole` text there is no more to come, or no more is waited for.
fn take(text: &[u8], at: u64, whole: bool, ended: bool) -> Taken<'_> {
    let fault = |why: NoReport, length, skip| Taken::Fault(why.to_string(), length, skip);
    if text.first() != Some(&b'{') {
        let message = "expected an object".to_owned();
        return fault(NoReport::NotJson { line: line(at, 1), column: 1, message }, 0, Skip::Line);
    }
    let mut reports = serde_json::Deserializer::from_slice(text).into_iter::<Lean>();
    let error = match reports.next() {
        Some(Ok(lean)) if lean.schema.as_str() == SCHEMA => {
            return Taken::Report(Box::new(lean), reports.byte_offset());
        }
        Some(Ok(lean)) => {
            let other = NoReport::OtherSchema(saved::short(lean.schema.as_str()));
            return fault(other, reports.byte_offset(), Skip::Nothing);
        }
        Some(Err(error)) => error,
        None => return Taken::Short,
    };
    // It may be sound JSON of another kind.
    let mut objects = serde_json::Deserializer::from_slice(text).into_iter::<Head>();
    let error = match objects.next() {
        Some(Ok(head)) => {
            let why = match head.schema {
                Some(Value::String(schema)) if schema == SCHEMA => NoReport::Malformed {
                    line: line(at, error.line()),
                    column: error.column(),
                    message: saved::expectation(&error),
                },
                Some(Value::String(schema)) if schema.starts_with("edgeprep.") => {
                    NoReport::OtherSchema(saved::short(&schema))
                }
                _ => NoReport::Foreign,
            };
            return fault(why, objects.byte_offset(), Skip::Nothing);
        }
        Some(Err(error)) if error.is_eof() && !whole => return Taken::Short,
        Some(Err(error)) => error,
        None => return Taken::Short,
    };
    let message = saved::expectation(&error);
    let (why, read) = match error.is_eof() {
        true if ended => (NoReport::Truncated { line: line(at, error.line()), message }, text.len()),
        true => (NoReport::TooLarge, text.len()),
        false => {
            let read = memchr_iter(b'\n', text).nth(error.line().saturating_sub(1)).unwrap_or(text.len());
            (NoReport::NotJson { line: line(at, error.line()), column: error.column(), message }, read)
        }
    };
    fault(why, 1, Skip::Broken(u64::try_from(read).unwrap_or(u64::MAX)))
}

/// The line of a file in which the line `of` of a report is that begins in line `at`, both from 1.
fn line(at: u64, of: usize) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX).saturating_add(of).saturating_sub(1)
}

struct Stream<'a, R> {
    input: R,
    buffer: &'a mut Vec<u8>,
    /// Where the rest of the buffer begins.
    at: usize,
    /// How many bytes were before that.
    passed: u64,
    /// The line of that.
    line: u64,
    /// Whether the buffer has the last of the input.
    ended: bool,
}

impl<R: Read> Stream<'_, R> {
    /// Reads on: as much again as the buffer has.
    fn more(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let wanted = self.buffer.len().max(CHUNK);
        let read =
            self.input.by_ref().take(u64::try_from(wanted).unwrap_or(u64::MAX)).read_to_end(self.buffer)?;
        self.ended = read < wanted;
        Ok(())
    }

    /// Goes to the next character that is no space, past the mark that some editors write at the beginning.
    fn at_text(&mut self) -> io::Result<bool> {
        loop {
            if self.line == 1 && self.buffer[self.at..].starts_with(b"\xef\xbb\xbf") {
                self.at += 3;
            }
            let rest = &self.buffer[self.at..];
            let blank = rest.iter().position(|byte| !byte.is_ascii_whitespace());
            self.forward(blank.unwrap_or(rest.len()));
            if blank.is_some() {
                return Ok(true);
            }
            if self.ended {
                return Ok(false);
            }
            self.more()?;
        }
    }

    fn forward(&mut self, length: usize) {
        let passed = &self.buffer[self.at..self.at + length];
        self.line += u64::try_from(memchr_iter(b'\n', passed).count()).unwrap_or(u64::MAX);
        self.passed += u64::try_from(length).unwrap_or(u64::MAX);
        self.at += length;
    }

    fn skip(&mut self, skip: Skip) -> io::Result<()> {
        if skip == Skip::Nothing {
            return Ok(());
        }
        loop {
            let Some(end) = memchr(b'\n', &self.buffer[self.at..]) else {
                self.forward(self.buffer.len() - self.at);
                if self.ended {
                    return Ok(());
                }
                self.more()?;
                continue;
            };
            self.forward(end + 1);
            if self.at == self.buffer.len() && !self.ended {
                self.more()?;
            }
            if skip == Skip::Line || self.buffer.get(self.at) == Some(&b'{') {
                return Ok(());
            }
        }
    }
}
