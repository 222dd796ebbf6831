//! What edgeprep is asked, and what it says.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::machine::Machine;
use super::trial::STEP;

/// Where it is on a machine.
pub(crate) const EDGEPREP: &str = "/usr/local/bin/edgeprep";

/// A verdict, and the checks that are to blame for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Says {
    pub(crate) verdict: String,
    pub(crate) blockers: Vec<String>,
}

/// Services of root's Podman that run for as long as somebody asks them, and a few seconds more.
const ENDS_BY_ITSELF: &str = "systemctl stop podman.service netavark-dhcp-proxy.service";

/// What edgeprep says without and with its probes, which leave no trace.
pub(crate) fn reports(machine: &mut Machine, stacks: &[&str]) -> Result<(Value, Value)> {
    let report = check(machine, stacks, "")?;
    machine.run(ENDS_BY_ITSELF, STEP)?;
    let before = traces(machine)?;
    let probed = check(machine, stacks, "--probe")?;
    let left = traces(machine)?;
    let differs = difference(&before, &left);
    if !differs.is_empty() {
        bail!("the probes leave a trace:\n{}", differs.join("\n"));
    }
    Ok((report, probed))
}

/// The lines that one has and the other has not.
pub(crate) fn difference(before: &str, after: &str) -> Vec<String> {
    let (before, after): (BTreeSet<&str>, BTreeSet<&str>) =
        (before.lines().collect(), after.lines().collect());
    let gone = before.difference(&after).map(|line| format!("-{line}"));
    gone.chain(after.difference(&before).map(|line| format!("+{line}"))).collect()
}

pub(crate) fn named(stacks: &[&str]) -> String {
    stacks.iter().map(|stack| format!("--stack {stack} ")).collect()
}

pub(crate) fn check(machine: &mut Machine, stacks: &[&str], options: &str) -> Result<Value> {
    let ran = machine
        .run(&format!("{EDGEPREP} check --format json --user edge {options} {}", named(stacks)), STEP)?;
    serde_json::from_str(&ran.output).with_context(|| format!("edgeprep check said {:?}", ran.output))
}

/// What a probe could leave or take away: processes, mounts, cgroups, network interfaces and files, also where
/// the home directory is a mount. The kernel loads the module of a device that is opened, as it does for the
/// stack, and udev takes note of that.
fn traces(machine: &mut Machine) -> Result<String> {
    let script = "ps -e -o pid=,comm= | grep -vE ' (ps|grep|sort|bash|find|timeout|kworker.*|.udev-worker.)$'; cat /proc/self/mountinfo
        find /sys/fs/cgroup -type d | sort; ip -o link
        grep -r . --include=cgroup.subtree_control /sys/fs/cgroup | sort
        find /home /home/edge /tmp /var /run /run/user/1000 /dev/shm /etc /root /dev -xdev -not -path '/var/log/*' -not -path '/run/log/*' -not -path '/var/lib/edgeprep-lab/*' -not -path '/run/systemd/*' -not -path '/run/udev*' \
            -not -path '/dev/char*' -not -path '/dev/net/tun' -printf '%p %T@ %s\\n' | sort -u";
    Ok(machine.run(script, STEP)?.output)
}

pub(crate) fn says(report: &Value, stack: &str) -> Result<Says> {
    let stacks = report["stacks"].as_array().context("no stacks")?;
    let found = stacks.iter().find(|one| one["name"] == *stack).context("the stack is not in the report")?;
    let blockers = found["blockers"].as_array().into_iter().flatten();
    Ok(Says {
        verdict: found["verdict"].as_str().context("no verdict")?.to_owned(),
        blockers: blockers.filter_map(Value::as_str).map(str::to_owned).collect(),
    })
}

/// The rows of a check.
fn rows<'a>(report: &'a Value, id: &'a str) -> Result<impl Iterator<Item = &'a Value> + Clone> {
    let checks = report["checks"].as_array().context("no checks")?;
    let mut rows = checks.iter().filter(move |row| row["id"] == *id).peekable();
    rows.peek().with_context(|| format!("no check {id} in the report"))?;
    Ok(rows)
}

/// Whether a check finds something, of one subject or at all; it has to know.
pub(crate) fn finds(report: &Value, id: &str, subject: Option<&str>) -> Result<bool> {
    let mut rows = rows(report, id)?;
    if let Some(row) = rows.clone().find(|row| row["status"] == "unknown") {
        bail!("{id} does not know: {}", row["reason"]);
    }
    if !rows.clone().any(|row| row["status"] == "pass" || row["status"] == "fail") {
        bail!("{id} did not look");
    }
    let Some(subject) = subject else {
        return Ok(rows.any(|row| row["status"] == "fail"));
    };
    let findings = rows.flat_map(|row| row["findings"].as_array().into_iter().flatten());
    let mut of_it = findings.filter(|finding| finding["subject"] == subject).peekable();
    of_it.peek().with_context(|| format!("{id} did not look at {subject}"))?;
    Ok(of_it.any(|finding| finding["verdict"] != "met"))
}

/// Whether a fix repairs all that keeps a stack from being ready.
pub(crate) fn is_fixable(report: &Value, stack: &str) -> Result<bool> {
    let Says { blockers, .. } = says(report, stack)?;
    for id in &blockers {
        let mut open = rows(report, id)?
            .filter(|row| row["level"] == "required")
            .flat_map(|row| row["findings"].as_array().into_iter().flatten())
            .filter(|finding| !matches!(finding["verdict"].as_str(), Some("met" | "volatile")))
            .filter(|finding| {
                finding["stacks"].as_array().is_some_and(|stacks| stacks.contains(&stack.into()))
            })
            .peekable();
        // What blocks without a finding is not known.
        if open.peek().is_none() || !open.all(|finding| finding["remedy"]["fixable"] == true) {
            return Ok(false);
        }
    }
    Ok(!blockers.is_empty())
}
