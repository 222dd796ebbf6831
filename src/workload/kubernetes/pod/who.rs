//! Who the containers of a pod are outside of it.

use super::Pod;
use crate::workload::yaml::View;
use crate::workload::{By, Malformed, drops_override};

/// How Podman makes the user namespace of a pod (podman: libpod/define/annotations.go).
const USERNS: &str = "io.podman.annotations.userns";

impl<'a> Pod<'a> {
    /// Who a container is outside: root of it is the user, unless the pod has a user namespace of its own.
    pub(super) fn by(&self, container: &View<'a>) -> Result<By, Malformed> {
        let mut user = container.path(&["securityContext", "runAsUser"])?;
        if !user.is_there() {
            user = self.spec.path(&["securityContext", "runAsUser"])?;
        }
        let number = match user.integer()? {
            None => None,
            Some(n) => Some(u32::try_from(n).map_err(|_| user.malformed("a UID"))?),
        };
        let host_users = self.spec.get("hostUsers")?;
        let apart = host_users.is_there() && !host_users.is_true()?;
        // Also `io.podman.annotations.userns/NAME` (podman: `playKubePod`).
        let is_mode =
            |name: &str| name.strip_prefix(USERNS).is_some_and(|of| of.is_empty() || of.starts_with('/'));
        let annotations = self.annotations.keys()?;
        let mode = match annotations.into_iter().find(|(name, _)| is_mode(name)) {
            Some((_, view)) => view.text()?.unwrap_or_default(),
            None if apart => "auto",
            None => "host",
        };
        let keeps = mode.starts_with("keep-id");
        Ok(match number {
            None if keeps => By::Bound,
            Some(uid) if mode == "keep-id" => By::Kept(uid),
            _ if !["", "host"].contains(&mode) => By::Image,
            Some(0) if self.is_bound(container)? => By::Bound,
            Some(0) => By::User,
            Some(uid) => By::Subordinate { uid, gid: self.gid(container)? },
            None => By::Image,
        })
    }

    fn is_bound(&self, container: &View<'a>) -> Result<bool, Malformed> {
        let context = container.get("securityContext")?;
        let names = |part| -> Result<Vec<&str>, Malformed> {
            let items = context.path(&["capabilities", part])?.items()?;
            let names: Result<Vec<Option<&str>>, Malformed> = items.iter().map(View::name).collect();
            Ok(names?.into_iter().flatten().collect())
        };
        let (dropped, added) = (names("drop")?, names("add")?);
        Ok(!context.get("privileged")?.is_true()? && drops_override(dropped.into_iter(), added.into_iter()))
    }

    /// Its only group.
    fn gid(&self, container: &View<'a>) -> Result<Option<u32>, Malformed> {
        let context = self.spec.get("securityContext")?;
        if context.get("fsGroup")?.is_there() || context.get("supplementalGroups")?.is_there() {
            return Ok(None);
        }
        let mut group = container.path(&["securityContext", "runAsGroup"])?;
        if !group.is_there() {
            group = context.get("runAsGroup")?;
        }
        let Some(number) = group.integer()? else { return Ok(None) };
        u32::try_from(number).map(Some).map_err(|_| group.malformed("a GID"))
    }
}
