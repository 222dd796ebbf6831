//! What is kept of each report: a few hundred bytes. Texts that hosts share are there once.

use std::collections::HashMap;
use std::rc::Rc;

use serde::Serialize;

use super::lean::{Lean, LeanRow};
use crate::checks::ALL;
use crate::finding::Needs;
use crate::report::Readiness;

/// No more different checks are known than this; a release has about a hundred.
const MOST_CHECKS: usize = 2000;
/// Nor more stacks.
const MOST_STACKS: usize = 100;
/// No more kernels of a host are told than this.
const MOST_KERNELS: usize = 8;
/// Of what repairs a check so many different texts are kept.
const MOST_REPAIRS: u16 = 4000;

/// What a check says of a host, from the best to the worst. Of several rows the worst counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It does not apply, or the report does not have it.
    #[default]
    Skip,
    /// It was left out on request.
    Ignored,
    /// All is met.
    Pass,
    /// Only something that is advised is not met, or not known.
    Advised,
    /// What is required is configured, and not in effect.
    Pending,
    /// It could not be determined.
    Unknown,
    /// Something required is not met.
    Fail,
}

impl State {
    /// The mark that reports for people have, too.
    pub fn mark(self) -> char {
        match self {
            State::Skip => '.',
            State::Ignored => 'i',
            State::Pass => '+',
            State::Advised => '-',
            State::Pending => '~',
            State::Unknown => '?',
            State::Fail => 'x',
        }
    }

    fn of(row: &LeanRow) -> State {
        match (row.status.as_str(), row.level.as_str()) {
            ("skip", _) => State::Skip,
            ("ignored", _) => State::Ignored,
            ("pass", _) => State::Pass,
            (_, "advised") => State::Advised,
            ("fail", _) => {
                let waits = |verdict: &str| matches!(verdict, "met" | "pending");
                let pending = !row.findings.is_empty()
                    && row.findings.iter().all(|finding| waits(finding.verdict.as_str()));
                if pending { State::Pending } else { State::Fail }
            }
            (_, _) => State::Unknown,
        }
    }
}

/// What hosts of a fleet may differ in: the names of [`Host::traits`].
pub const TRAITS: [&str; 7] =
    ["edgeprep", "distribution", "kernel", "page size", "architecture", "profile", "board"];

/// A text that is there once, by its number.
pub(super) type Sym = u32;

/// Texts that hosts share.
#[derive(Debug, Default)]
pub(super) struct Texts {
    known: HashMap<Rc<str>, Sym>,
    all: Vec<Rc<str>>,
}

impl Texts {
    pub(super) fn number(&mut self, text: &str) -> Sym {
        if let Some(known) = self.known.get(text) {
            return *known;
        }
        let number = Sym::try_from(self.all.len()).unwrap_or(Sym::MAX);
        let text: Rc<str> = text.into();
        self.known.insert(text.clone(), number);
        self.all.push(text);
        number
    }

    pub(super) fn text(&self, number: Sym) -> &str {
        self.all.get(number as usize).map_or("", |text| text)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}

/// The words of all hosts.
#[derive(Debug)]
pub(super) struct Words {
    /// The ids of checks, those of this edgeprep first, in the order of reports.
    pub checks: Texts,
    pub stacks: Texts,
    pub traits: Texts,
    /// What repairs a finding, before it `+` where `edgeprep fix` does.
    pub repairs: Texts,
}

impl Words {
    pub(super) fn new() -> Words {
        let mut checks = Texts::default();
        ALL.iter().for_each(|check| {
            checks.number(check.id);
        });
        let mut repairs = Texts::default();
        repairs.number("");
        Words { checks, stacks: Texts::default(), traits: Texts::default(), repairs }
    }
}

/// A stack of a host: of several users the worst verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HostStack {
    pub name: Sym,
    pub verdict: Readiness,
}

/// A host, as its report says.
#[derive(Debug)]
pub(super) struct Host {
    pub name: Option<Box<str>>,
    pub machine_id: Option<Box<str>>,
    pub node_subnet: Option<Box<str>>,
    /// Whether this is an image, which is no machine yet.
    pub image: bool,
    pub timestamp: Option<u64>,
    pub source: Source,
    pub traits: [Sym; TRAITS.len()],
    pub verdict: Readiness,
    pub needs: Needs,
    pub stacks: Box<[HostStack]>,
    /// The checks that stand in the way, in the order of reports.
    pub blockers: Box<[Sym]>,
    /// By the number of the check; what is not there is skipped.
    pub states: Box<[State]>,
    /// What repairs a check that is not met.
    pub repairs: Box<[(Sym, Sym)]>,
}

/// Where a report comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Source {
    /// The file as it was named or found, `-` for standard input.
    pub file: Rc<str>,
    /// The line that it begins in.
    pub line: u64,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        if self.line == 1 { f.write_str(&self.file) } else { write!(f, "{}:{}", self.file, self.line) }
    }
}

