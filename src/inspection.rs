//! One look at one host: chooses profile, stacks and users, runs the checks and makes the report.

mod profiles;
mod recognition;
mod workload;

pub use workload::workload;

use std::collections::BTreeMap;

use recognition::Identity;

use crate::checks::ALL;
use crate::facts::boot::BootWant;
use crate::facts::users::User;
use crate::facts::version::Version;
use crate::facts::{Evidence, Facts, POLICY_DIR};
use crate::host::{Mode, Unread};
use crate::host_summary::HostSummary;
use crate::probes::{self, Trials};
use crate::profile::{Layer, ProfileError, Waiver};
use crate::report::{self, ProfileChoice, Report, Selection, Summary, UserName};
use crate::requirements::{Requirements, Stack};
use crate::workload::{Malformed, Workload, quadlet};

/// The file of a site, below [`POLICY_DIR`].
pub const SITE_FILE: &str = "edgeprep.toml";
/// The folder of a site's own profiles, below [`POLICY_DIR`].
pub const SITE_PROFILES: &str = "profiles";
/// What is looked at where neither the command line, the site nor the profile names stacks.
const DEFAULT_STACKS: [Stack; 2] = [Stack::Podman, Stack::K3s];

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `auto`, a name or a file.
    pub profile: String,
    /// The stacks; empty for the default.
    pub stacks: Vec<Stack>,
    /// The users by name or UID; empty for the default.
    pub users: Vec<String>,
    /// What the files of a workload ask.
    pub workload: Option<Workload>,
    /// Globs of check ids.
    pub select: Vec<String>,
    /// Globs of check ids.
    pub ignore: Vec<String>,
    /// Of these checks only what they say of subjects that match one of the globs.
    pub subjects: BTreeMap<String, Vec<String>>,
    /// Advised counts as required.
    pub strict: bool,
    /// Today as `YYYY-MM-DD`, for waivers.
    pub today: String,
}

/// Why nothing was judged: exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Bad policy.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A file of a workload that is none.
    #[error(transparent)]
    Workload(#[from] Malformed),
    /// The host's users cannot be read.
    #[error(transparent)]
    Unread(#[from] Unread),
    /// A name that is not there.
    #[error("no user {name:?} in /etc/passwd{}", listed(.regular))]
    NoSuchUser {
        /// The name.
        name: String,
        /// Those there are.
        regular: Vec<String>,
    },
    /// Nobody to look at.
    #[error(
        "no regular user in /etc/passwd: create the one who shall run containers, or name one with --user"
    )]
    NoUser,
    /// Too many to choose from.
    #[error("several users could run containers: name one with --user{}", listed(.regular))]
    SeveralUsers {
        /// They.
        regular: Vec<String>,
    },
    /// A glob that selects nothing.
    #[error("no check matches {glob:?}: edgeprep list checks shows them")]
    NoSuchCheck {
        /// The glob.
        glob: String,
    },
    /// A Quadlet file, and no stack that runs it.
    #[error("{file}: nothing in it is for {}: add --stack podman-kube", comma(.stacks))]
    NothingAsked {
        /// The file.
        file: String,
        /// The stacks.
        stacks: Vec<Stack>,
    },
    /// More than one profile recognises the hardware.
    #[error(
        "the profiles {} {} recognise this hardware\n{}\nEither name one, with --profile {first} or with \
         profile = {first:?} in {POLICY_DIR}/{SITE_FILE};\nor make [recognise] of one of them narrower, so that \
         it does not match here.",
        all(.names),
        if .names.len() == 2 { "both" } else { "all" },
        .why.join("\n"),
        first = .names.first().map_or("", String::as_str)
    )]
    Ambiguous {
        /// Their names.
        names: Vec<String>,
        /// What they recognise it by.
        why: Vec<String>,
    },
}

fn all(names: &[String]) -> String {
    match names {
        [some @ .., last] if !some.is_empty() => format!("{} and {last}", some.join(", ")),
        _ => names.concat(),
    }
}

fn comma(stacks: &[Stack]) -> String {
    stacks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(" (regular users: {})", names.join(", ")) }
}

/// Looks at a host.
///
/// # Errors
/// [`RequestError`]: nothing was judged then.
pub fn inspect(facts: &Facts, request: &Request) -> Result<Report, RequestError> {
    look(facts, request, |_, _, _| None)
}

