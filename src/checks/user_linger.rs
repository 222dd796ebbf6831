//! Whether the user manager starts at boot: see [`USER_LINGER`].

use crate::checks::check;
use crate::facts::Facts;
use crate::facts::users::User;
use crate::finding::Outcome;
use crate::requirements::Requirements;

check! {
    /// Lingering user
    ///
    /// ## What is looked at
    ///
    /// ## Why it matters
    ///
    /// ## Repair
    ///
    /// ## Sources
    ///
    /// - loginctl(1), "enable-linger"
    USER_LINGER, "user-linger", Advised, User(run)
}

fn run(_facts: &Facts, _req: &Requirements, _user: &User) -> Outcome {
    Outcome::not_asked()
}
