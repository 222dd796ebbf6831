//! From a log to the checks: reads it once, in bounded memory, finds the [`symptoms`](crate::symptoms), and
//! asks the checks that they point to.

mod excerpt;
mod lines;
mod matcher;

use std::collections::BTreeMap;
use std::io::{self, Read};

use serde::Serialize;

use crate::checks::ALL;
use crate::exit_code;
use crate::facts::Facts;
use crate::inspection::{Request, RequestError, inspect};
use crate::report::{NOT_SELECTED, Report, Row, Status};
use crate::requirements::Stack;
use crate::settings::quoted;
use crate::symptoms::{Pointer, Symptom};

use lines::Lines;
use matcher::Matcher;

/// The name and version of the format.
pub const SCHEMA: &str = "edgeprep.diagnosis/1";

/// What is no text, by how it begins, and what makes text of it.
const NO_TEXT: [(&[u8], &str, &str); 4] = [
    (b"\x1f\x8b", "compressed", "zcat FILE | edgeprep diagnose"),
    (b"\xfd7zXZ", "compressed", "xzcat FILE | edgeprep diagnose"),
    (b"\x28\xb5\x2f\xfd", "compressed", "zstdcat FILE | edgeprep diagnose"),
    (b"LPKSHHRH", "a journal of systemd", "journalctl --file FILE | edgeprep diagnose"),
];

/// What a log says, and what the host says to it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Diagnosis {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The version of edgeprep.
    pub version: &'static str,
    /// How many lines were read.
    pub lines: u64,
    /// What was recognised: first what stands in the way on the host, and of that what breaks everything;
    /// then what no check looks at, then what is met.
    pub hits: Vec<Hit>,
    /// What the checks say that were pointed to; none where none was.
    pub report: Option<Report>,
    /// The exit code of `edgeprep diagnose`.
    pub exit_code: u8,
}

/// A symptom that was found.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Hit {
    /// Its id.
    pub symptom: String,
    /// What is behind it.
    pub cause: String,
    /// In how many lines.
    pub count: u64,
    /// The first of them.
    pub first: Place,
    /// The last of them.
    pub last: Place,
    /// The first line, cut around the message, without what looks like a secret.
    pub text: String,
    /// The stacks that it is known of; none where it is any.
    pub stacks: Vec<Stack>,
    /// Of which versions this is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub versions: Option<String>,
    /// The checks that look at the cause.
    pub checks: Vec<Pointer>,
    /// Whether all that the checks were asked is met on the host; none where nothing was asked.
    pub met: Option<bool>,
    /// What helps where no check repairs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<String>,
    /// Where this is known from.
    pub sources: Vec<String>,
}

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Place {
    /// The file; none for standard input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line, from 1.
    pub line: u64,
}

/// Reads logs and remembers what was found.
pub struct Logs<'a> {
    symptoms: &'a [Symptom],
    matcher: Matcher,
    found: BTreeMap<usize, Hit>,
    lines: u64,
}

