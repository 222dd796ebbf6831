//! Makes the plan: from what the checks find to changes and activations, and then once more over the
//! host as it would be, because a file that is written need not be the one that wins.

use super::compare::changes;
use super::read_only;
use super::{Activation, Change, Credentials, Plan};
use crate::facts::Facts;
use crate::facts::session::ServiceManager;
use crate::finding::{Install, Level, Needs};
use crate::fixes::{self, Artifact, FixError, Step};
use crate::host::{Kind, Unread};
use crate::inspection::{Request, RequestError, inspect, wanted};
use crate::report::{Report, ReportedFinding, Row, Status};
use crate::requirements::Stack;
use crate::settings::{K3S_SERVICE, Setting};

/// Where the system's bus listens (D-Bus Specification, "System Message Bus Instance").
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";

/// Whose part is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Scope {
    /// Both.
    #[default]
    All,
    /// What belongs to the system.
    System,
    /// What belongs to the users.
    User,
}

/// Why there is no plan: exit code 2, nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Nothing was judged.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// What was found cannot be planned.
    #[error(transparent)]
    Fix(#[from] FixError),
    /// The host cannot be opened.
    #[error(transparent)]
    Unread(#[from] Unread),
}

/// What a plan is made from.
pub struct Planner<'a> {
    /// Opens the host as it is once these changes are made.
    pub open: &'a dyn Fn(&[Change]) -> Result<Facts, Unread>,
    /// What shall be ready, and for whom.
    pub request: &'a Request,
    /// How settings are reached.
    pub options: &'a fixes::Options,
    /// Whose part is done.
    pub scope: Scope,
}

impl Planner<'_> {
    /// Makes the plan. The same host gives the same plan.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn plan(&self) -> Result<Plan, PlanError> {
        let facts = (self.open)(&[])?;
        let before = inspect(&facts, self.request)?;
        if before.users.iter().any(|user| user.uid == 0) {
            let why = "root runs nothing rootless: name the user who shall, with --user";
            return Err(FixError::Refused(why.to_owned()).into());
        }
        let (_, requirements, users) = wanted(&facts, self.request)?;
        fixes::k3s_network::refuse(&facts, &requirements, &users)?;
        // Without a bus nobody can be told, and what is written takes effect at the next boot.
        let openrc = facts.service_manager() == Ok(ServiceManager::OpenRc);
        let listens = || facts.stat(SYSTEM_BUS).is_ok_and(|stat| stat.kind == Kind::Socket);
        // On Alpine there can be a bus, and systemd is not on it.
        let bus = !facts.running() || (!openrc && listens());
        let files_only = fixes::Options { no_activate: true, ..self.options.clone() };
        let options = if bus { self.options } else { &files_only };
        let mut beaten: Vec<Step> = Vec::new();
        let mut given_up: Vec<Key> = Vec::new();
        let mut untold: Vec<Activation> = Vec::new();
        let fixes = loop {
            let wanted = settings(&before, &given_up);
            let mut fixes = fixes::fixes(&facts, &wanted, options)?;
            if !bus {
                let told = fixes::fixes(&facts, &wanted, self.options)?.activations;
                (untold, fixes.activations) = told.into_iter().partition(Activation::needs_bus);
            }
            let written = inspect(&(self.open)(&changes(&facts, &fixes.artifacts)?)?, self.request)?;
            let lost = lost(&before, &written, &given_up);
            if lost.is_empty() {
                break fixes;
            }
            for (key, step) in lost {
                given_up.push(key);
                push_new(&mut beaten, step);
            }
        };
        let mut read_only: Vec<Step> = Vec::new();
        let writable = fixes.artifacts.into_iter().filter(|artifact| {
            let in_scope = self.in_scope(artifact.by.user().is_some());
            match read_only::instead(&facts, artifact).filter(|_| in_scope) {
                Some(step) => {
                    push_new(&mut read_only, step);
                    false
                }
                None => true,
            }
        });
        let (artifacts, of_root) = writable.partition::<Vec<_>, _>(|artifact| {
            self.in_scope(artifact.by.user().is_some()) && self.may(&facts, artifact.by.user())
        });
        let changes = |artifacts: &[Artifact]| changes(&facts, artifacts);
        let predicted = inspect(&(self.open)(&changes(&artifacts)?)?, self.request)?;
        let mut activations = fixes.activations;
        if self.options.allow_restart && !self.options.no_activate {
            activations.extend(restarts(&facts, &predicted)?);
        }
        if waits_for_boot(&predicted, Stack::K3s) {
            let is_k3s =
                |a: &Activation| matches!(a, Activation::UserStart { unit, .. } if unit == K3S_SERVICE);
            activations.retain(|activation| !is_k3s(activation));
        }
        let (activations, root_activations) = activations
            .into_iter()
            .filter(|activation| self.in_scope(activation.user().is_some()))
            .partition(|activation| self.may(&facts, activation.user()));
        let of_root: Vec<Artifact> =
            of_root.into_iter().filter(|a| self.in_scope(a.by.user().is_some())).collect();
        let mut manual = fixes.manual;
        manual.extend(read_only);
        if openrc {
            untold.iter().filter_map(of_openrc).for_each(|step| push_new(&mut manual, step));
        } else if !untold.is_empty() && !self.options.no_activate && !artifacts.is_empty() {
            let summary = format!("reboot: there is no {SYSTEM_BUS}, so nothing that runs can be told");
            manual.push(Step { summary, commands: Vec::new() });
        }
        beaten.into_iter().chain(by_hand(&before)).for_each(|step| push_new(&mut manual, step));
        Ok(Plan {
            changes: changes(&artifacts)?,
            activations,
            manual,
            for_root: changes(&of_root)?,
            root_activations,
            before,
            predicted,
        })
    }

    /// Whether the caller may do what is this user's, or the system's.
    fn may(&self, facts: &Facts, user: Option<&Credentials>) -> bool {
        let caller = facts.caller().uid;
        !facts.running() || caller == 0 || user.is_some_and(|user| user.uid == caller)
    }

    fn in_scope(&self, of_user: bool) -> bool {
        match self.scope {
            Scope::All => true,
            Scope::System => !of_user,
            Scope::User => of_user,
        }
    }
}