/// Looks at a running host, and then tries what can be tried (`--probe`).
///
/// # Errors
/// As [`inspect`].
pub fn inspect_and_probe(facts: &Facts, request: &Request) -> Result<Report, RequestError> {
    look(facts, request, |req, users, selection| Some(probes::run(facts, req, users, selection)))
}

/// The policy that holds for a host, what is wanted by it and by the stacks, and for whom.
///
/// # Errors
/// [`RequestError`].
pub fn wanted(facts: &Facts, request: &Request) -> Result<(Policy, Requirements, Vec<User>), RequestError> {
    let policy = Policy::choose(facts, &request.profile)?;
    let stacks = policy.stacks(request);
    let users = choose_users(facts, request, &policy)?;
    let mut requirements = Requirements::merge(&stacks, &policy.layers)?;
    if let Some(workload) = &request.workload {
        for file in &workload.files {
            if quadlet::Kind::of(file).is_some() && !stacks.contains(&Stack::PodmanKube) {
                let file = file.clone();
                return Err(RequestError::NothingAsked { file, stacks });
            }
        }
        let is_older = |user: &User, since: &Version| {
            let podman = facts.podman(user).ok().flatten();
            podman.and_then(|podman| podman.version.as_ref().ok()?.value.is_at_least(since)) == Some(false)
        };
        let left_out = |since: &Version| !users.is_empty() && users.iter().all(|user| is_older(user, since));
        requirements = requirements.with_workload(&workload.without_limits(left_out))?;
    }
    Ok((policy, requirements, users))
}

fn look(
    facts: &Facts,
    request: &Request,
    probe: impl FnOnce(&Requirements, &[User], &Selection) -> Option<Trials>,
) -> Result<Report, RequestError> {
    for glob in request.select.iter().chain(&request.ignore) {
        if !ALL.iter().any(|check| report::glob_matches(glob, check.id)) {
            return Err(RequestError::NoSuchCheck { glob: glob.clone() });
        }
    }
    let (policy, requirements, users) = wanted(facts, request)?;
    let stacks = requirements.stacks.clone();
    let selection = policy.selection(request)?;
    let said = report::run(facts, &requirements, &users, &selection);
    // After the checks: what is tried can load a module, which they would see.
    let trials = probe(&requirements, &users, &selection);
    let rows = report::rows(said, trials.as_ref(), &selection, facts.running());
    let verdicts = report::verdicts(&rows, &stacks, &users, request.strict);
    let summary = Summary::of(&rows, &verdicts);
    Ok(Report {
        schema: report::SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        timestamp: None,
        mode: facts.mode().as_str(),
        host: HostSummary::of(facts),
        profile: policy.choice,
        workload: request.workload.as_ref().map(|workload| workload.files.clone()),
        users: users.into_iter().map(|User { name, uid, .. }| UserName { name, uid }).collect(),
        stacks: verdicts,
        probes: trials.map(|trials| report::tried(&trials, &rows)),
        checks: rows,
        summary,
    })
}

/// The profile and the site file that hold for a host.
#[derive(Debug)]
pub struct Policy {
    /// What was chosen, and why.
    pub choice: ProfileChoice,
    /// The layers that come after base and stacks: what the profile extends, the profile, then the site file.
    pub layers: Vec<Layer>,
    /// By what the profile recognises the hardware, whether it was chosen for that or named.
    pub recognised_by: Option<String>,
}

