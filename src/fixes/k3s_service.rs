//! The unit that runs K3s without root, enabled, and the drop-in with its variables. A unit that is there
//! already is enabled by `user_unit`.

use super::draft::{Agreed, Draft, PUBLIC, Place, one_line};
use super::k3s_environment::{check, line};
use super::sections::{Entry, with_entries};
use super::user_unit::preset;
use super::{FixError, Wanted, template};
use crate::facts::k3s_snapshotter::FUSE_OVERLAYFS;
use crate::facts::unit_syntax::{assignments, words};
use crate::facts::users::User;
use crate::facts::{Facts, Source};
use crate::plan::{Activation, Credentials, State, Writer};
use crate::settings::Setting;

const UNIT: &str = "k3s-rootless.service";
const NAME: &str = "90-rootless.conf";
/// As in the unit that K3s publishes (k3s: k3s-rootless.service).
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Variables can hold tokens: only the user reads them.
const PRIVATE: u32 = 0o600;

/// One unit: a user's own or, in an image, that of some users.
#[derive(Default)]
struct Service {
    users: Vec<User>,
    program: Agreed,
    environment: Agreed,
}

pub(super) fn add(draft: &mut Draft<'_>, settings: &[Setting]) -> Result<(), FixError> {
    let mut services: Vec<Service> = Vec::new();
    for setting in settings {
        let Setting::K3sService { user, program, environment } = setting else { continue };
        let user = draft.user(user)?;
        let running = draft.facts.running();
        let known = services.iter().any(|service| !running || service.users.contains(&user));
        if !known {
            services.push(Service { users: vec![user.clone()], ..Service::default() });
        }
        let mut ours = services.iter_mut().filter(|service| !running || service.users.contains(&user));
        let Some(service) = ours.next() else { continue };
        if !service.users.contains(&user) {
            service.users.push(user);
        }
        one_line("the path of k3s", program)?;
        if !program.starts_with('/') || program.contains('$') {
            return Err(FixError::Refused(format!("{program:?}: expected an absolute path of k3s")));
        }
        service.program.add("the path of k3s", program)?;
        for (name, value) in environment {
            check(name, value)?;
            service.environment.add(name, value)?;
        }
    }
    for service in &services {
        write(draft, service)?;
    }
    Ok(())
}

fn write(draft: &mut Draft<'_>, service: &Service) -> Result<(), FixError> {
    let (Some(first), Some((_, program))) = (service.users.first(), service.program.0.first()) else {
        return Ok(());
    };
    let running = draft.facts.running();
    // Where the directory is looked for, and where it is once the user's links are followed.
    let (searched, dir, by) = if running {
        let Some(dir) = draft.home_dir(first, ".config/systemd/user")? else { return Ok(()) };
        let searched = format!("{}/.config/systemd/user", first.home.trim_end_matches('/'));
        (searched, dir, Writer::User(Credentials::of(first)))
    } else {
        let dir = format!("{}/systemd/user", draft.root("/etc", "/usr/lib"));
        (dir.clone(), dir, Writer::System)
    };
    let unit = draft.facts.user_unit(&first.home, first.uid, &first.groups, UNIT)?;
    if let Some(mask) = &unit.masked {
        draft.step(format!("unmask {UNIT} of {}: remove {}", first.name, mask.path));
        return Ok(());
    }
    let path = format!("{dir}/{UNIT}");
    let text = template::K3sService {
        program: &word(program),
        path: &word(&format!("PATH={}", search_path(draft.facts, first)?)),
        snapshotter: &snapshotter(draft.facts, first, &format!("{searched}/{UNIT}")),
        users: &conditions(service, running),
    }
    .text()?;
    let elsewhere = unit.fragment.as_ref().filter(|fragment| **fragment != format!("{searched}/{UNIT}"));
    match draft.facts.existing(&path)? {
        State::Absent if elsewhere.is_some() => {}
        State::Absent => {
            draft.put(&path, by.clone(), Wanted::File { bytes: text.into_bytes(), mode: PUBLIC });
            enable(draft, &dir, &by, first)?;
        }
        State::File { content, .. } if content.bytes() == Some(text.as_bytes()) => {}
        State::File { .. } | State::Link { .. } | State::Dir { .. } => draft.step(format!(
            "compare {path}, which is not ours and stays, with the {UNIT} of your version of K3s: it needs \
             Delegate=yes and ExecStart={} server --rootless",
            word(program)
        )),
    }
    let mut written = true;
    if !service.environment.0.is_empty() {
        let mode = if running { PRIVATE } else { PUBLIC };
        let drop_in = |dir: &str| format!("{dir}/{UNIT}.d");
        let dirs = draft.facts.user_unit_dirs(&first.home, first.uid);
        let dirs: Vec<String> = dirs.iter().map(|dir| drop_in(dir)).collect();
        let mut place = draft.place_among(&dirs, &drop_in(&searched), NAME);
        if !running {
            // A user's own file comes first for that user alone.
            place.higher.retain(|dir| dir.starts_with("/etc/") || dir.starts_with("/usr/"));
        }
        let place = Place { dir: drop_in(&dir), by, mode, ..place };
        written = edit_environment(draft, &place, &service.environment)?;
    }
    if running && written && draft.manager_runs(first)? {
        draft.activate(Activation::UserReload { user: Credentials::of(first) });
    }
    Ok(())
}