impl Host {
    /// What is kept of a report.
    ///
    /// # Errors
    /// It has what no report has.
    pub(super) fn of(lean: &Lean, source: Source, words: &mut Words) -> Result<Host, String> {
        let host = &lean.host;
        let boxed = |text: &str| Box::<str>::from(text);
        let mut states = Vec::new();
        let mut repairs = Vec::new();
        for row in &lean.checks {
            let check = check(row.id.as_str(), words)?;
            let index = check as usize;
            if states.len() <= index {
                states.resize(index + 1, State::Skip);
            }
            let state = State::of(row);
            states[index] = states[index].max(state);
            if matches!(state, State::Fail | State::Pending | State::Advised) {
                let open = row.findings.iter().find(|finding| finding.verdict.as_str() != "met");
                let remedy = open.map(|finding| &finding.remedy).filter(|r| !r.summary.as_str().is_empty());
                repairs.extend(remedy.map(|remedy| {
                    let mark = if remedy.fixable { "+" } else { "" };
                    (check, words.repair(&format!("{mark}{}", remedy.summary.as_str())))
                }));
            }
        }
        // Of several of a check the first stays.
        repairs.sort_by_key(|(check, _)| *check);
        repairs.dedup_by_key(|(check, _)| *check);
        let mut stacks: Vec<HostStack> = Vec::new();
        let mut blockers = Vec::new();
        for stack in &lean.stacks {
            let known = words.stacks.known.contains_key(stack.name.as_str());
            if words.stacks.len() >= MOST_STACKS && !known {
                return Err("is damaged: there are not so many stacks".to_owned());
            }
            let name = words.stacks.number(stack.name.as_str());
            let verdict = match readiness(stack.verdict.as_str()) {
                Readiness::Ready if !stack.blockers.is_empty() => Readiness::Unknown,
                verdict => verdict,
            };
            match stacks.iter_mut().find(|known| known.name == name) {
                Some(known) => known.verdict = known.verdict.worst(verdict),
                None => stacks.push(HostStack { name, verdict }),
            }
            for id in &stack.blockers {
                blockers.push(check(id.as_str(), words)?);
            }
        }
        blockers.sort_unstable();
        blockers.dedup();
        let or_unknown = |text: Option<&str>| text.unwrap_or("not known").to_owned();
        let os = match (&host.os.id, &host.os.version_id) {
            (Some(id), Some(version)) => format!("{} {}", id.as_str(), version.as_str()),
            (Some(id), None) => id.as_str().to_owned(),
            (None, _) => or_unknown(None),
        };
        let board = [&host.hardware.vendor, &host.hardware.model];
        let board: Vec<&str> = board.into_iter().flatten().map(|text| text.as_str()).collect();
        let kernels: Vec<&str> =
            host.kernel.iter().take(MOST_KERNELS).map(|kernel| kernel.as_str()).collect();
        let some =
            |texts: Vec<&str>, between: &str| Some(texts.join(between)).filter(|text| !text.is_empty());
        let texts = [
            lean.version.as_str().to_owned(),
            os,
            or_unknown(some(kernels, ", ").as_deref()),
            host.page_bytes.map_or_else(|| or_unknown(None), |bytes| bytes.to_string()),
            or_unknown(host.arch.as_ref().map(|arch| arch.as_str())),
            lean.profile.name.as_str().to_owned(),
            or_unknown(some(board, " ").as_deref()),
        ];
        Ok(Host {
            name: host.name.as_ref().map(|name| boxed(name.as_str())),
            machine_id: host.machine_id_hash.as_ref().map(|id| boxed(id.as_str())),
            node_subnet: host.node_subnet.as_ref().map(|network| boxed(network.as_str())),
            image: lean.mode.as_str() == "image",
            timestamp: lean.timestamp,
            source,
            traits: texts.map(|text| words.traits.number(&text)),
            verdict: stacks.iter().map(|s| s.verdict).reduce(Readiness::worst).unwrap_or(Readiness::Unknown),
            needs: lean.stacks.iter().map(|stack| needs(stack.needs.as_str())).max().unwrap_or_default(),
            stacks: stacks.into(),
            blockers: blockers.into(),
            states: states.into(),
            repairs: repairs.into(),
        })
    }

    /// What the host is called: its name, else where its report comes from.
    pub(super) fn label(&self) -> String {
        self.name.as_ref().map_or_else(|| format!("({})", self.source), |name| name.to_string())
    }

    pub(super) fn state(&self, check: Sym) -> State {
        self.states.get(check as usize).copied().unwrap_or_default()
    }
}

impl Words {
    fn repair(&mut self, text: &str) -> Sym {
        let full = self.repairs.len() >= usize::from(MOST_REPAIRS);
        if full && !self.repairs.known.contains_key(text) { 0 } else { self.repairs.number(text) }
    }
}

fn readiness(word: &str) -> Readiness {
    match word {
        "ready" => Readiness::Ready,
        "pending" => Readiness::Pending,
        "not-ready" => Readiness::NotReady,
        _ => Readiness::Unknown,
    }
}

fn needs(word: &str) -> Needs {
    match word {
        "none" => Needs::None,
        "re-login" => Needs::ReLogin,
        _ => Needs::Reboot,
    }
}

fn check(id: &str, words: &mut Words) -> Result<Sym, String> {
    if let Some(known) = words.checks.known.get(id) {
        return Ok(*known);
    }
    let sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if id.is_empty() || id.len() > 64 || !id.bytes().all(sound) || words.checks.len() >= MOST_CHECKS {
        return Err("is damaged: what it names is no check".to_owned());
    }
    Ok(words.checks.number(id))
}