impl Policy {
    /// Chooses the profile `wanted`: `auto`, a name or a file.
    ///
    /// # Errors
    /// When there is no such profile, several match, or one is malformed.
    pub fn choose(facts: &Facts, wanted: &str) -> Result<Policy, RequestError> {
        let site = profiles::site_layer(facts, SITE_FILE)?;
        let named = match wanted {
            "auto" => {
                site.as_ref().and_then(|s| s.profile.clone()).map(|(name, at)| (name, Some(at.to_string())))
            }
            name => Some((name.to_owned(), None)),
        };
        let on_command_line = || "named on the command line".to_owned();
        let (found, chosen, why) = match named {
            // Only who runs edgeprep may name a file of the machine it runs on: a site file can be that
            // of a hostile image.
            Some((name, None)) if profiles::is_path(&name) => {
                (profiles::from_named_file(&name)?, "named", on_command_line())
            }
            Some((name, None)) => (profiles::by_name(facts, &name, None)?, "named", on_command_line()),
            Some((name, at)) => {
                let why = format!("{POLICY_DIR}/{SITE_FILE} names it");
                (profiles::by_name(facts, &name, at)?, "named", why)
            }
            None => {
                let (profile, why) = recognition::recognise(facts)?;
                (profile, "auto", why)
            }
        };
        if let Some((_, at)) = site.as_ref().and_then(|site| site.extends.first()) {
            let expected = "extends: only profiles extend each other; expected profile = \"NAME\"".to_owned();
            return Err(ProfileError::Malformed { file: at.file.to_string(), line: at.line, expected }.into());
        }
        let mut layers = profiles::with_parents(facts, found)?;
        let mut name = String::new();
        let mut recognised_by = None;
        let mut why = why;
        let identity = Identity::of(facts);
        let other = recognition::other_hardware(&identity, &layers);
        let boards = recognition::boards(&layers);
        if let Some(profile) = layers.last_mut() {
            name = profile.name().to_owned();
            recognised_by = identity.recognised_by(&profile.recognise).map(|found| found.why);
            if let Some((said, refused)) = other {
                why.push_str(&said);
                profile.boot.refused = Some(refused);
            }
            profile.boot.boards = boards;
        }
        // What is said of the board itself comes before what is said of all like it.
        let notes = layers.iter().rev().chain(&site).flat_map(|layer| layer.notes.clone()).collect();
        layers.extend(site);
        let asked_for = (wanted != "auto").then(|| wanted.to_owned());
        let choice = ProfileChoice { name, chosen, why, notes, asked_for };
        Ok(Policy { choice, layers, recognised_by })
    }

    /// How the hardware boots, as far as policy knows.
    pub fn boot(&self) -> BootWant {
        let mut boot = BootWant::default();
        self.layers.iter().for_each(|layer| boot.take(&layer.boot));
        boot
    }

    fn stacks(&self, request: &Request) -> Vec<Stack> {
        let default: &[Stack] =
            if request.workload.is_some() { &[Stack::PodmanKube] } else { &DEFAULT_STACKS };
        let mut stacks = match &request.stacks[..] {
            [] => self
                .layers
                .iter()
                .rev()
                .map(|layer| layer.stacks.clone())
                .find(|stacks| !stacks.is_empty())
                .unwrap_or_else(|| default.to_vec()),
            named => named.to_vec(),
        };
        stacks.sort_unstable();
        stacks.dedup();
        stacks
    }

    fn user(&self) -> Option<&str> {
        self.layers.iter().rev().find_map(|layer| layer.user.as_deref())
    }

    fn selection(&self, request: &Request) -> Result<Selection, RequestError> {
        let mut selection = Selection {
            select: request.select.clone(),
            ignore: request.ignore.clone(),
            subjects: request.subjects.clone(),
            strict: request.strict,
            ..Selection::default()
        };
        // Of two waivers of a check the site's holds.
        let waivers: BTreeMap<&String, &Waiver> =
            self.layers.iter().flat_map(|layer| &layer.waivers).collect();
        for (id, waiver) in waivers {
            if crate::checks::by_id(id).is_none() {
                let (file, line) = match &waiver.origin {
                    Some(origin) => (origin.file.to_string(), origin.line),
                    None => (String::new(), 0),
                };
                let expected = format!("waive.{id}: expected the id of a check");
                return Err(ProfileError::Malformed { file, line, expected }.into());
            }
            match &waiver.until {
                Some(day) if day.as_str() < request.today.as_str() => {
                    selection.expired.push((id.clone(), day.clone()));
                }
                Some(day) => selection.waived.push((id.clone(), format!("{} (until {day})", waiver.reason))),
                None => selection.waived.push((id.clone(), waiver.reason.clone())),
            }
        }
        Ok(selection)
    }
}

