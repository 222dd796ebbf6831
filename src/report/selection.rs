//! Which checks are left out of a report, and on whose request.

/// Which checks are left out, and on whose request.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only ids that match one of these; all where empty.
    pub select: Vec<String>,
    /// Not those that match one of these.
    pub ignore: Vec<String>,
    /// Ids with the reason of a waiver that holds today.
    pub waived: Vec<(String, String)>,
    /// Ids with the day on which their waiver ended.
    pub expired: Vec<(String, String)>,
    /// Advised counts as required.
    pub strict: bool,
}

impl Selection {
    /// Whether a check is looked at.
    pub fn selected(&self, id: &str) -> bool {
        self.select.is_empty() || self.select.iter().any(|glob| glob_matches(glob, id))
    }

    pub(super) fn ignored(&self, id: &str) -> Option<String> {
        if let Some(glob) = self.ignore.iter().find(|glob| glob_matches(glob, id)) {
            return Some(format!("ignored by --ignore {glob}"));
        }
        self.waived.iter().find(|(waived, _)| waived == id).map(|(_, reason)| format!("waived: {reason}"))
    }
}

/// Whether `text` matches `glob`, in which `*` is any text and `?` any character.
pub fn glob_matches(glob: &str, text: &str) -> bool {
    let (glob, text): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
    let (mut g, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if g < glob.len() && glob[g] == '*' {
            star = Some((g, t));
            g += 1;
        } else if g < glob.len() && (glob[g] == '?' || glob[g] == text[t]) {
            (g, t) = (g + 1, t + 1);
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            (g, t) = (at + 1, from + 1);
        } else {
            return false;
        }
    }
    glob[g..].iter().all(|&c| c == '*')
}