/// Has the user manager start the unit that is written here, now and at each start (`systemctl(1)`,
/// "enable"): it has `WantedBy=default.target`.
fn enable(draft: &mut Draft<'_>, dir: &str, by: &Writer, user: &User) -> Result<(), FixError> {
    let link = format!("{dir}/default.target.wants/{UNIT}");
    if draft.facts.existing(&link)? == State::Absent {
        draft.put(&link, by.clone(), Wanted::Link(format!("{dir}/{UNIT}")));
    }
    if !draft.facts.running() {
        return preset(draft, UNIT);
    }
    if draft.manager_runs(user)? {
        let user = Credentials::of(user);
        draft.activate(Activation::UserStart { user, unit: UNIT.to_owned(), may_fail: true });
    }
    // k3s: pkg/server/server.go, `HomeKubeConfig`.
    let summary = format!("once K3s runs, have kubectl of {} find it", user.name);
    draft.step_with(summary, vec!["export KUBECONFIG=~/.kube/k3s.yaml".to_owned()]);
    Ok(())
}

fn edit_environment(draft: &mut Draft<'_>, place: &Place, wanted: &Agreed) -> Result<bool, FixError> {
    let path = place.path();
    draft.edit(place, |text| {
        let entries: Vec<Entry<'_>> = wanted
            .0
            .iter()
            .map(|(name, value)| Entry {
                replaces: Box::new(move |key, value| key == "Environment" && sets_only(value, name)),
                line: line(name, value),
            })
            .collect();
        let edited = with_entries(&path, text, "Service", &entries)?;
        for (name, value) in &wanted.0 {
            let line = line(name, value);
            let wanted = words(line.trim_start_matches("Environment=")).unwrap_or_default();
            if last(&path, &edited, name).as_ref() != wanted.first() {
                return Err(FixError::Refused(format!("{path}: another Environment= there undoes {name}")));
            }
        }
        Ok(edited)
    })
}

fn sets_only(value: &str, name: &str) -> bool {
    matches!(&words(value).unwrap_or_default()[..], [word] if word.split('=').next() == Some(name))
}

/// `NAME=value` as the text leaves it.
fn last(path: &str, text: &str, name: &str) -> Option<String> {
    let mut last = None;
    for assignment in assignments(&Source::new(path, text)) {
        if assignment.section == "Service" && assignment.key == "Environment" {
            let value = assignment.value.value;
            if value.is_empty() {
                last = None;
            }
            let set = words(&value).unwrap_or_default();
            last = set.into_iter().rfind(|word| word.split('=').next() == Some(name)).or(last);
        }
    }
    last
}

