//! The swap areas that are in use. Which are configured (fstab, zram-generator) is not read here.

use std::rc::Rc;

use super::mountinfo::unescape;
use super::{Evidence, Facts, Source};
use crate::host::Fact;

const PATH: &str = "/proc/swaps";

/// A swap area in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swap {
    /// The file or device.
    pub path: String,
    /// `file` or `partition`.
    pub kind: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Where it is listed.
    pub at: Evidence,
}

/// All swap areas in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swaps {
    /// In order of `/proc/swaps`.
    pub swaps: Vec<Swap>,
}

impl Swaps {
    /// Reads `/proc/swaps` (`proc_swaps(5)`). A line that is not of its form is left out.
    pub fn parse(source: &Source) -> Swaps {
        let swaps = source.lines().skip(1).filter_map(|(line, text)| {
            let mut fields = text.split_whitespace();
            let (path, kind) = (fields.next()?, fields.next()?);
            let kib: u64 = fields.next()?.parse().ok()?;
            Some(Swap {
                path: unescape(path),
                kind: kind.to_owned(),
                size_bytes: kib.saturating_mul(1024),
                at: Evidence::line(source.path(), line, text),
            })
        });
        Swaps { swaps: swaps.collect() }
    }
}

impl Facts {
    /// The swap areas in use. A kernel without `CONFIG_SWAP` has no `/proc/swaps`.
    ///
    /// # Errors
    /// When it cannot be read, or nothing runs.
    pub fn swaps(&self) -> Fact<Rc<Swaps>> {
        self.memo_fact("", || {
            self.need_running("swap in use")?;
            Ok(Swaps::parse(&*self.source(PATH)?))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::testing::empty_host;

    #[test]
    fn areas_with_size_and_line() {
        let text = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
                    /dev/zram0                              partition\t1048572\t\t0\t\t100\n\
                    /swap\\040file                          file\t\t524284\t\t12\t\t-2\nbroken\n";
        let facts = empty_host().file(PATH, text).facts();
        let got = facts.swaps().unwrap();
        assert_eq!(got.swaps.len(), 2);
        assert_eq!(got.swaps[0].size_bytes, 1_048_572 * 1024);
        assert_eq!((got.swaps[1].path.as_str(), got.swaps[1].at.line), ("/swap file", Some(3)));
    }

    #[test]
    fn none_in_use() {
        let got = Swaps::parse(&Source::new(PATH, "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"));
        assert_eq!(got.swaps, []);
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s)\\PC{0,20}\n[\\\\0-9a \\t\\n]{0,60}") {
            let _ = Swaps::parse(&Source::new(PATH, text));
        }
    }
}
