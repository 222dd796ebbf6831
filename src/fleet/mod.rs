//! Many reports as one picture: how many hosts are ready, which checks stand in the way of which hosts, what
//! only a fleet shows, and what changed since. Reports are read one at a time ([`Fleet::read`]); of
//! each a few hundred bytes are kept.

mod comparison;
mod drift;
mod duplicates;
mod files;
mod gather;
mod groups;
mod host;
mod lean;
mod stream;
mod summary;
#[cfg(test)]
mod tests;

pub use comparison::{Change, CheckChange, Comparison, HostChange, KnownBy, Moved, Seen};
pub use drift::{Drift, Value};
pub use duplicates::{NodeSubnet, Shared};
pub use gather::Fault;
pub use groups::{Group, Repair};
pub use host::{Source, State, TRAITS};
pub use summary::{CheckSum, Fleet, HostRow, StackSum, Sums};

use std::io;
use std::path::{Path, PathBuf};

use gather::Gathered;
use host::Words;

/// The hosts of one or two sets of reports, before anything is made of them.
#[derive(Debug)]
pub struct Reports {
    words: Words,
    buffer: Vec<u8>,
}

/// What was read of one set of reports.
#[derive(Debug)]
pub struct Hosts(Gathered);

impl Default for Reports {
    fn default() -> Reports {
        Reports { words: Words::new(), buffer: Vec::new() }
    }
}

impl Hosts {
    /// Whether nothing at all was found, not even what is no report.
    pub fn is_empty(&self) -> bool {
        self.0.hosts.is_empty() && self.0.unreadable == 0
    }
}

impl Reports {
    /// Reads files, all that is in folders, `-` for standard input. With `latest`, of several
    /// reports of a host only the last counts.
    ///
    /// # Errors
    /// What was named is not there: the path with it.
    pub fn read(&mut self, paths: &[PathBuf], latest: bool) -> Result<Hosts, (PathBuf, io::Error)> {
        let mut gathered = Gathered::default();
        for path in paths {
            let read = gathered.read(path, &mut self.words, &mut self.buffer);
            read.map_err(|error| (path.clone(), error))?;
        }
        if latest {
            gathered.keep_latest();
        }
        Ok(Hosts(gathered))
    }

    /// Reads what is already open.
    ///
    /// # Errors
    /// Those of reading.
    pub fn read_from(&mut self, name: &Path, input: impl io::Read) -> io::Result<Hosts> {
        let mut gathered = Gathered::default();
        gathered.read_from(&name.to_string_lossy().into(), input, &mut self.words, &mut self.buffer)?;
        Ok(Hosts(gathered))
    }

    /// The picture of all hosts.
    pub fn fleet<'a>(&'a self, hosts: &'a Hosts) -> Fleet<'a> {
        summary::fleet(&hosts.0, &self.words)
    }

    /// What changed from `old` to `new`.
    pub fn comparison<'a>(&'a self, old: &'a Hosts, new: &'a Hosts) -> Comparison<'a> {
        comparison::comparison(&old.0, &new.0, &self.words)
    }
}
