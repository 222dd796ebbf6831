//! Who it is on the host that a container of a Quadlet file runs as (podman-run(1), "--userns").

use super::{Unit, Units};
use crate::workload::{By, drops_override};

/// Options of `podman run` by which it depends on more than the keys who uses a path.
const ARGUMENTS_OF_USERS: [&str; 8] =
    ["--userns", "--uidmap", "--gidmap", "--subuidname", "--subgidname", "--user", "-u", "--group-add"];

/// The user namespace of a container.
enum Namespace {
    /// That of the user's other containers, where root is the user.
    Plain,
    /// One in which the user is this UID, and where none is written their own.
    Kept(Option<u32>),
    /// Another one.
    Other,
}

/// By the keys of a container, a pod or a `.kube` file.
fn namespace(unit: &Unit) -> Namespace {
    let mappings = ["UIDMap", "GIDMap", "SubUIDMap", "SubGIDMap"];
    if has_arguments(unit) || mappings.iter().any(|key| unit.own(key).is_some()) {
        return Namespace::Other;
    }
    let kept = |options: &str| {
        let option = |option: &str| option.strip_prefix("uid=")?.parse().ok();
        Namespace::Kept(options.split(',').find_map(option))
    };
    match unit.own("UserNS").map(|(mode, _)| mode.split_once(':').unwrap_or((mode, ""))) {
        Some(("host", _)) => Namespace::Plain,
        Some(("keep-id", options)) => kept(options),
        Some(_) => Namespace::Other,
        None => match unit.own("RemapUsers") {
            None => Namespace::Plain,
            Some(("keep-id", _)) => {
                let uid = unit.own("RemapUid").map(|(uid, _)| format!("uid={uid}"));
                kept(&uid.unwrap_or_default())
            }
            Some(_) => Namespace::Other,
        },
    }
}

fn has_arguments(unit: &Unit) -> bool {
    unit.words(unit.kind.group(), "PodmanArgs").iter().any(|(argument, _)| {
        let option = argument.split_once('=').map_or(argument.as_str(), |(option, _)| option);
        ARGUMENTS_OF_USERS.contains(&option)
    })
}

/// Whether root of what a `.kube` file plays is the user.
pub(super) fn is_plain(unit: &Unit) -> bool {
    matches!(namespace(unit), Namespace::Plain)
}

/// Who it is outside of a container that uses its volumes. One in a pod has the user namespace of that
/// (podman: `pkg/specgen/generate/namespaces.go`).
pub(super) fn by(unit: &Unit, units: &Units) -> By {
    if has_arguments(unit) {
        return By::Image;
    }
    let user = unit.own("User").map(|(user, _)| user.split_once(':').unwrap_or((user, "")));
    let uid = user.map(|(user, _)| user.parse::<u32>().ok());
    let of = match unit.own("Pod").map(|(pod, _)| units.get(pod)) {
        None => namespace(unit),
        Some(None) => Namespace::Other,
        Some(Some(pod)) => namespace(pod),
    };
    match (of, uid) {
        (Namespace::Kept(_), None) => By::Bound,
        (Namespace::Kept(None), Some(Some(uid))) => By::Kept(uid),
        (Namespace::Kept(kept), Some(uid)) if uid.is_some() && uid == kept => By::Bound,
        (Namespace::Plain, Some(Some(0))) if is_bound(unit) => By::Bound,
        (Namespace::Plain, Some(Some(0))) => By::User,
        (Namespace::Plain, Some(Some(uid))) => {
            let group = unit.own("Group").map(|(group, _)| group).or(user.map(|(_, group)| group));
            let is_only = unit.all(unit.kind.group(), "GroupAdd").is_empty();
            By::Subordinate { uid, gid: group.and_then(|group| group.parse().ok()).filter(|_| is_only) }
        }
        _ => By::Image,
    }
}

fn is_bound(unit: &Unit) -> bool {
    let names = |key| unit.words(unit.kind.group(), key);
    let (dropped, added) = (names("DropCapability"), names("AddCapability"));
    drops_override(dropped.iter().map(|(name, _)| name.as_str()), added.iter().map(|(name, _)| name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Source;

    /// Who uses the volumes of the first file.
    fn of(files: &[(&str, &str)]) -> By {
        let units =
            Units::new(files.iter().filter_map(|(name, text)| Unit::read(&Source::new(name, *text), [])));
        by(units.get(files[0].0).unwrap(), &units)
    }

    #[test]
    fn of_a_container() {
        for (keys, expected) in [
            ("", By::Image),
            ("User=0:0\n", By::User),
            ("User=0\nDropCapability=all\n", By::Bound),
            ("User=0\nDropCapability=CAP_DAC_OVERRIDE\n", By::Bound),
            ("User=0\nDropCapability=all\nAddCapability=chown dac_override\n", By::User),
            ("User=0\nDropCapability=mknod\n", By::User),
            ("User=1000:1001\n", By::Subordinate { uid: 1000, gid: Some(1001) }),
            ("User=1000\nGroup=5\n", By::Subordinate { uid: 1000, gid: Some(5) }),
            ("GroupAdd=5\nUser=1000:1001\n", By::Subordinate { uid: 1000, gid: None }),
            ("User=web\n", By::Image),
            ("UserNS=host\nUser=0\n", By::User),
            ("UserNS=keep-id\n", By::Bound),
            ("UserNS=keep-id\nUser=101\n", By::Kept(101)),
            ("UserNS=keep-id\nUser=web\n", By::Image),
            ("UserNS=keep-id:gid=1,uid=101\nUser=101\n", By::Bound),
            ("UserNS=keep-id:uid=101\nUser=0\n", By::Image),
            ("RemapUsers=keep-id\nRemapUid=101\nUser=101\n", By::Bound),
            ("RemapUsers=keep-id\nUser=101\n", By::Kept(101)),
            ("UserNS=auto\nUser=0\n", By::Image),
            ("UserNS=nomap\nUser=0\n", By::Image),
            ("RemapUsers=auto\nUser=0\n", By::Image),
            ("RemapUsers=manual\nUser=0\n", By::Image),
            ("UIDMap=0:1:10\nUser=0\n", By::Image),
            ("SubUIDMap=edge\nUser=0\n", By::Image),
            ("PodmanArgs=--userns=auto\nUser=0\n", By::Image),
        ] {
            let text = format!("[Container]\nImage=a\n{keys}");
            assert_eq!(of(&[("a.container", &text)]), expected, "{keys}");
        }
    }

    #[test]
    fn in_a_pod_the_user_namespace_is_that_of_the_pod() {
        let by = |pod: &str, keys: &str| {
            of(&[("a.container", &format!("[Container]\nImage=a\nPod=p.pod\n{keys}")), ("p.pod", pod)])
        };
        assert_eq!(by("[Pod]\nUserNS=keep-id\n", "User=1000\n"), By::Kept(1000));
        assert_eq!(by("[Pod]\nUserNS=keep-id\n", ""), By::Bound);
        assert_eq!(by("[Pod]\nUserNS=auto\n", "User=0\n"), By::Image);
        assert_eq!(by("[Pod]\n", "User=0\n"), By::User);
        assert_eq!(of(&[("a.container", "[Container]\nPod=p.pod\nUser=0\n")]), By::Image);
    }
}
