//! Words that stand somewhere in a line, and a change of a part of a text.

use std::ops::Range;

use crate::facts::Source;
use crate::facts::kernel_cmdline::KernelCmdline;

/// What no kernel holds of its command line, in bytes (`COMMAND_LINE_SIZE`): words behind are never passed.
const LIMIT_BYTES: usize = 64 << 10;
/// The most words that are told of those that nobody reads.
pub(super) const UNHEARD: usize = 1024;

/// The words in a part of a line.
pub(super) fn words(path: &str, line: u32, text: &str) -> KernelCmdline {
    let text = text.get(..text.floor_char_boundary(LIMIT_BYTES)).unwrap_or(text);
    let mut words = KernelCmdline::parse(&Source::new(path, text));
    for word in &mut words.parameters {
        word.at.line = Some(line);
    }
    words
}

/// The text with `new` in place of a range of it.
pub(super) fn splice(text: &str, range: Range<usize>, new: &str) -> Option<String> {
    Some(format!("{}{new}{}", text.get(..range.start)?, text.get(range.end..)?))
}