/// Whether a stack lacks something that only a reboot brings, so that there is no use in starting it before.
fn waits_for_boot(predicted: &Report, stack: Stack) -> bool {
    open_findings(predicted).any(|(row, finding)| {
        row.level == Level::Required && finding.needs == Needs::Reboot && finding.stacks.contains(&stack)
    })
}

/// What a person does on a host of OpenRC in place of an activation that systemd would do.
fn of_openrc(activation: &Activation) -> Option<Step> {
    let (summary, command) = match activation {
        Activation::LoadModules { names } => {
            (format!("load {}, or reboot", names.join(", ")), format!("sudo modprobe -a {}", names.join(" ")))
        }
        Activation::ReloadAppArmor => {
            ("load the profile, or reboot".to_owned(), "sudo rc-service apparmor reload".to_owned())
        }
        _ => return None,
    };
    Some(Step { summary, commands: vec![command] })
}

/// The user managers that only a restart gives what is configured.
fn restarts(facts: &Facts, predicted: &Report) -> Result<Vec<Activation>, PlanError> {
    let mut restarts = Vec::new();
    for user in &predicted.users {
        let waits = |(row, finding): (&Row, &ReportedFinding)| {
            row.user.as_ref() == Some(&user.name) && finding.needs == Needs::ReLogin
        };
        if !open_findings(predicted).any(waits) {
            continue;
        }
        let Some(account) = facts.user_by_name(&user.name)? else { continue };
        let ends = facts.units_of_user_manager(user.uid)?;
        restarts.push(Activation::RestartUserManager { user: Credentials::of(&account), ends });
    }
    Ok(restarts)
}

fn push_new(steps: &mut Vec<Step>, step: Step) {
    if !steps.contains(&step) {
        steps.push(step);
    }
}

/// By what a finding is known again in another report.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    check: &'static str,
    user: Option<String>,
    subject: String,
    expected: String,
}

impl Key {
    fn of(row: &Row, finding: &ReportedFinding) -> Key {
        let (subject, expected) = (finding.subject.clone(), finding.expected.clone());
        Key { check: row.id, user: row.user.clone(), subject, expected }
    }
}

/// The findings that are not met, of checks that nobody asked to ignore.
fn open_findings(report: &Report) -> impl Iterator<Item = (&Row, &ReportedFinding)> {
    let failed = report.checks.iter().filter(|row| row.status == Status::Fail);
    failed.flat_map(|row| row.findings.iter().filter(|f| f.verdict != "met").map(move |f| (row, f)))
}

fn settings(report: &Report, given_up: &[Key]) -> Vec<Setting> {
    let mut settings: Vec<Setting> = Vec::new();
    for (_, finding) in open_findings(report).filter(|(row, f)| !given_up.contains(&Key::of(row, f))) {
        for setting in &finding.remedy.settings {
            if !settings.contains(setting) {
                settings.push(setting.clone());
            }
        }
    }
    settings
}

