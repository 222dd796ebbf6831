//! The network of k3d, as a Quadlet file from which a unit of the user manager makes it.

use super::draft::{Draft, PUBLIC};
use super::{FixError, Wanted, template};
use crate::facts::users::User;
use crate::plan::{Activation, Credentials, State, Writer};
use crate::settings::{K3D_NETWORK, K3D_QUADLET, Setting};

const ADMIN: &str = "/etc/containers/systemd/users";
/// Read from Podman 6 on; before, only the administrator's place is.
const VENDOR: &str = "/usr/share/containers/systemd/users";

pub(super) fn add(draft: &mut Draft<'_>, settings: &[Setting]) -> Result<(), FixError> {
    for setting in settings {
        let Setting::K3dNetwork(user) = setting else { continue };
        let user = draft.user(user)?;
        if !draft.facts.running() {
            of_all_users(draft, &user)?;
        } else if let Some(dir) = draft.home_dir(&user, ".config/containers/systemd")? {
            let by = Writer::User(Credentials::of(&user));
            if write(draft, &dir, by)? && draft.manager_runs(&user)? {
                let user = Credentials::of(&user);
                let unit = format!("{K3D_NETWORK}-network.service");
                draft.activate(Activation::UserReload { user: user.clone() });
                draft.activate(Activation::UserStart { user, unit, may_fail: true });
            }
        }
    }
    Ok(())
}

fn of_all_users(draft: &mut Draft<'_>, user: &User) -> Result<(), FixError> {
    let reads_vendors = draft.facts.podman_is_at_least(user, 6) == Some(true);
    write(draft, if reads_vendors { draft.root(ADMIN, VENDOR) } else { ADMIN }, Writer::System)?;
    Ok(())
}

/// Whether the file is there, then.
fn write(draft: &mut Draft<'_>, dir: &str, by: Writer) -> Result<bool, FixError> {
    let path = format!("{dir}/{K3D_NETWORK}.network");
    let bytes = template::lines(&K3D_QUADLET)?.into_bytes();
    match draft.facts.existing(&path)? {
        State::Absent => draft.put(&path, by, Wanted::File { bytes, mode: PUBLIC }),
        State::File { content, .. } if content.bytes() == Some(&bytes) => {}
        State::File { .. } | State::Link { .. } | State::Dir { .. } => {
            draft.step(format!("change {path}, which is not ours: it makes no bridge with name resolution"));
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::testing::{fix, host, managed, ours, settled, vendor, written};
    use super::*;
    use crate::facts::testing::podman;

    const PATH: &str = "/home/edge/.config/containers/systemd/k3d.network";

    fn settings() -> [Setting; 1] {
        [Setting::K3dNetwork("edge".to_owned())]
    }

    fn text() -> String {
        ours("[Network]\nNetworkName=k3d\n[Install]\nWantedBy=default.target\n")
    }

    #[test]
    fn the_user_has_a_file_and_its_unit_runs() {
        let (fixes, _) = settled(&managed(), &settings(), &Options::default());
        assert_eq!(written(&fixes), [(PATH, text())]);
        assert!(matches!(&fixes.artifacts[0].by, Writer::User(user) if user.uid == 1000));
        let [Activation::UserReload { .. }, Activation::UserStart { unit, may_fail, .. }] =
            &fixes.activations[..]
        else {
            panic!("{:?}", fixes.activations)
        };
        assert_eq!((unit.as_str(), *may_fail), ("k3d-network.service", true));
        assert_eq!(fix(&host(), &settings()).unwrap().activations, [], "no user manager runs");
    }

    #[test]
    fn an_image_has_one_file_for_all_users() {
        let (fixes, _) = settled(&host().image(), &settings(), &Options::default());
        assert_eq!(written(&fixes), [("/etc/containers/systemd/users/k3d.network", text())]);
        assert_eq!(fixes.artifacts[0].by, Writer::System);
        let early = settled(&host().image(), &settings(), &vendor()).0;
        assert_eq!((early.artifacts, early.manual), (fixes.artifacts, Vec::new()));
        let (fixes, _) = settled(&podman(host().image(), "6.0.0"), &settings(), &vendor());
        assert_eq!(written(&fixes)[0].0, "/usr/share/containers/systemd/users/k3d.network");
    }

    #[test]
    fn what_a_person_wrote_stays() {
        let mine = managed().file(PATH, "[Network]\nDisableDNS=true\n");
        let (fixes, _) = settled(&mine, &settings(), &Options::default());
        assert_eq!((fixes.artifacts.len(), fixes.activations.len(), fixes.manual.len()), (0, 0, 1));
        let ours = managed().file(PATH, text());
        let (fixes, _) = settled(&ours, &settings(), &Options::default());
        assert_eq!((fixes.artifacts.len(), fixes.activations.len(), fixes.manual.len()), (0, 2, 0));
    }
}