/// What the unit asks for: what works where nothing tells K3s yet, or what it asks for already; nothing
/// where the configuration of K3s says it, which a word on the command line would undo. What cannot be read
/// keeps nobody from a unit: it is then the one that K3s publishes.
fn snapshotter(facts: &Facts, user: &User, unit: &str) -> String {
    let Ok(taken) = facts.k3s_snapshotter(user) else { return FUSE_OVERLAYFS.to_owned() };
    let by_the_unit = taken.at.as_ref().is_some_and(|at| &*at.path == unit);
    if taken.chosen || by_the_unit { taken.name.clone() } else { String::new() }
}

/// The directories of the unit that K3s publishes, and before them those where newuidmap and newgidmap are
/// found and none of these has them: K3s brings slirp4netns and fuse-overlayfs (k3s-root: scripts/package),
/// and not these.
fn search_path(facts: &Facts, user: &User) -> Result<String, FixError> {
    let mut dirs: Vec<String> = Vec::new();
    for name in ["newuidmap", "newgidmap"] {
        if facts.program(name)?.is_some_and(|program| program.is_executable_by(user)) {
            continue;
        }
        let found = facts.user_program(name, user)?;
        let dir = found.as_ref().and_then(|program| program.path.rsplit_once('/'));
        if let Some((dir, _)) = dir.filter(|(dir, _)| !dir.contains([':', '$']))
            && !dirs.iter().any(|known| known == dir)
        {
            one_line("the directory of newuidmap", dir)?;
            dirs.push(dir.to_owned());
        }
    }
    dirs.push(PATH.to_owned());
    Ok(dirs.join(":"))
}

/// In an image the unit is there for all users, and is to run for these only (`systemd.unit(5)`,
/// "ConditionUser=": with several, one has to hold).
fn conditions(service: &Service, running: bool) -> Vec<String> {
    if running {
        return Vec::new();
    }
    let mark = if service.users.len() > 1 { "|" } else { "" };
    service.users.iter().map(|user| format!("{mark}{}", user.name.replace('%', "%%"))).collect()
}

