//! Words that stand somewhere in a line, and a change of a part of a text.

use std::ops::Range;

use crate::facts::Source;
use crate::facts::kernel_cmdline::KernelCmdline;

/// The words in a part of a line.
pub(super) fn words(path: &str, line: u32, text: &str) -> KernelCmdline {
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
