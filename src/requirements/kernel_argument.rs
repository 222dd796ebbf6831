//! What is wanted of the kernel command line.

use std::fmt;

use crate::facts::Source;
use crate::facts::cgroup::Controller;
use crate::facts::kernel_cmdline::{KernelCmdline, Parameter};

/// A word that the kernel shall be passed, or shall not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelArgument {
    /// `NAME` or `NAME=VALUE`; a forbidden `NAME` stands for all its values.
    pub word: String,
    /// Whether it is wanted, not forbidden.
    pub wanted: bool,
    /// The controller that it is there for: a kernel that offers it does without.
    pub for_controller: Option<Controller>,
}

impl KernelArgument {
    /// Whether no kernel command line satisfies both.
    pub fn contradicts(&self, other: &KernelArgument) -> bool {
        match (self.wanted, other.wanted) {
            (true, false) => word_of(&self.word).is_some_and(|word| word.is(&other.word)),
            (false, true) => other.contradicts(self),
            (true, true) => {
                word_of(&self.word).is_some_and(|word| word.decides(&other.word) && !word.is(&other.word))
            }
            (false, false) => false,
        }
    }
}

fn word_of(word: &str) -> Option<Parameter> {
    KernelCmdline::parse(&Source::new("", word)).parameters.pop()
}

impl fmt::Display for KernelArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.wanted { "wanted" } else { "forbidden" }, self.word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_command_line_satisfies_is_a_contradiction() {
        let argument = |text: &str| {
            let (wanted, word) = text.split_at(1);
            KernelArgument { word: word.to_owned(), wanted: wanted == "+", for_controller: None }
        };
        for (one, other, contradicts) in [
            ("+a=1", "-a=1", true),
            ("+a=1", "-a", true),
            ("+a=1", "-a=2", false),
            ("+a=1", "+a=2", true),
            ("+a=1", "+a=1", false),
            ("-a", "-a=1", false),
            ("+console=tty1", "+console=ttyS0", false),
            ("+cgroup_enable=memory", "+cgroup_disable=memory", true),
            ("+cgroup_enable=memory", "-cgroup_disable=memory", false),
            ("+cgroup_enable=memory", "+cgroup_enable=cpuset", false),
        ] {
            assert_eq!(argument(one).contradicts(&argument(other)), contradicts, "{one} {other}");
            assert_eq!(argument(other).contradicts(&argument(one)), contradicts, "{other} {one}");
        }
    }
}