/// A word of a command line (`systemd.service(5)`, "Command lines").
fn word(program: &str) -> String {
    let escaped = program.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    let plain = |c: char| !c.is_whitespace() && !"\"'\\;".contains(c);
    if program.chars().all(plain) { escaped } else { format!("\"{escaped}\"") }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fix, host, managed, ours, settled, vendor, written};
    use super::super::{Fixes, Options};
    use super::*;
    use crate::facts::testing::TestHost;

    const SERVICE: &str = "/home/edge/.config/systemd/user/k3s-rootless.service";
    const LINK: &str = "/home/edge/.config/systemd/user/default.target.wants/k3s-rootless.service";
    const DROP_IN: &str = "/home/edge/.config/systemd/user/k3s-rootless.service.d/90-rootless.conf";

    fn k3s(user: &str, environment: &[(&str, &str)]) -> Setting {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Setting::K3sService {
            user: user.to_owned(),
            program: "/usr/local/bin/k3s".to_owned(),
            environment: environment.iter().map(pair).collect(),
        }
    }

    fn paths(fixes: &Fixes) -> Vec<&str> {
        fixes.artifacts.iter().map(|artifact| artifact.path.as_str()).collect()
    }

    #[test]
    fn a_user_has_a_unit_and_its_variables() {
        let environment = [("K3S_ROOTLESS_MTU", "1500"), ("K3S_NODE_NAME", "a b%")];
        let (fixes, after) = settled(&managed(), &[k3s("edge", &environment)], &Options::default());
        assert_eq!(paths(&fixes), [SERVICE, LINK, DROP_IN]);
        assert_eq!(fixes.artifacts[1].wanted, Wanted::Link(SERVICE.to_owned()));
        let text = "[Service]\nEnvironment=\"K3S_ROOTLESS_MTU=1500\"\nEnvironment=\"K3S_NODE_NAME=a b%%\"\n";
        assert_eq!(after.text(DROP_IN), ours(text));
        assert!(matches!(fixes.artifacts[2].wanted, Wanted::File { mode: 0o600, .. }));
        assert!(fixes.artifacts.iter().all(|artifact| matches!(artifact.by, Writer::User(_))));
        assert!(matches!(
            &fixes.activations[..],
            [Activation::UserReload { user }, Activation::UserStart { unit, .. }]
                if user.name == "edge" && unit == UNIT
        ));
        let enabled = after.clone().facts().user_unit_enabled("/home/edge", 1000, &[1000], UNIT).unwrap();
        assert!(enabled.is_enabled());
        let unit = after.facts().user_unit("/home/edge", 1000, &[1000], UNIT).unwrap();
        let value = |section, key| unit.values(section, key).next().map(|value| value.value.clone());
        let command = "/usr/local/bin/k3s server --rootless --snapshotter=fuse-overlayfs";
        assert_eq!(value("Service", "ExecStart").as_deref(), Some(command));
        assert_eq!(value("Service", "Delegate").as_deref(), Some("yes"));
        assert_eq!(value("Install", "WantedBy").as_deref(), Some("default.target"));
        assert_eq!(unit.drop_ins, [DROP_IN]);
    }

    #[test]
    fn the_snapshotter_is_one_that_works() {
        let start = |host: &TestHost| {
            let (_, after) = settled(host, &[k3s("edge", &[])], &Options::default());
            let text = after.text(SERVICE);
            text.lines()
                .find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/k3s "))
                .unwrap()
                .to_owned()
        };
        let on = |release: &str, fs_type: &str| {
            host()
                .file("/proc/sys/kernel/osrelease", format!("{release}\n"))
                .file("/proc/self/mountinfo", format!("29 1 8:1 / / rw - {fs_type} /dev/sda1 rw\n"))
        };
        assert_eq!(start(&on("6.1.21-v8+", "ext4")), "server --rootless --snapshotter=overlayfs");
        assert_eq!(start(&on("5.10.104-tegra", "ext4")), "server --rootless --snapshotter=fuse-overlayfs");
        assert_eq!(start(&on("6.1.21-v8+", "overlay")), "server --rootless --snapshotter=fuse-overlayfs");
        let config = "/etc/rancher/k3s/config.yaml";
        let told = on("6.1.21-v8+", "ext4").file(config, "snapshotter: native\n");
        assert_eq!(start(&told.clone().mode(config, "0644")), "server --rootless");
        let closed = told.mode(config, "0600").path(config, |record| record.uid = Some(0));
        assert_eq!(start(&closed), "server --rootless --snapshotter=fuse-overlayfs");
    }

    #[test]
    fn newuidmap_is_on_the_path_wherever_it_is() {
        let path = |host: TestHost| {
            let fixes = fix(&host, &[k3s("edge", &[])]).unwrap();
            let text = written(&fixes)[0].1.clone();
            text.lines().find_map(|line| line.strip_prefix("Environment=")).unwrap().to_owned()
        };
        let tool = |host: TestHost, dir: &str, name: &str| {
            let file = format!("{dir}/{name}");
            host.file(&file, "").mode(&file, "0755")
        };
        assert_eq!(path(host()), format!("PATH={PATH}"));
        assert_eq!(path(tool(host(), "/usr/bin", "newuidmap")), format!("PATH={PATH}"));
        let own = "/home/edge/.local/bin";
        let both = tool(tool(host(), own, "newuidmap"), own, "newgidmap");
        assert_eq!(path(both), format!("PATH={own}:{PATH}"));
        let one = tool(tool(host(), own, "newuidmap"), "/usr/bin", "newgidmap");
        assert_eq!(path(one), format!("PATH={own}:{PATH}"));
    }

    #[test]
    fn an_image_has_one_unit_for_its_users() {
        let image = host().image();
        let (one, after) = settled(&image, &[k3s("edge", &[])], &Options::default());
        let dir = "/etc/systemd/user";
        let [unit, link] = ["", "/default.target.wants"].map(|sub| format!("{dir}{sub}/{UNIT}"));
        let preset = "/etc/systemd/user-preset/90-rootless.preset";
        assert_eq!(paths(&one), [unit.as_str(), link.as_str(), preset]);
        assert!(after.text(preset).contains("\nenable k3s-rootless.service\n"));
        assert!(after.text("/etc/systemd/user/k3s-rootless.service").contains("\nConditionUser=edge\n"));
        let both = [k3s("edge", &[("K3S_A", "1")]), k3s("other", &[])];
        let (two, _) = settled(&image, &both, &vendor());
        assert!(written(&two)[0].1.contains("\nConditionUser=|edge\nConditionUser=|other\n"));
        assert_eq!(two.artifacts[3].path, "/usr/lib/systemd/user/k3s-rootless.service.d/90-rootless.conf");
        let two = fix(&host(), &both).unwrap();
        assert_eq!(two.artifacts.len(), 5, "each user has their own");
    }

    #[test]
    fn a_unit_of_others_stays() {
        let own = host().file(SERVICE, "[Service]\nExecStart=/opt/k3s server --rootless\n");
        let fixes = fix(&own, &[k3s("edge", &[("K3S_A", "1")])]).unwrap();
        assert_eq!((paths(&fixes), fixes.manual.len()), (vec![DROP_IN], 1));
        let vendors = host().file("/usr/lib/systemd/user/k3s-rootless.service", "[Service]\nExecStart=/x\n");
        let fixes = fix(&vendors, &[k3s("edge", &[("K3S_A", "1")])]).unwrap();
        assert_eq!((paths(&fixes), fixes.manual.len()), (vec![DROP_IN], 0));
        let masked =
            host().file(SERVICE, "").path(SERVICE, |record| record.link = Some("/dev/null".to_owned()));
        let fixes = fix(&masked, &[k3s("edge", &[("K3S_A", "1")])]).unwrap();
        assert_eq!((paths(&fixes), fixes.manual.len()), (vec![], 1));
    }

    #[test]
    fn other_variables_stay() {
        for (text, edited) in [
            ("[Service]\nEnvironment=X=1\n", "[Service]\nEnvironment=X=1\nEnvironment=\"K3S_A=1\"\n"),
            ("[Service]\nEnvironment=K3S_A=0\nX=1\n", "[Service]\nEnvironment=\"K3S_A=1\"\nX=1\n"),
            (
                "[Service]\nEnvironment=K3S_A=0 X=1\n",
                "[Service]\nEnvironment=K3S_A=0 X=1\nEnvironment=\"K3S_A=1\"\n",
            ),
        ] {
            let (_, after) =
                settled(&host().file(DROP_IN, text), &[k3s("edge", &[("K3S_A", "1")])], &Options::default());
            assert_eq!(after.text(DROP_IN), edited, "{text:?}");
        }
        let undone = host().file(DROP_IN, "[Service]\nEnvironment=K3S_A=0\nEnvironment=X=1 K3S_A=2\n");
        assert!(matches!(fix(&undone, &[k3s("edge", &[("K3S_A", "1")])]), Err(FixError::Refused(_))));
    }

    #[test]
    fn values_from_policy_are_checked() {
        let refused = |setting| matches!(fix(&host(), &[setting]), Err(FixError::Refused(_)));
        assert!(refused(k3s("edge", &[("K3S_ROOTLESS_CIDR", "10.41.0.1/16")])));
        assert!(refused(k3s("edge", &[("_K3S_ROOTLESS_FD", "3")])));
        for program in ["k3s", "/a$b", "/a\nb"] {
            let environment = Vec::new();
            assert!(refused(Setting::K3sService {
                user: "edge".to_owned(),
                program: program.to_owned(),
                environment
            }));
        }
        let two = [k3s("edge", &[("K3S_A", "1")]), k3s("edge", &[("K3S_A", "2")])];
        assert!(matches!(fix(&host(), &two), Err(FixError::Conflict { .. })));
        assert_eq!((word("/a b%").as_str(), word("/opt/k3s").as_str()), ("\"/a b%%\"", "/opt/k3s"));
    }
}