/// The findings whose settings would be written and not hold, because something else wins.
fn lost(before: &Report, predicted: &Report, given_up: &[Key]) -> Vec<(Key, Step)> {
    let mut lost = Vec::new();
    for (row, finding) in open_findings(before) {
        let key = Key::of(row, finding);
        if given_up.contains(&key) || !finding.remedy.settings.iter().any(Setting::has_precedence) {
            continue;
        }
        let still = open_findings(predicted).find(|(row, f)| Key::of(row, f) == key);
        let Some((_, still)) = still.filter(|(_, f)| matches!(f.verdict, "unmet" | "volatile")) else {
            continue;
        };
        let remedy = &still.remedy.summary;
        let summary = match still.evidence.iter().find(|at| at.line.is_some()) {
            Some(winner) => format!("{}: no file of ours wins over {winner}: {remedy}", finding.subject),
            None => format!("{}: no file of ours repairs it: {remedy}", finding.subject),
        };
        lost.push((key, Step { summary, commands: still.remedy.manual.clone() }));
    }
    lost
}

/// What no setting repairs, what is required first. Packages are installed by one command.
fn by_hand(report: &Report) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut installs: Vec<&Install> = Vec::new();
    for level in [Level::Required, Level::Advised] {
        for (_, finding) in open_findings(report).filter(|(row, _)| row.level == level) {
            let remedy = &finding.remedy;
            if !remedy.settings.is_empty() || remedy.summary.is_empty() {
                continue;
            }
            match &remedy.install {
                Some(install) => installs.push(install),
                None => push_new(
                    &mut steps,
                    Step { summary: remedy.summary.clone(), commands: remedy.manual.clone() },
                ),
            }
        }
    }
    let install = |install: Install| {
        let then = if install.waits_for_boot { ", then reboot" } else { "" };
        let summary = format!("install {}{then}", install.packages.join(", "));
        Step { summary, commands: install.commands() }
    };
    Install::merged(installs).into_iter().map(install).chain(steps).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, fixture, openrc_host};

    fn k3s() -> Request {
        Request {
            profile: "generic".to_owned(),
            stacks: vec![Stack::K3s],
            users: vec!["edge".to_owned()],
            today: "2026-01-01".to_owned(),
            ..Request::default()
        }
    }

    fn plan(host: &dyn Fn() -> TestHost, scope: Scope) -> Plan {
        plan_of(host, scope, &k3s())
    }

    fn plan_of(host: &dyn Fn() -> TestHost, scope: Scope, request: &Request) -> Plan {
        let open = |changes: &[Change]| Ok(host().planned(changes));
        let options = fixes::Options::default();
        Planner { open: &open, request, options: &options, scope }.plan().unwrap()
    }

    fn paths(plan: &Plan) -> Vec<&str> {
        plan.changes.iter().map(|change| change.path.as_str()).collect()
    }

    /// A captured machine, on which the bus answers.
    fn debian() -> TestHost {
        fixture("debian-13").path(SYSTEM_BUS, |record| record.kind = Some("socket".to_owned()))
    }

    const DELEGATE: &str = "/etc/systemd/system/user@.service.d/90-rootless.conf";
    const SYSCTL: &str = "/etc/sysctl.d/90-rootless.conf";

    #[test]
    fn a_fresh_host_gets_files_activations_and_what_is_left() {
        let plan = plan(&|| debian(), Scope::All);
        assert!(paths(&plan).contains(&DELEGATE) && paths(&plan).contains(&SYSCTL), "{:?}", paths(&plan));
        assert_eq!(plan.activations.first(), Some(&Activation::Reload));
        assert!(plan.manual.iter().any(|step| step.summary.contains("k3s")), "{:?}", plan.manual);
        assert!(!plan.has_root_part());
    }

    /// K3s stops at once where the memory controller is off, and would be tried again at every fix.
    #[test]
    fn what_waits_for_a_reboot_is_not_started_before() {
        let starts_k3s = |host: &dyn Fn() -> TestHost| {
            let starts =
                |a: &Activation| matches!(a, Activation::UserStart { unit, .. } if unit == K3S_SERVICE);
            plan(host, Scope::All).activations.iter().any(starts)
        };
        let with_k3s = || {
            let program = "/usr/local/bin/k3s";
            debian().file(program, "").mode(program, "0755")
        };
        assert!(starts_k3s(&with_k3s));
        let waits = || {
            with_k3s()
                .file("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io pids\n")
                .file("/proc/cmdline", "cgroup_disable=memory vc_mem.mem_size=0x3ff00000 console=tty1\n")
                .file("/proc/device-tree/compatible", "raspberrypi,4-model-b\0brcm,bcm2711\0")
                .file("/boot/firmware/cmdline.txt", "console=tty1\n")
                .file("/boot/firmware/config.txt", "arm_64bit=1\n")
        };
        assert!(!starts_k3s(&waits));
    }

    #[test]
    fn without_a_bus_files_are_written_and_only_the_kernel_is_told() {
        let plan = plan(&|| fixture("debian-13"), Scope::All);
        assert!(paths(&plan).contains(&DELEGATE));
        assert!(!plan.activations.is_empty() && plan.activations.iter().all(|a| !a.needs_bus()));
        assert!(plan.manual.iter().any(|step| step.summary.starts_with("reboot")), "{:?}", plan.manual);
    }

    /// On Alpine a bus has no systemd on it that could load a module.
    #[test]
    fn openrc_is_told_by_hand() {
        let alpine = || {
            openrc_host()
                .without("/dev/net/tun")
                .path(SYSTEM_BUS, |record| record.kind = Some("socket".to_owned()))
        };
        let request = Request { stacks: vec![Stack::Podman], ..k3s() };
        let plan = plan_of(&alpine, Scope::All, &request);
        assert!(paths(&plan).contains(&"/etc/modules-load.d/rootless.conf"), "{:?}", paths(&plan));
        assert!(plan.activations.iter().all(|activation| !activation.needs_bus()), "{:?}", plan.activations);
        let load = plan.manual.iter().find(|step| step.summary.starts_with("load tun"));
        assert_eq!(load.unwrap().commands, ["sudo modprobe -a tun"]);
        assert!(plan.manual.iter().all(|step| !step.summary.contains(SYSTEM_BUS)), "{:?}", plan.manual);
        let texts = plan
            .changes
            .iter()
            .map(|change| change.path.as_str())
            .chain(plan.manual.iter().flat_map(|step| step.commands.iter().map(String::as_str)));
        for text in texts {
            assert!(
                !text.contains("systemctl") && !text.contains("loginctl") && !text.contains("/systemd/"),
                "{text}"
            );
        }
    }

    #[test]
    fn packages_are_installed_by_one_command() {
        let host = || debian().without("/usr/bin/conmon").without("/usr/bin/crun");
        let request = Request { stacks: vec![Stack::Podman], ..k3s() };
        let manual = plan_of(&host, Scope::All, &request).manual;
        let commands: Vec<&String> = manual.iter().flat_map(|step| &step.commands).collect();
        let installs: Vec<_> = commands.iter().filter(|command| command.contains("apt install")).collect();
        assert_eq!(installs.len(), 1, "{commands:?}");
    }

    #[test]
    fn a_plan_is_the_same_each_time() {
        let shown = || crate::render::fix::plan(&plan(&|| debian(), Scope::All));
        assert_eq!(shown(), shown());
    }

    /// Delegation that a later drop-in takes away is said, not written.
    #[test]
    fn what_cannot_win_is_not_written() {
        let later = "/usr/lib/sysctl.d/99-hardening.conf";
        let host = || debian().file(later, "net.ipv4.ip_forward = 0\n");
        let plan = plan(&host, Scope::All);
        let sysctl = plan.changes.iter().find(|change| change.path == SYSCTL);
        let text = sysctl.map(|change| format!("{:?}", change.after)).unwrap_or_default();
        assert!(!text.contains("ip_forward"), "{text}");
        assert!(plan.manual.iter().any(|step| step.summary.contains(later)), "{:?}", plan.manual);
    }

    #[test]
    fn root_plans_for_both_and_a_user_for_itself() {
        let host = || debian().caller(1000, &[("HOME", "/home/edge"), ("USER", "edge")]);
        let plan = plan(&host, Scope::All);
        assert!(plan.for_root.iter().any(|change| change.path == DELEGATE), "{:?}", plan.for_root);
        assert!(plan.changes.iter().all(|change| change.by.user().is_some()), "{:?}", paths(&plan));
        assert!(plan.root_activations.contains(&Activation::Reload));
    }

    #[test]
    fn a_scope_leaves_the_other_part_alone() {
        let system = plan(&|| debian(), Scope::System);
        assert!(system.changes.iter().all(|change| change.by.user().is_none()));
        let user = plan(&|| debian(), Scope::User);
        assert!(user.changes.iter().all(|change| change.by.user().is_some()), "{:?}", paths(&user));
        assert!(!user.has_root_part());
    }
}
