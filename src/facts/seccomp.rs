//! What seccomp of the running kernel can do.

use super::{Facts, Sourced};
use crate::host::Fact;

impl Facts {
    /// The actions that a filter can take, by the kernel's names (`seccomp(2)`, "/proc interfaces"), such as
    /// `user_notif`, which asks another process.
    ///
    /// # Errors
    /// [`Unread::NotRunning`](crate::host::Unread::NotRunning) in an image root, and why the file could not be
    /// read; it is absent where the kernel has no filters.
    pub fn seccomp_actions(&self) -> Fact<Sourced<Vec<String>>> {
        self.need_running("what seccomp can do")?;
        let source = self.source("/proc/sys/kernel/seccomp/actions_avail")?;
        Ok(source.whole(source.text().split_ascii_whitespace().map(str::to_owned).collect()))
    }
}

#[cfg(test)]
mod tests {
    use crate::facts::testing::empty_host;

    #[test]
    fn the_names_are_words() {
        // As Linux 6.12 writes it.
        let text = "kill_process kill_thread trap errno user_notif trace log allow\n";
        let host = empty_host().file("/proc/sys/kernel/seccomp/actions_avail", text);
        let found = host.clone().facts().seccomp_actions().unwrap();
        assert_eq!((found.value.len(), found.value[4].as_str()), (8, "user_notif"));
        assert!(empty_host().facts().seccomp_actions().unwrap_err().is_absent());
        assert!(host.image().facts().seccomp_actions().is_err());
    }
}
