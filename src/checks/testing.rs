//! What tests of checks share: requirements, a user, and short forms of outcomes.

use crate::facts::users::User;
use crate::facts::{Evidence, Source};
use crate::finding::{Answer, Finding, Outcome, Verdict};
use crate::requirements::{Requirements, Stack};
use crate::workload::Workload;

/// The merged requirements of these stacks.
pub(super) fn requirements(stacks: &[Stack]) -> Requirements {
    Requirements::merge(stacks, &[]).unwrap()
}

/// The user of the fixtures.
pub(super) fn edge() -> User {
    User {
        name: "edge".to_owned(),
        uid: 1000,
        gid: 1000,
        home: "/home/edge".to_owned(),
        shell: "/bin/bash".to_owned(),
        groups: vec![1000],
        at: Evidence::line("/etc/passwd", 1, "edge:x:1000:1000::/home/edge:/bin/bash"),
    }
}

/// The findings of an outcome.
pub(super) fn findings(outcome: &Outcome) -> Vec<&Finding> {
    outcome
        .items
        .iter()
        .filter_map(|item| match &item.answer {
            Answer::Found(finding) => Some(finding.as_ref()),
            Answer::Unknown { .. } => None,
        })
        .collect()
}

/// Subjects and verdicts of an outcome.
pub(super) fn verdicts(outcome: &Outcome) -> Vec<(&str, Verdict)> {
    findings(outcome).into_iter().map(|finding| (finding.subject.as_str(), finding.verdict)).collect()
}

/// The reasons why something could not be determined.
pub(super) fn unknown(outcome: &Outcome) -> Vec<&str> {
    outcome
        .items
        .iter()
        .filter_map(|item| match &item.answer {
            Answer::Unknown { reason, .. } => Some(reason.as_str()),
            Answer::Found(_) => None,
        })
        .collect()
}

/// The merged requirements of these stacks and of the Kubernetes YAML `text` in `web.yaml`.
pub(super) fn workload(stacks: &[Stack], text: &str) -> Requirements {
    let workload = Workload::parse(vec![Source::new("web.yaml", text)]).unwrap();
    requirements(stacks).with_workload(&workload).unwrap()
}