fn choose_users(facts: &Facts, request: &Request, policy: &Policy) -> Result<Vec<User>, RequestError> {
    let by_name = |name: &str| -> Result<User, RequestError> {
        // A name can be all digits, and then it is the name that is meant.
        let user = match (facts.user_by_name(name)?, name.parse()) {
            (Some(user), _) => Some(user),
            (None, Ok(uid)) => facts.user_by_uid(uid)?,
            (None, Err(_)) => None,
        };
        match user.or_else(|| caller(facts, name)) {
            Some(user) => Ok(user),
            None => Err(RequestError::NoSuchUser { name: name.to_owned(), regular: regular(facts)? }),
        }
    };
    if !request.users.is_empty() {
        let mut users: Vec<User> = Vec::new();
        for name in &request.users {
            let user = by_name(name)?;
            if !users.iter().any(|known| known.name == user.name) {
                users.push(user);
            }
        }
        return Ok(users);
    }
    if !facts.captured_users().is_empty() {
        return facts.captured_users().iter().map(|name| by_name(name)).collect();
    }
    // Whoever builds an image has nothing to do with who will use it.
    if facts.mode() != Mode::Image {
        let caller = facts.caller();
        if let Some(name) =
            caller.environment.get("SUDO_USER").filter(|name| !matches!(name.as_str(), "" | "root"))
        {
            return Ok(vec![by_name(name)?]);
        }
        if caller.uid != 0 {
            return match facts.user_by_uid(caller.uid)? {
                Some(user) => Ok(vec![user]),
                None => Ok(vec![by_name(&caller.uid.to_string())?]),
            };
        }
    }
    if let Some(name) = policy.user() {
        return Ok(vec![by_name(name)?]);
    }
    match facts.regular_users()? {
        users if users.is_empty() => Err(RequestError::NoUser),
        users if users.len() == 1 => Ok(users),
        _ => Err(RequestError::SeveralUsers { regular: regular(facts)? }),
    }
}

/// The caller, where only a directory service knows them: a static program cannot ask it.
fn caller(facts: &Facts, name: &str) -> Option<User> {
    let caller = facts.caller();
    let variable = |name: &str| caller.environment.get(name).filter(|value| !value.is_empty()).cloned();
    let (known_as, home) = (variable("USER")?, variable("HOME")?);
    let is_caller = name == known_as || name == caller.uid.to_string();
    (facts.mode() != Mode::Image && caller.uid != 0 && is_caller).then(|| User {
        name: known_as,
        uid: caller.uid,
        gid: caller.gid,
        home,
        shell: String::new(),
        groups: vec![caller.gid],
        at: Evidence::path("/etc/passwd", "does not name the caller, whom the environment does"),
    })
}

fn regular(facts: &Facts) -> Result<Vec<String>, RequestError> {
    Ok(facts.regular_users()?.iter().map(|user| user.name.clone()).collect())
}

/// Whether a look at `/` is one at an image: in a chroot, `/proc` and `/sys` are the build machine's.
/// `SYSTEMD_OFFLINE` says so to systemd's own tools (systemd: `docs/ENVIRONMENT.md`).
pub fn looks_like_chroot(facts: &Facts) -> bool {
    let offline = facts.caller().environment.get("SYSTEMD_OFFLINE").is_some_and(|value| value == "1");
    offline || facts.chroot().is_ok_and(|evidence| evidence.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{TestHost, openrc_host};
    use crate::report::{Readiness, Status};

    fn look_at(host: TestHost, stack: Stack) -> Report {
        let request = Request {
            profile: "generic".to_owned(),
            stacks: vec![stack],
            users: vec!["edge".to_owned()],
            today: "2026-01-01".to_owned(),
            ..Request::default()
        };
        inspect(&host.facts(), &request).unwrap()
    }

    /// Podman runs without systemd, K3s and the clusters do not; nothing else is said of systemd.
    #[test]
    fn alpine_runs_podman_and_no_cluster() {
        let report = look_at(openrc_host(), Stack::Podman);
        assert_eq!(report.stacks[0].verdict, Readiness::Ready, "{:?}", report.stacks[0].blockers);
        for row in report.checks.iter().filter(|row| row.id != "systemd-init") {
            for finding in row.findings.iter().filter(|finding| finding.verdict != "met") {
                let text = format!("{} {:?}", finding.remedy.summary, finding.remedy.manual);
                assert!(!text.contains("systemctl") && !text.contains("systemd"), "{}: {text}", row.id);
            }
            assert!(row.status != Status::Unknown, "{}: {:?}", row.id, row.reason);
        }
        for stack in [Stack::PodmanKube, Stack::K3s, Stack::Kind, Stack::Usernetes] {
            let report = look_at(openrc_host(), stack);
            assert_eq!(report.stacks[0].verdict, Readiness::NotReady);
            assert!(report.stacks[0].blockers.contains(&"systemd-init"), "{:?}", report.stacks[0].blockers);
        }
    }
}