impl<'a> Logs<'a> {
    /// Nothing was read yet.
    pub fn new(symptoms: &'a [Symptom]) -> Logs<'a> {
        Logs { symptoms, matcher: Matcher::new(symptoms), found: BTreeMap::new(), lines: 0 }
    }

    /// Reads a log to its end.
    ///
    /// # Errors
    /// Those of the system, and [`io::ErrorKind::InvalidData`] for what is no text, with what makes it text.
    pub fn read(&mut self, file: Option<&str>, log: impl Read) -> io::Result<()> {
        let mut lines = Lines::new(log);
        let start = lines.start()?;
        if let Some((_, what, command)) = NO_TEXT.iter().find(|(magic, ..)| start.starts_with(magic)) {
            let command = command.replace("FILE", &quoted(file.unwrap_or("FILE")));
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is {what}: {command}")));
        }
        let mut last = 0;
        while let Some((line, text)) = lines.next()? {
            last = line;
            for shown in lines::shown(text) {
                let text = lines::plain(shown);
                for one in self.matcher.find(&text) {
                    let place = Place { file: file.map(str::to_owned), line };
                    match self.found.get_mut(&one.symptom) {
                        Some(hit) if hit.last == place => {}
                        Some(hit) => (hit.count, hit.last) = (hit.count + 1, place),
                        None => {
                            let text = excerpt::excerpt(&text, one.start);
                            self.found
                                .insert(one.symptom, Hit::new(&self.symptoms[one.symptom], place, text));
                        }
                    }
                }
            }
        }
        self.lines += last;
        Ok(())
    }

    /// Asks the host. Where `request` names no stacks, those are asked that the symptoms are known of. What
    /// is advised counts as required, because the log says that it is missed.
    ///
    /// # Errors
    /// As [`inspect`].
    pub fn diagnose(self, facts: &Facts, request: Request) -> Result<Diagnosis, RequestError> {
        let mut hits: Vec<Hit> = self.found.into_values().collect();
        let request = about(&hits, request);
        let report = if request.select.is_empty() { None } else { Some(inspect(facts, &request)?) };
        let mut ranks: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for hit in &mut hits {
            let rows = report.as_ref().map(|report| hit.rows(report)).unwrap_or_default();
            let open: Vec<&Row> = rows.iter().filter(|row| is_open(row)).collect();
            let asked = rows.iter().any(|row| row.status == Status::Pass);
            hit.met = if open.is_empty() { asked.then_some(true) } else { Some(false) };
            let place = |id: &str| ALL.iter().position(|check| check.id == id);
            let first = if open.is_empty() {
                hit.checks.iter().filter_map(|one| place(&one.check)).min()
            } else {
                open.iter().filter_map(|row| place(row.id)).min()
            };
            let group = match hit.met {
                Some(false) => 0,
                None => 1,
                Some(true) => 2,
            };
            ranks.insert(hit.symptom.clone(), (group, first.unwrap_or(usize::MAX)));
        }
        hits.sort_by_key(|hit| ranks.get(&hit.symptom).copied());
        Ok(Diagnosis {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            lines: self.lines,
            hits,
            exit_code: report.as_ref().map_or(exit_code::DONE, |report| report.summary.exit_code),
            report,
        })
    }
}

impl Hit {
    fn new(symptom: &Symptom, place: Place, text: String) -> Hit {
        let Symptom { id, cause, stacks, versions, checks, repair, sources, patterns: _, except: _ } =
            symptom.clone();
        Hit {
            symptom: id,
            cause,
            count: 1,
            first: place.clone(),
            last: place,
            text,
            stacks,
            versions,
            checks,
            met: None,
            repair,
            sources,
        }
    }

    /// What its checks say in a report, each of the subjects that are meant.
    pub fn rows(&self, report: &Report) -> Vec<Row> {
        let of_check = |row: &Row| {
            let pointers = || self.checks.iter().filter(|one| one.check == row.id);
            let globs: Option<Vec<String>> = pointers().map(|one| one.subject.clone()).collect();
            match globs {
                _ if row.reason.as_deref() == Some(NOT_SELECTED) || pointers().next().is_none() => None,
                Some(globs) => row.narrowed(&globs),
                None => Some(row.clone()),
            }
        };
        report.checks.iter().filter_map(of_check).collect()
    }
}

/// Whether a row says that something is not as it should be, or that it is not known.
pub fn is_open(row: &Row) -> bool {
    matches!(row.status, Status::Fail | Status::Unknown)
}

/// The request for what the hits point to.
fn about(hits: &[Hit], request: Request) -> Request {
    let mut subjects: BTreeMap<String, Option<Vec<String>>> = BTreeMap::new();
    for pointer in hits.iter().flat_map(|hit| &hit.checks) {
        let globs = subjects.entry(pointer.check.clone()).or_insert_with(|| Some(Vec::new()));
        match &pointer.subject {
            None => *globs = None,
            Some(subject) => globs.iter_mut().for_each(|globs| globs.push(subject.clone())),
        }
    }
    let stacks = if request.stacks.is_empty() { stacks(hits) } else { request.stacks };
    Request {
        stacks,
        select: subjects.keys().cloned().collect(),
        subjects: subjects.into_iter().filter_map(|(check, globs)| Some((check, globs?))).collect(),
        strict: true,
        ..request
    }
}

/// The stacks whose logs these are: those that a symptom is known of alone, else all that are named.
fn stacks(hits: &[Hit]) -> Vec<Stack> {
    let alone: Vec<Stack> =
        hits.iter().filter(|hit| hit.stacks.len() == 1).flat_map(|hit| hit.stacks.clone()).collect();
    if alone.is_empty() { hits.iter().flat_map(|hit| hit.stacks.clone()).collect() } else { alone }
}

#[cfg(test)]
mod tests;
