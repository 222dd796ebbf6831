//! Reads reports, one at a time, and keeps of each what a fleet is made of.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::rc::Rc;

use serde::Serialize;

use super::host::{Host, Source, Words};
use super::{files, stream};
use crate::report::saved::NoReport;

/// So many files and lines that are no reports are listed; the others are counted.
const MOST_FAULTS: usize = 1000;

/// What was found where a report should be, and is not counted as a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Fault {
    /// Where.
    #[serde(flatten)]
    pub source: Source,
    /// Why it is none.
    pub why: String,
}

/// The hosts of a fleet and what is no report, in the order in which they were read.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub hosts: Vec<Host>,
    pub faults: Vec<Fault>,
    /// How many faults there are, with those that are not listed.
    pub unreadable: usize,
    /// How many reports were left out for a later one of the same host.
    pub superseded: usize,
}

impl Gathered {
    /// Reads all that is in `path`.
    ///
    /// # Errors
    /// What was named is not there.
    pub(super) fn read(&mut self, path: &Path, words: &mut Words, buffer: &mut Vec<u8>) -> io::Result<()> {
        files::each(path, &mut |file, opened| {
            let name: Rc<str> = file.to_string_lossy().into();
            let before = self.hosts.len() + self.unreadable;
            let read = opened.and_then(|input| self.read_from(&name, input, words, buffer));
            if let Err(error) = read {
                self.fault(Source { file: name, line: 1 }, format!("cannot be read: {error}"));
            } else if self.hosts.len() + self.unreadable == before {
                self.fault(Source { file: name, line: 1 }, NoReport::Empty.to_string());
            }
        })
    }

    /// Reads a stream of reports.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn read_from(
        &mut self,
        name: &Rc<str>,
        input: impl io::Read,
        words: &mut Words,
        buffer: &mut Vec<u8>,
    ) -> io::Result<()> {
        stream::each(input, buffer, |line, found| {
            let source = Source { file: name.clone(), line };
            match found.and_then(|lean| Host::of(&lean, source.clone(), words)) {
                Ok(host) => self.hosts.push(host),
                Err(why) => self.fault(source, why),
            }
        })
    }

    fn fault(&mut self, source: Source, why: String) {
        self.unreadable += 1;
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(Fault { source, why });
        }
    }

    /// Of several reports of a host, known by machine-id and name, leaves the last: by their times where both
    /// have one, else as they were read.
    pub(super) fn keep_latest(&mut self) {
        let mut last: HashMap<(Box<str>, Option<Box<str>>), usize> = HashMap::new();
        let mut kept = vec![true; self.hosts.len()];
        for (at, host) in self.hosts.iter().enumerate() {
            let Some(id) = host.machine_id.clone() else { continue };
            match last.entry((id, host.name.clone())) {
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(at);
                }
                std::collections::hash_map::Entry::Occupied(mut place) => {
                    let known = &self.hosts[*place.get()];
                    let older = matches!((known.timestamp, host.timestamp), (Some(a), Some(b)) if b < a);
                    if older {
                        kept[at] = false;
                    } else {
                        kept[*place.get()] = false;
                        place.insert(at);
                    }
                }
            }
        }
        let mut at = 0;
        let before = self.hosts.len();
        self.hosts.retain(|_| {
            at += 1;
            kept[at - 1]
        });
        self.superseded = before - self.hosts.len();
    }
}
